"""Which masks may be opened: of one (meter, round) the pair masks or the self-mask, for ever, never both.

With both a masked reading is bare. A message that is late is not lost: after the pair masks were opened to finish a column
without it, only the self-mask still hides it (pitfall P25). Every holder (a neighbour, with its share of the self-mask and
its own pair masks) answers the first question it is asked about a (meter, round) and refuses the other one.

Why this is enough with c lying holders: the self-mask takes t > c shares, so at least one honest neighbour answered
`SELF` and keeps its pair mask; the reading stays tied to that neighbour's component.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from hushgrid.core.field import Field
from hushgrid.core.shamir import RandBelow, split
from hushgrid.errors import ConfigurationError, RefusedError


class Opening(enum.StrEnum):
    """What is disclosed of a (meter, round)."""

    SELF = "self"  # it is in the column: the self-mask comes off, the pair masks cancel
    PAIRS = "pairs"  # it is left out: the neighbours' pair masks with it come off, its self-mask stays


@dataclass(slots=True)
class Openings:
    """What one holder has answered. Only ever grows; the shell writes an answer to disk before it gives it."""

    answered: dict[tuple[str, int], Opening] = dataclass_field(default_factory=dict)

    @classmethod
    def restored(cls, answered: Iterable[tuple[str, int, Opening]]) -> Openings:
        """As it was before a restart."""
        return cls({(meter, round_number): opening for meter, round_number, opening in answered})

    def ask(self, meter: str, round_number: int, opening: Opening) -> bool:
        """Commit to an answer; True when it is new and has to be written, False when it repeats an earlier one.

        RefusedError when the other opening of this (meter, round) was answered before.
        """
        before = self.answered.get((meter, round_number))
        if before is None:
            self.answered[meter, round_number] = opening
            return True
        if before is not opening:
            raise RefusedError(
                f"round {round_number}: {before.value} of a meter was opened, {opening.value} stays shut for ever"
            )
        return False

    def __iter__(self) -> Iterator[tuple[str, int, Opening]]:
        return ((meter, round_number, opening) for (meter, round_number), opening in self.answered.items())


def share_self_mask(
    value: int, holders: int, threshold: int, colluders: int, field: Field, randbelow: RandBelow = secrets.randbelow
) -> tuple[int, ...]:
    """One Shamir share of a round's self-mask per neighbour, at points 1..holders in the order of their public keys.

    ConfigurationError unless colluders < threshold <= holders. The shares are kept: a retry sends the same ones.
    """
    if not colluders < threshold <= holders:
        raise ConfigurationError(f"{colluders} colluders < threshold {threshold} <= {holders} neighbours does not hold")
    return split(value, range(1, holders + 1), threshold, field, randbelow)
