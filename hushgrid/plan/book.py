"""The plans that an agent knows, and which of them is in force for a round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.head import Head

Entry = TypeVar("Entry")


class PlanBook(Generic[Entry]):
    """The plans an agent knows, by version, and which of them is in force for a round. Versions only rise."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Head, Entry]] = {}

    def add(self, head: Head, entry: Entry) -> None:
        """Take a plan in; MessageError(ROLLED_BACK) when it is older than the newest, or another of the same version."""
        if self._entries:
            newest = self._entries[max(self._entries)][0]
            same = head.version == newest.version and head.digest == newest.digest
            if not same and (
                head.version <= newest.version
                or head.valid_from_round < newest.valid_from_round
                or head.epoch < newest.epoch
            ):
                raise MessageError(RejectReason.ROLLED_BACK, f"plan {head.version} after {newest.version}")
        self._entries[head.version] = (head, entry)

    def in_force(self, round_number: int) -> tuple[Head, Entry] | None:
        """The newest plan valid from this round or before."""
        found = [pair for pair in self._entries.values() if pair[0].valid_from_round <= round_number]
        return max(found, key=lambda pair: pair[0].version) if found else None

    def version(self, version: int) -> tuple[Head, Entry] | None:
        """A plan by its version."""
        return self._entries.get(version)

    @property
    def newest(self) -> tuple[Head, Entry] | None:
        """The plan with the highest version."""
        return self._entries[max(self._entries)] if self._entries else None

    def __iter__(self) -> Iterator[tuple[Head, Entry]]:
        return iter(sorted(self._entries.values(), key=lambda pair: pair[0].version))
