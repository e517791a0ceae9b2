"""What an operator decides for a whole grid, section by section of the configuration: values, checked, without I/O."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hushgrid.core.field import is_prime
from hushgrid.core.recovery import Recovery
from hushgrid.wire.model import MAX_REPAIR_ATTEMPTS, Model, Name

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
        if self.recovery.agrees and 2 * self.threshold <= self.width:
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


class AgreementSection(Model):
    """roster_patience_seconds: how long a round waits for the rosters of PPNs that say nothing. gone_patience_seconds: how long
    ago a PPN's last will was read when rounds wait for its roster no longer. pending_seconds: how long a request waits for meters
    and PPNs that are still expected and, before the first plan, for consumers that have not asked yet. kept_rounds: for how many
    rounds a decision is kept for PPNs that were away (and as long as a window over it is open).
    """

    roster_patience_seconds: Annotated[float, Field(gt=0)] = 30.0
    gone_patience_seconds: Annotated[float, Field(gt=0)] = 5.0
    pending_seconds: Annotated[float, Field(gt=0)] = 60.0
    kept_rounds: Annotated[int, Field(ge=1)] = 336
