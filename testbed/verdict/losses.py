"""What the links of a run wrote down as lost, beside what the PPNs missed when their rounds froze: each explains the other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from configurator.registry.registry import Registry
from hushgrid.conducted.loss import REPAIR, SHARE
from hushgrid.conducted.lossy_link import LOG_NAME
from ppn_node.shares.journal import Journal

Place = tuple[str, str, int]  # meter, PPN, round


@dataclass(frozen=True, slots=True)
class Comparison:
    """All in (meter, PPN, round)s. missed: not there at the freeze; unexplained: missed although no link lost the share, or some
    repair of it; held_anyway: shares of which a link lost every attempt, and that are nevertheless there.
    """

    missed: frozenset[Place]
    unexplained: frozenset[Place]
    held_anyway: frozenset[Place]

    @property
    def agrees(self) -> bool:
        """Whether exactly those were missed that the links lost."""
        return not self.unexplained and not self.held_anyway


def compare(directory: Path, ppns: tuple[str, ...], stations: tuple[str, ...], repair_attempts: int) -> Comparison:
    """Read the logs and journals of a finished run. repair_attempts: 0 unless recovery is repair.

    A PPN that was away asks later, under attempts of its own; a share it missed at its freeze counts as missed all the same.
    """
    registry = Registry.read_only(directory / "configurator" / "registry.sqlite")
    ids = {number: meter for meter, number in registry.agents.meters().items()}
    registry.close()
    missed = set()
    for ppn in ppns:
        if (directory / ppn / "journal.sqlite").exists():
            journal = Journal.read_only(directory / ppn / "journal.sqlite")
            missed |= {(ids[number], ppn, round_number) for round_number, number in journal.missed()}
            journal.close()
    shares, requests = _logged(directory, stations)
    attempts = range(1, repair_attempts + 1)

    def lost(place: Place) -> bool:
        again = requests.get(place, set()) | shares[place]
        return 0 in shares[place] and all(attempt in again for attempt in attempts)

    gone = {place for place in shares if lost(place)}
    return Comparison(frozenset(missed), frozenset(missed - gone), frozenset(gone - missed))


def _logged(directory: Path, stations: tuple[str, ...]) -> tuple[dict[Place, set[int]], dict[Place, set[int]]]:
    """The attempts of each share, and of each request for it, that links lost."""
    found: dict[str, dict[Place, set[int]]] = {SHARE: {}, REPAIR: {}}
    for station in stations:
        path = directory / station / LOG_NAME
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            entry = json.loads(line)
            ends = (
                (entry["sender"], entry["receiver"]) if entry["kind"] == SHARE else (entry["receiver"], entry["sender"])
            )
            if entry["kind"] in found:
                found[entry["kind"]].setdefault((*ends, entry["round"]), set()).add(entry["attempt"])
    return found[SHARE], found[REPAIR]
