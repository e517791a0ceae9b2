"""What is done to the agents of a testbed while it runs."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable
from dataclasses import dataclass


class Harm(enum.StrEnum):
    """One thing that can be done to an agent or to the broker. Only containers can be cut off from their network."""

    KILL = "kill -9"  # and it is started again
    STOP = "kill -9 for good"
    PAUSE = "pause"
    RESUME = "resume"
    CUT = "cut off from the network"
    HEAL = "back in the network"


#: These end what those began.
BRINGS_BACK = frozenset({Harm.RESUME, Harm.HEAL})
#: After these a round cannot wait for everybody any more.
LEAVES_BEHIND = frozenset({Harm.STOP, Harm.PAUSE, Harm.CUT})


@dataclass(frozen=True, slots=True)
class Fault:
    """Done when `round` (counted from 1) has been played."""

    harm: Harm
    agent: str
    round: int


@dataclass(frozen=True, slots=True)
class Spell:
    """How long an agent bears one option's harm, both rounds included; last: None for good."""

    option: str
    agent: str
    first: int
    last: int | None

    def __str__(self) -> str:
        rounds = f"{self.first}-{self.last}" if self.last not in (None, self.first) else f"{self.first}"
        return f"{self.option} {self.agent}@{rounds}"


def overlaps(spells: Iterable[Spell]) -> list[str]:
    """One line for every two harms that come to one agent at once: whoever is away can neither be killed nor leave again."""
    ordered = sorted(spells, key=lambda spell: (spell.agent, spell.first))
    return [
        f"{earlier} and {later} overlap: one harm of an agent ends before its next begins"
        for earlier, later in itertools.pairwise(ordered)
        if earlier.agent == later.agent and (earlier.last is None or later.first <= earlier.last)
    ]
