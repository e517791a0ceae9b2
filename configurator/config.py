"""Configuration of the configurator."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from configurator.graphs import parse_shape
from hushgrid.config import ServiceConfig
from hushgrid.errors import ConfigurationError
from hushgrid.field import is_prime
from hushgrid.plan import MAX_REPAIR_ATTEMPTS, Model, Name, Recovery, Variant

#: As `meter_agent.isolated` has it: above it, noise all but shows the reading.
LARGEST_EPSILON = 4
#: "all", or meter ids and inclusive ranges "first..last" of them; ids that are not enrolled yet may be among them.
Cohort = Literal["all"] | tuple[str, ...]


class PlanSection(Model):
    """What every plan of this installation has in common.

    modulus: q, or "auto" for the smallest known prime that fits cohort_bound meters x window_bound rounds. epoch_rounds: life
    of one set of agreement keys. repair_attempts: how often a PPN asks for a missing share, with recovery repair. lead_rounds:
    how far ahead a new plan is announced. first_round: for a testbed.
    """

    threshold: Annotated[int, Field(ge=1)] = 3
    width: Annotated[int, Field(ge=1)] = 4
    modulus: int | Literal["auto"] = "auto"
    cohort_bound: Annotated[int, Field(ge=1)] = 10_000
    window_bound: Annotated[int, Field(ge=1)] = 96
    reading_bound_watt_hours: Annotated[int, Field(ge=1)] = 100_000
    interval_seconds: Annotated[int, Field(ge=1)] = 1800
    recovery: Recovery = Recovery.REPAIR
    repair_attempts: Annotated[int, Field(ge=1, le=MAX_REPAIR_ATTEMPTS)] = 5
    minimum_contributors: Annotated[int, Field(ge=1)] = 15
    coverage_floor_fraction: Annotated[float, Field(gt=0, le=1)] = 0.8
    epoch_rounds: Annotated[int, Field(ge=1)] = 336
    lead_rounds: Annotated[int, Field(ge=1)] = 2
    first_round: int | None = None
    settle_seconds: Annotated[float, Field(ge=0)] = 0.3

    @model_validator(mode="after")
    def _sound(self) -> PlanSection:
        if self.threshold > self.width:
            raise ValueError(f"threshold {self.threshold} exceeds width {self.width}")
        if self.recovery is not Recovery.NONE and 2 * self.threshold <= self.width:
            raise ValueError(f"threshold {self.threshold} <= width {self.width} / 2 is allowed with recovery none only")
        if self.modulus != "auto" and not is_prime(self.modulus):
            raise ValueError(f"modulus {self.modulus} is not prime")
        return self


class RightSection(Model):
    """What one consumer may ask for."""

    cohort: Cohort = "all"
    shortest_window_rounds: Annotated[int, Field(ge=1)] = 1


class ClassSection(Model):
    """A customer class with a minimum of its own; of a meter in several the largest counts."""

    cohort: Cohort
    minimum_contributors: Annotated[int, Field(ge=1)]


class PolicySection(Model):
    """Who may ask for what, beside the minimum and the coverage floor of every plan.

    rights: by consumer; None for no restriction, and then a consumer that is not named may ask for nothing. owned: the meters
    whose readings a consumer knows anyway: they count towards nobody's minimum.
    """

    rights: dict[Name, RightSection] | None = None
    owned: dict[Name, Cohort] = Field(default_factory=dict)
    classes: tuple[ClassSection, ...] = ()


class PlacementSection(Model):
    """Which PPNs may serve, and how rules are placed on them (docs/configurator.md, section Placement).

    capacities: sums a round, by PPN; capacity_factor: in units of the number of meters, for all others. out_of_service: PPNs
    that leave the plan. away_seconds: how long a PPN may be gone before rules are placed elsewhere.
    """

    solver: Literal["greedy", "exact"] = "greedy"
    time_limit_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    start_ppns: Annotated[int, Field(ge=1)] = 20
    capacity_factor: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 8.0
    capacities: dict[Name, Annotated[int, Field(ge=0, le=10**15)]] = Field(default_factory=dict)
    out_of_service: tuple[Name, ...] = ()
    away_seconds: Annotated[float, Field(gt=0)] = 60.0


class PairwiseSection(Model):
    """Rules of masked readings (docs/pairwise.md).

    graph: circulant:STEP[,STEP...] or random:PROBABILITY. period_rounds: the billing period; no shorter row sum leaves.
    colluders: the stated number c of meters of one area that may pool what they know. self_masks: rounds may be closed without
    silent meters, up to losses_borne of them in one area. areas: name -> meter ids or ranges; all others are one area.
    noise_span_watt_hours: D of the published noise, which needs unsafe_published. isolated: meters that share masks with nobody:
    they have bills and are in no column, under calibrated noise of this epsilon (a fraction such as "1/2", at most 4).
    """

    graph: str = "circulant:1,2"
    variant: Variant = Variant.HARDENED
    unsafe_published: bool = False
    period_rounds: Annotated[int, Field(ge=2, lt=2**16)] = 1344
    colluders: Annotated[int, Field(ge=0)] = 3
    self_masks: bool = False
    losses_borne: Annotated[int, Field(ge=0)] = 0
    areas: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    noise_span_watt_hours: Annotated[int, Field(ge=2)] = 5000
    isolated: tuple[str, ...] = ()
    isolated_epsilon: Annotated[str, Field(pattern=r"^[0-9]+(/[1-9][0-9]*)?$")] | None = None

    @model_validator(mode="after")
    def _sound(self) -> PairwiseSection:
        if self.variant is Variant.PUBLISHED and not self.unsafe_published:
            raise ValueError("variant published hides nothing (docs/pairwise.md): it needs unsafe_published = true")
        if self.variant is Variant.PUBLISHED and self.self_masks:
            raise ValueError("self_masks are for the hardened variant only")
        epsilon = Fraction(self.isolated_epsilon or 0)
        if self.isolated and self.variant is Variant.HARDENED and not 0 < epsilon <= LARGEST_EPSILON:
            raise ValueError(
                f"isolated meters need an isolated_epsilon in (0, {LARGEST_EPSILON}]; without one they stay out"
            )
        if self.isolated and self.self_masks:
            raise ValueError("nobody could open the self-mask of an isolated meter")
        if self.losses_borne and not self.self_masks:
            raise ValueError("losses_borne needs self_masks: without them a round waits for every meter")
        try:
            parse_shape(self.graph)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return self


class AgreementSection(Model):
    """roster_patience_seconds: how long a round waits for the rosters of PPNs that are away. pending_seconds: how long a request
    waits for meters and PPNs that are still expected and, before the first plan, for consumers that have not asked yet.
    kept_rounds: for how many rounds a decision is kept for PPNs that were away (and as long as a window over it is open).
    """

    roster_patience_seconds: Annotated[float, Field(gt=0)] = 30.0
    pending_seconds: Annotated[float, Field(gt=0)] = 60.0
    kept_rounds: Annotated[int, Field(ge=1)] = 336


class ConfiguratorConfig(ServiceConfig):
    """`hushgrid-configurator --config FILE.toml`."""

    plan: PlanSection = PlanSection()
    policy: PolicySection = PolicySection()
    placement: PlacementSection = PlacementSection()
    pairwise: PairwiseSection | None = None
    agreement: AgreementSection = AgreementSection()
