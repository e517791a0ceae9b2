"""The lossy link as it is configured, and as a testbed's conductor changes it while a grid runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from hushgrid.conducted.loss import Bursts, LinkPartition, LossModel
from hushgrid.wire.model import Model, Round

Fraction = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, lt=3600)]
#: An agent's id, or "*" for any.
Party = Annotated[str, Field(min_length=1, max_length=64)]


class BurstsSection(Model):
    """Gilbert-Elliott (see `hushgrid.conducted.loss.Bursts`)."""

    enter_fraction: Fraction
    leave_fraction: Annotated[float, Field(gt=0, le=1)]
    loss_fraction: Fraction = 1.0

    @model_validator(mode="after")
    def _can_be_played(self) -> BurstsSection:
        Bursts(self.enter_fraction, self.leave_fraction, self.loss_fraction)
        return self


class PartitionSection(Model):
    """Nothing passes between two parties in the rounds [first_round, until_round)."""

    one: Party
    other: Party
    first_round: Round
    until_round: Round


class LinkSection(Model):
    """What the link between this agent and its MQTT client does to messages (see `LossModel`)."""

    loss_fraction: Fraction = 0.0
    seed: int = 0
    bursts: BurstsSection | None = None
    partitions: tuple[PartitionSection, ...] = ()
    delay_most_seconds: Seconds = 0.0
    reorder_fraction: Fraction = 0.0
    reorder_seconds: Seconds = 0.0
    duplicate_fraction: Fraction = 0.0

    @property
    def model(self) -> LossModel:
        """The pure function these parameters stand for."""
        bursts = self.bursts
        return LossModel(
            self.seed,
            self.loss_fraction,
            Bursts(bursts.enter_fraction, bursts.leave_fraction, bursts.loss_fraction) if bursts else None,
            tuple(LinkPartition(p.one, p.other, p.first_round, p.until_round) for p in self.partitions),
            self.delay_most_seconds,
            self.reorder_fraction,
            self.reorder_seconds,
            self.duplicate_fraction,
        )


class LinkStage(LinkSection):
    """The link for messages of this round and later ones."""

    from_round: Round
