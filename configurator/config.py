"""Configuration of the configurator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hushgrid.config import ServiceConfig
from hushgrid.field import is_prime
from hushgrid.plan import Model, Recovery


class PlanSection(Model):
    """What every plan of this installation has in common.

    modulus: q, or "auto" for the smallest known prime that fits cohort_bound meters x window_bound rounds. epoch_rounds: life
    of one set of agreement keys. lead_rounds: how far ahead a new plan is announced. first_round: for a testbed.
    """

    threshold: Annotated[int, Field(ge=1)] = 3
    width: Annotated[int, Field(ge=1)] = 4
    modulus: int | Literal["auto"] = "auto"
    cohort_bound: Annotated[int, Field(ge=1)] = 10_000
    window_bound: Annotated[int, Field(ge=1)] = 96
    reading_bound_watt_hours: Annotated[int, Field(ge=1)] = 100_000
    interval_seconds: Annotated[int, Field(ge=1)] = 1800
    recovery: Recovery = Recovery.AGREE
    minimum_contributors: Annotated[int, Field(ge=1)] = 15
    coverage_floor_fraction: Annotated[float, Field(ge=0, le=1)] = 0.8
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


class AgreementSection(Model):
    """How long a round waits for the rosters of PPNs that are away; how long a request waits for meters not enrolled yet."""

    roster_patience_seconds: Annotated[float, Field(gt=0)] = 30.0
    pending_seconds: Annotated[float, Field(gt=0)] = 60.0


class ConfiguratorConfig(ServiceConfig):
    """`hushgrid-configurator --config FILE.toml`."""

    plan: PlanSection = PlanSection()
    agreement: AgreementSection = AgreementSection()
