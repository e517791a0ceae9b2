"""Wh that were left out of a column travel in a later reading (`carried`): bills stay right, and nothing isolates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True, repr=False)
class Carry:
    """What a meter still owes to its bill, and what it put into each round that is not decided yet. All in Wh.

    pending: taken up by the next reading. sent: {round: Wh masked in it}. excluded: rounds already taken back.
    """

    bound_watt_hours: int
    pending_watt_hours: int = 0
    sent: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    excluded: frozenset[int] = frozenset()

    def prepare(self, round_number: int, watt_hours: int) -> tuple[int, Carry]:
        """The Wh to mask in this round (the reading and what is carried), and the state after it.

        What would exceed the plan's bound of a reading stays pending. A round is prepared once: asked again it gives the
        same Wh, whatever the reading. ValueError for a reading beyond the bound.
        """
        if round_number in self.sent:
            return self.sent[round_number], self
        if abs(watt_hours) > self.bound_watt_hours:
            raise ValueError("the reading exceeds the plan's bound")
        owed = watt_hours + self.pending_watt_hours
        put = max(-self.bound_watt_hours, min(self.bound_watt_hours, owed))
        sent = MappingProxyType({**self.sent, round_number: put})
        return put, Carry(self.bound_watt_hours, owed - put, sent, self.excluded)

    def exclude(self, round_number: int) -> Carry:
        """The round was left out for ever: its Wh become pending, once. KeyError for a round never prepared."""
        put = self.sent[round_number]
        if round_number in self.excluded:
            return self
        return Carry(self.bound_watt_hours, self.pending_watt_hours + put, self.sent, self.excluded | {round_number})
