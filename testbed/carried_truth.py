"""What each bill of masked readings has to carry: from the source and the closings, not from what a meter says it carried.

A reading whose round was closed without its meter has to be on a later bill, whole and once, or still be owed when the run
ends. Meters' journals are read as claims only: in which round an amount went, and what is owed. What neither a bill nor a
claim accounts for is `unaccounted`, and makes the verdict wrong.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path

from hushgrid.schedule import Window
from testbed.deployment import CONFIGURATOR, Deployment
from testbed.layout import ConsumerWish

#: Rounds of whose closing a meter has not heard: it still sends what it masked, or has not been asked to open.
_UNHEARD = """
    SELECT round FROM sent s WHERE meter = ? AND stream = ? AND NOT excluded AND (
        EXISTS (SELECT 1 FROM outstanding o WHERE o.meter = s.meter AND o.stream = s.stream AND o.round = s.round)
        OR NOT EXISTS (SELECT 1 FROM answer a WHERE a.meter = s.meter AND a.stream = s.stream AND a.round = s.round))
"""


@dataclass(frozen=True, slots=True)
class Claims:
    """What one meter says of its carried Wh. taken_up: Wh of earlier rounds, by the round they went into. undecided: rounds
    that it has not masked yet, or of whose closing it has not heard: nothing of them is to be carried so far.
    """

    taken_up: Mapping[int, int] = field(default_factory=dict)
    owed_watt_hours: int = 0
    undecided: AbstractSet[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Due:
    """One bill by the source, in Wh. unaccounted: on none of the meter's bills, and not owed."""

    own_watt_hours: int
    carried_watt_hours: int
    unaccounted_watt_hours: int = 0

    @property
    def watt_hours(self) -> int:
        """What the bill has to say."""
        return self.own_watt_hours + self.carried_watt_hours + self.unaccounted_watt_hours


def due_bills(
    readings: Mapping[int, int],
    omitted: AbstractSet[int],
    billed: Sequence[tuple[Window, int | None]],
    claims: Claims,
) -> list[Due]:
    """The bills of one meter, in order. readings: the source's Wh by round, 0 for a gap; billed: Wh, None for an absent bill.

    A meter may hear late of a closing, so a bill may carry any rounds omitted before the last one it includes.
    """
    waiting = {r: readings[r] for r in sorted(omitted)}
    dues, sound, claimed = [], True, claims.owed_watt_hours
    for window, watt_hours in billed:
        included = [r for r in window if r not in omitted]
        own = sum(readings[r] for r in included)
        could = {r: wh for r, wh in waiting.items() if included and r < included[-1]}
        said = sum(claims.taken_up.get(r, 0) for r in included) if watt_hours is None else watt_hours - own
        chosen = _rounds_of(said, could)
        if chosen is None and watt_hours is not None:
            sound, chosen, said = False, frozenset(could), sum(could.values())
        elif chosen is None:
            claimed += said
        dues.append(Due(own, said))
        waiting = {r: wh for r, wh in waiting.items() if r not in (chosen or ())}
    claimed += sum(readings[r] + claims.taken_up.get(r, 0) for r in claims.undecided & omitted)
    lost = sum(waiting.values()) - claimed
    if lost and sound and dues:
        at = max((at for at, (_, watt_hours) in enumerate(billed) if watt_hours is not None), default=0)
        dues[at] = replace(dues[at], unaccounted_watt_hours=lost)
    return dues


def _rounds_of(watt_hours: int, rounds: Mapping[int, int]) -> frozenset[int] | None:
    """Rounds whose Wh add up to so many, the oldest where there is a choice; None for none."""
    found: dict[int, frozenset[int]] = {0: frozenset()}
    for r, wh in rounds.items():
        for total, chosen in list(found.items()):
            found.setdefault(total + wh, chosen | {r})
    return found.get(watt_hours)


def closed_without(deployment: Deployment, wish: ConsumerWish) -> dict[str, frozenset[int]]:
    """Meter -> the rounds that were closed without it, as the configurator decided."""
    stream, directory = _stream(deployment, wish), deployment.state(CONFIGURATOR)
    ids = dict(_query(directory / "registry.sqlite", "SELECT number, id FROM agent WHERE role = 'meter'"))
    found: dict[str, set[int]] = {}
    query = "SELECT round, absent FROM closing WHERE stream = ?"
    for round_number, absent in _query(directory / "graphs.sqlite", query, stream):
        for number in json.loads(absent):
            found.setdefault(ids[number], set()).add(round_number)
    return {meter: frozenset(rounds) for meter, rounds in found.items()}


def claims_of(deployment: Deployment, wish: ConsumerWish, omitted: Mapping[str, AbstractSet[int]]) -> dict[str, Claims]:
    """Meter -> what its journal says of the rounds that were closed without it; meters without such rounds claim nothing."""
    stream = _stream(deployment, wish)
    found = {}
    for station, meters in deployment.stations.items():
        path = deployment.state(station) / "masking.sqlite"
        for meter in meters:
            if omitted.get(meter):
                found[meter] = _claims(path, meter, stream, omitted[meter])
    return found


def _claims(path: Path, meter: str, stream: int, omitted: AbstractSet[int]) -> Claims:
    place = (meter, stream)
    through = dict(_query(path, "SELECT 1, through_round FROM stated WHERE meter = ? AND stream = ?", *place)).get(
        1, -1
    )
    return Claims(
        dict(_query(path, "SELECT round, watt_hours FROM taken_up WHERE meter = ? AND stream = ?", *place)),
        sum(wh for (wh,) in _query(path, "SELECT watt_hours FROM owed WHERE meter = ? AND stream = ?", *place)),
        {r for (r,) in _query(path, _UNHEARD, *place)} | {r for r in omitted if r > through},
    )


def _stream(deployment: Deployment, wish: ConsumerWish) -> int:
    """The number of the rule; -1 when it was never granted."""
    query = "SELECT number FROM rule WHERE consumer = ? AND name = ? ORDER BY number DESC"
    path = deployment.state(CONFIGURATOR) / "registry.sqlite"
    return next((number for (number,) in _query(path, query, wish.consumer_id, wish.name)), -1)


def _query(path: Path, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path)) as store:
        return store.execute(query, values).fetchall()
