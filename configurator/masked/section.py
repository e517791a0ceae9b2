"""What an operator decides about masked readings: a section of the configuration, checked, without I/O."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from pydantic import Field, model_validator

from configurator.masked.graphs import parse_shape
from hushgrid.errors import ConfigurationError
from hushgrid.wire.model import Model, Variant

#: As `meter_agent.masked.isolated` has it: above it, noise all but shows the reading.
LARGEST_EPSILON = 4


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
