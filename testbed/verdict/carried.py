"""What each bill of masked readings has to carry: from the source and the closings, not from what a meter says it carried.

A reading whose round was closed without its meter has to be on a later bill, whole and once, or still be owed when the run
ends. Meters' journals are read as claims only: in which round an amount went, and what is owed. What neither a bill nor a
claim accounts for is `unaccounted`, and makes the verdict wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from configurator.masked.graph_book import GraphBook
from configurator.registry.registry import Registry
from meter_agent.masked.journal import MaskingJournal
from testbed.choices.layout import ConsumerWish
from testbed.deployment import CONFIGURATOR, Deployment


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
    billed: Sequence[tuple[Iterable[int], int | None]],
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


def closed_without(deployment: Deployment, wish: ConsumerWish, rounds: range) -> dict[str, frozenset[int]]:
    """Meter -> the rounds of the run that were closed without it, as the configurator decided."""
    stream, path = _stream(deployment, wish), deployment.state(CONFIGURATOR) / "graphs.sqlite"
    if stream is None or not path.exists():
        return {}
    with closing(Registry.read_only(_registry(deployment))) as registry:
        ids = {number: meter for meter, number in registry.agents.meters().items()}
    found: dict[str, set[int]] = {}
    with closing(GraphBook.read_only(path)) as book:
        for round_number, absent in book.closings(stream, rounds[0], rounds[-1]).items():
            for number in absent:
                found.setdefault(ids[number], set()).add(round_number)
    return {meter: frozenset(left_out) for meter, left_out in found.items()}


def claims_of(deployment: Deployment, wish: ConsumerWish, omitted: Mapping[str, AbstractSet[int]]) -> dict[str, Claims]:
    """Meter -> what its journal says of the rounds that were closed without it; meters without such rounds claim nothing."""
    stream = _stream(deployment, wish)
    found: dict[str, Claims] = {}
    for station, meters in deployment.stations.items():
        path = deployment.state(station) / "masking.sqlite"
        chosen = [meter for meter in meters if omitted.get(meter)]
        if stream is None or not chosen:
            continue
        if not path.exists():
            found |= {meter: Claims(undecided=omitted[meter]) for meter in chosen}
            continue
        with closing(MaskingJournal.read_only(path)) as journal:
            found |= {meter: _claims(journal, meter, stream, omitted[meter]) for meter in chosen}
    return found


def _claims(journal: MaskingJournal, meter: str, stream: int, omitted: AbstractSet[int]) -> Claims:
    through = journal.stated_through(meter, stream)
    unmasked = {r for r in omitted if through is None or r > through}
    owed = journal.carry(meter, stream, 0).pending_watt_hours
    return Claims(journal.taken_up(meter, stream), owed, journal.unheard(meter, stream) | unmasked)


def _registry(deployment: Deployment) -> Path:
    return deployment.state(CONFIGURATOR) / "registry.sqlite"


def _stream(deployment: Deployment, wish: ConsumerWish) -> int | None:
    """The number of the rule; None when it was never granted."""
    if not _registry(deployment).exists():
        return None
    with closing(Registry.read_only(_registry(deployment))) as registry:
        return registry.rules.newest_number(wish.consumer_id, wish.name)
