"""What becomes of a message between an agent and its MQTT client, as a pure function.

A message's fate follows from (seed, kind, sender, receiver, round, attempt) alone, whatever the timing of processes. So a run is
reproducible, and its outcome can be predicted and compared. All of it is simulated randomness and protects nobody.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Protocol

#: Kinds of messages: one share from a meter to a PPN; a PPN's request for one (sender: the PPN, receiver: the meter); one masked
#: reading from a meter to a consumer.
SHARE, REPAIR, MASKED = "share", "repair", "masked"


#: Any party, in a partition.
EVERYBODY = "*"


#: Least probability that one draw says whether a link is in a burst (see `Bursts.decided_fraction`): a thousand draws on average.
LEAST_DECIDED_FRACTION = 1e-3


_UNIT = 2.0**64


_LOSS, _BURST = b"hushgrid link", b"hushgrid burst"


_DELAY, _REORDER, _DUPLICATE = b"hushgrid delay", b"hushgrid reorder", b"hushgrid double"


class Lossy(Protocol):
    """Whatever says which messages are lost."""

    def drops(self, kind: str, sender: str, receiver: str, round_number: int, attempt: int = 0) -> bool:
        """True when this message is lost."""


@dataclass(frozen=True, slots=True)
class Bursts:
    """Gilbert-Elliott: from round to round the link between two parties is good or bad, a Markov chain in its stationary state.

    enter_fraction: good to bad; leave_fraction: bad to good, above 0; loss_fraction: of messages while it is bad. ValueError where
    the state in a round could not be found at all, or not in about a thousand draws.
    """

    enter_fraction: float
    leave_fraction: float
    loss_fraction: float = 1.0

    def __post_init__(self) -> None:
        for name in ("enter_fraction", "leave_fraction", "loss_fraction"):
            _check_fraction(name, getattr(self, name))
        if self.leave_fraction == 0:
            raise ValueError("leave_fraction is 0: a burst would never end")
        if self.enter_fraction and self.decided_fraction < LEAST_DECIDED_FRACTION:
            raise ValueError(
                f"enter_fraction {self.enter_fraction:g} and leave_fraction {self.leave_fraction:g} are both too near 0, or both "
                f"too near 1: a round's draw decides with probability {self.decided_fraction:.2g}, below {LEAST_DECIDED_FRACTION:g}"
            )

    @property
    def decided_fraction(self) -> float:
        """The probability that a round's draw leads the good and the bad chain to one state (see `LossModel.is_bad`)."""
        stay_fraction = 1 - self.leave_fraction
        return min(self.enter_fraction, stay_fraction) + 1 - max(self.enter_fraction, stay_fraction)


@dataclass(frozen=True, slots=True)
class LinkPartition:
    """Nothing passes between two parties, in either direction, in the rounds [first_round, until_round). "*": whoever."""

    one: str
    other: str
    first_round: int
    until_round: int

    def parts(self, sender: str, receiver: str, round_number: int) -> bool:
        """True when it separates these two in this round."""
        if not self.first_round <= round_number < self.until_round:
            return False
        return any(
            here in (EVERYBODY, sender) and there in (EVERYBODY, receiver)
            for here, there in ((self.one, self.other), (self.other, self.one))
        )


