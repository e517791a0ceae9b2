"""What may be asked for at all: the policy, a request, and the checks that concern one request alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from configurator.audit.cohorts import Census, Counts, Mask, MeterId, fingerprint
from configurator.audit.windows import stretch
from hushgrid.core.field import MODULI, required_modulus
from hushgrid.core.minimum import as_written
from hushgrid.errors import RefusedError


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A rule somebody asks for.

    cohort: mask of shape (meters,); window_rounds: k; the rule holds for the windows inside [from_round, until_round), without
    end when until_round is None. billing: every meter of the cohort is summed by itself, over windows of at least a
    billing period; a cohort of several meters stands for that many one-meter rules, granted all or none.
    """

    name: str
    consumer: str
    cohort: Mask
    window_rounds: int
    minimum_contributors: int | None = None
    billing: bool = False
    from_round: int = 0
    until_round: int | None = None
    cohort_digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cohort_digest", fingerprint(self.cohort))


@dataclass(frozen=True, slots=True, eq=False)
class Right:
    """What one consumer may ask for. cohort: the meters it may name (None: all)."""

    cohort: Mask | None = None
    shortest_window_rounds: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """The rules about rules. Whatever a field leaves out is not restricted, except that bills need all of theirs.

    minimum_contributors: distinct meters any combination of sums must touch; minimum_by_meter: shape (meters,), instead, for
    customer classes with minima of their own; coverage_floor_fraction: in (0, 1]; owned: the meters of each consumer, whose
    readings it knows anyway; rights: by consumer, None for no restriction; suppliers: the one consumer that may bill a meter;
    consents: the meters that consent to be billed.
    """

    minimum_contributors: int = 15
    coverage_floor_fraction: float | Fraction = 0.8
    minimum_by_meter: Counts | None = None
    reading_bound_watt_hours: int = 1_000_000
    modulus: int = MODULI[-1]
    owned: Mapping[str, Mask] = field(default_factory=dict)
    rights: Mapping[str, Right] | None = None
    billing_period_rounds: int | None = None
    suppliers: Mapping[MeterId, str] = field(default_factory=dict)
    consents: frozenset[MeterId] = frozenset()

    def with_margin(self, minimum: int) -> int:
        """ceil(minimum / coverage floor): what a cohort needs so that tolerated losses leave the minimum."""
        floor = self.floor
        return -(-minimum * floor.denominator // floor.numerator)

    @property
    def floor(self) -> Fraction:
        """The coverage floor exactly as it was written (0.8 is 4/5)."""
        return as_written(self.coverage_floor_fraction)

    def levels(self) -> list[int]:
        """The distinct minima that are in force, largest first."""
        if self.minimum_by_meter is None:
            return [self.minimum_contributors]
        return [int(level) for level in np.unique(self.minimum_by_meter)[::-1]]

    def at_level(self, level: int, census: Census) -> Mask:
        """The meters whose own minimum is at least this."""
        if self.minimum_by_meter is None:
            return census.everyone()
        return self.minimum_by_meter >= level

    def minimum_of(self, request: Request) -> int:
        """The largest minimum of the request's meters and of its own wish."""
        floor = self.minimum_contributors
        if self.minimum_by_meter is not None and request.cohort.any():
            floor = int(self.minimum_by_meter[request.cohort].max())
        return max(floor, request.minimum_contributors or 0)

    def hidden(self, census: Census) -> Mask:
        """The meters whose readings no consumer knows as its own."""
        hidden = census.everyone()
        for own in self.owned.values():
            hidden &= ~own
        return hidden

    def counted(self, request: Request) -> Mask:
        """The meters that count towards a request's minimum: not the consumer's own."""
        own = self.owned.get(request.consumer)
        return request.cohort if own is None else request.cohort & ~own


def check_alone(request: Request, policy: Policy, census: Census) -> None:
    """RefusedError when a request is not acceptable whatever else is granted."""
    if request.window_rounds < 1:
        raise RefusedError("a window has at least one round")
    if request.cohort.shape != (census.size,) or not request.cohort.any():
        raise RefusedError("the cohort is empty")
    span = stretch(request)
    if request.from_round < 0 or span.last <= span.first:
        raise RefusedError("the rule ends before its first window does")
    _check_right(request, policy)
    contributors = 1 if request.billing else int(request.cohort.sum())
    needed = required_modulus(contributors, request.window_rounds, policy.reading_bound_watt_hours)
    if policy.modulus <= needed:
        raise RefusedError(f"the sum could wrap around q: it must exceed {needed}")
    if request.billing:
        _check_bill(request, policy, census)
        return
    _check_minimum(request, policy)


def _check_right(request: Request, policy: Policy) -> None:
    if policy.rights is None:
        return
    right = policy.rights.get(request.consumer)
    if right is None:
        raise RefusedError(f"consumer {request.consumer} may not ask for rules")
    if right.cohort is not None and (request.cohort & ~right.cohort).any():
        raise RefusedError(f"the cohort has meters that consumer {request.consumer} has no right to")
    if request.window_rounds < right.shortest_window_rounds:
        raise RefusedError(
            f"consumer {request.consumer} may ask for windows of {right.shortest_window_rounds} rounds or more"
        )


def _check_minimum(request: Request, policy: Policy) -> None:
    minimum = policy.minimum_of(request)
    if request.minimum_contributors is not None and request.minimum_contributors < minimum:
        raise RefusedError(
            f"the minimum of {request.minimum_contributors} contributors is below the policy's {minimum}"
        )
    counted, needed = int(policy.counted(request).sum()), policy.with_margin(minimum)
    if counted < needed:
        raise RefusedError(
            f"the cohort has {counted} meters that count, {needed} are needed "
            f"(minimum {minimum}, coverage floor {float(policy.floor):g})"
        )


def _check_bill(request: Request, policy: Policy, census: Census) -> None:
    if policy.billing_period_rounds is None:
        raise RefusedError("the policy allows no bills")
    if request.window_rounds < policy.billing_period_rounds:
        raise RefusedError(f"a bill covers {policy.billing_period_rounds} rounds or more")
    for meter in census.named(request.cohort):
        if policy.suppliers.get(meter) != request.consumer:
            raise RefusedError(f"consumer {request.consumer} is not the supplier of meter {meter}")
        if meter not in policy.consents:
            raise RefusedError(f"meter {meter} has not consented to be billed")
