"""What goes under a reading before it is shared. Three answers, told apart by their types: no falsy one shares a bare reading."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bare:
    """The meter's readings are shared as they are."""


@dataclass(frozen=True, slots=True, repr=False)
class Masked:
    """Mechanism both: these terms are added before the reading is shared; each has one element per slot.

    ValueError without a term: that would be a bare reading.
    """

    terms: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("a masked reading has at least one term")


@dataclass(frozen=True, slots=True)
class Silent:
    """The meter masks what it shares, and has nothing to mask it with in this period: it says "no reading"."""


Cover = Bare | Masked | Silent
