"""Whom a PPN reaches. In a grid that is the network's affair; in a testbed it can be cut off from single parties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hushgrid.core.schedule import Pace


class PpnLink(Protocol):
    """Which parties are separated, as a testbed plays it."""

    def parts(self, one: str, other: str, round_number: int, /) -> bool:
        """Whether nothing passes between these two in this round."""


class _Perfect:
    def parts(self, _one: str, _other: str, _round_number: int, /) -> bool:
        return False


#: What every deployed PPN has.
PERFECT: PpnLink = _Perfect()


class Reach:
    """Asked with a party: whether messages pass between this PPN and it, in the round that is metered now."""

    def __init__(self, link: PpnLink, ppn: str, pace: Callable[[], Pace | None]) -> None:
        self._link, self._ppn, self._pace = link, ppn, pace

    def __call__(self, other: str) -> bool:
        pace = self._pace()
        return pace is None or not self._link.parts(self._ppn, other, pace.metered_through)