@dataclass(frozen=True, slots=True)
class LossModel:
    """What the link does. Fractions in [0, 1], of messages.

    loss_fraction: lost independently of each other. delay_most_seconds: a message is on its way for 0 to that long, uniformly.
    reorder_fraction: held back for reorder_seconds on top, so that later ones overtake them. duplicate_fraction: arrive twice.
    """

    seed: int = 0
    loss_fraction: float = 0.0
    bursts: Bursts | None = None
    partitions: tuple[LinkPartition, ...] = ()
    delay_most_seconds: float = 0.0
    reorder_fraction: float = 0.0
    reorder_seconds: float = 0.0
    duplicate_fraction: float = 0.0

    def __post_init__(self) -> None:
        for name in ("loss_fraction", "reorder_fraction", "duplicate_fraction"):
            _check_fraction(name, getattr(self, name))
        if not (0 <= self.delay_most_seconds < 3600 and 0 <= self.reorder_seconds < 3600):
            raise ValueError("a delay is outside 0 to 3600 seconds")

    @property
    def lossless(self) -> bool:
        """True when nothing can be lost."""
        return self.loss_fraction == 0 and self.bursts is None and not self.partitions

    @property
    def punctual(self) -> bool:
        """True when everything that arrives does so at once, in order and once."""
        return self.delay_most_seconds == 0 and self.reorder_fraction == 0 and self.duplicate_fraction == 0

    def drops(self, kind: str, sender: str, receiver: str, round_number: int, attempt: int = 0) -> bool:
        """True when the link loses this message."""
        if self.lossless:
            return False
        if self.parts(sender, receiver, round_number):
            return True
        lost = self.loss_fraction
        if self.bursts is not None and self.is_bad(sender, receiver, round_number):
            lost = self.bursts.loss_fraction
        return lost > 0 and self._drawn(_LOSS, kind, sender, receiver, round_number, attempt) < lost * _UNIT

    def parts(self, one: str, other: str, round_number: int) -> bool:
        """Whether a partition separates these two in this round: then no message of any kind passes."""
        return any(partition.parts(one, other, round_number) for partition in self.partitions)

    def is_bad(self, sender: str, receiver: str, round_number: int) -> bool:
        """Whether the link between two parties is in a burst; the same for every kind, direction and attempt of a round.

        The chain is never played from its beginning: one draw a round moves the good and the bad chain alike, so that going
        back to the last round whose draw leads both to one state gives a stationary state exactly (coupling from the past).
        """
        if self.bursts is None or self.bursts.enter_fraction == 0:
            return False
        enter, stay = self.bursts.enter_fraction * _UNIT, (1 - self.bursts.leave_fraction) * _UNIT
        one, other = sorted((sender, receiver))
        flipped = False
        while True:
            drawn = self._drawn(_BURST, "", one, other, round_number, 0)
            if drawn < min(enter, stay):
                return not flipped
            if drawn >= max(enter, stay):
                return flipped
            if enter > stay:  # good turns bad and bad turns good
                flipped = not flipped
            round_number -= 1

    def delays(self, kind: str, sender: str, receiver: str, round_number: int, attempt: int = 0) -> tuple[float, ...]:
        """After how many seconds each copy arrives of a message that is not lost as a whole: one copy or two."""
        if self.punctual:
            return (0.0,)

        def drawn(aspect: bytes) -> float:
            return self._drawn(aspect, kind, sender, receiver, round_number, attempt) / _UNIT

        first = self.delay_most_seconds * drawn(_DELAY)
        if drawn(_REORDER) < self.reorder_fraction:
            first += self.reorder_seconds
        if drawn(_DUPLICATE) < self.duplicate_fraction:
            return first, first + self.delay_most_seconds
        return (first,)

    def _drawn(self, aspect: bytes, kind: str, sender: str, receiver: str, round_number: int, attempt: int) -> int:
        """Uniform below 2^64."""
        label = f"{kind}\x00{sender}\x00{receiver}".encode()
        numbers = struct.pack(">qqq", self.seed, round_number, attempt)
        return int.from_bytes(hashlib.blake2b(numbers + label, digest_size=8, person=aspect).digest(), "big")


@dataclass(frozen=True, slots=True)
class Link:
    """A link that changes while a grid runs: from each stage's round on, its model holds. One message, one model: by its round."""

    first: LossModel = field(default_factory=LossModel)
    stages: tuple[tuple[int, LossModel], ...] = ()

    def at(self, round_number: int) -> LossModel:
        """The model in force for messages of a round."""
        found = self.first
        for from_round, model in self.stages:
            if from_round <= round_number:
                found = model
        return found

    def changed(self, stages: tuple[tuple[int, LossModel], ...]) -> Link:
        """The same link with these stages, in the order of their rounds."""
        return Link(self.first, tuple(sorted(stages, key=lambda stage: stage[0])))

    def drops(self, kind: str, sender: str, receiver: str, round_number: int, attempt: int = 0) -> bool:
        """See `LossModel.drops`."""
        return self.at(round_number).drops(kind, sender, receiver, round_number, attempt)

    def parts(self, one: str, other: str, round_number: int) -> bool:
        """See `LossModel.parts`."""
        return self.at(round_number).parts(one, other, round_number)

    def delays(self, kind: str, sender: str, receiver: str, round_number: int, attempt: int = 0) -> tuple[float, ...]:
        """See `LossModel.delays`."""
        return self.at(round_number).delays(kind, sender, receiver, round_number, attempt)


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is outside [0, 1]")
