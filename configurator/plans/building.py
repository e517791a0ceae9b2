"""From what is registered to a plan: the head, and everybody's part of it. No I/O.

Nothing in one message grows with the number of meters: what lists meters comes in pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from configurator.values import BuiltPart, BuiltPlan, GrantedRule, PlannedRule, Registered
from hushgrid.core.bitmap import Bitmap
from hushgrid.plan.digest_tree import DigestTree, leaf
from hushgrid.plan.head import EpochKey, Head, PpnEntry
from hushgrid.plan.parts import ConsumerEntry, ConsumerPart, MeterEntry, MeterPart, PlainPart, PpnPart
from hushgrid.wire.model import PAGE_METERS
from hushgrid.wire.role import Role


def points_of_meters(rules: Iterable[GrantedRule], there: Collection[int]) -> dict[int, tuple[int, ...]]:
    """Meter number -> the union of the points of the rules that cover it, sorted. there: the points of the plan."""
    found: dict[int, set[int]] = {}
    for granted in rules:
        points = [point for point in granted.rule.points if point in there]
        for number in granted.cohort:
            found.setdefault(number, set()).update(points)
    return {number: tuple(sorted(points)) for number, points in found.items() if points}


def build_plan(
    template: Head,
    agents: Sequence[Registered],
    rules: Sequence[GrantedRule],
    lingering: Sequence[GrantedRule] = (),
    further: Sequence[BuiltPart] = (),
) -> BuiltPlan:
    """The plan for these agents and rules.

    template: a head whose ppns, meters, parts and parts_root are filled in here. An agent without a key of the epoch is left
    out; so is its meter, or every rule of its consumer. lingering: rules as earlier plans placed them, with a window that is
    still open: meters send to their points too, so that this window loses none (a window keeps the plan of its first round).
    further: more parts for some of them (`configurator.masked.rules`).
    """
    ready = {agent.id: agent for agent in agents if agent.key is not None}
    rules = [granted for granted in rules if granted.rule.consumer in ready]
    ppns = [agent for agent in ready.values() if agent.role is Role.PPN]
    meters = {agent.number: agent for agent in ready.values() if agent.role is Role.METER}
    there = {ppn.number for ppn in ppns}
    sent_to = points_of_meters([*rules, *lingering], there)
    points = {n: found for n, found in sent_to.items() if n in meters and _carried(meters[n], ready)}
    size = max((agent.number + 1 for agent in agents if agent.role is Role.METER), default=0)
    parts = [
        *(part for ppn in ppns for part in _ppn_parts(ppn, size, ready, meters, points, rules)),
        *(_consumer_part(agent, rules) for agent in ready.values() if agent.role is Role.CONSUMER),
        *(_plain_part(agent) for agent in ready.values() if agent.role is Role.CARRIER),
        *(_meter_part(meters[number], points[number], rules) for number in sorted(points)),
        *further,
    ]
    parts = _numbered(parts)
    tree = DigestTree.over([leaf(part.recipient, part.page, part.json.encode()) for part in parts])
    entries = tuple(_ppn_entry(ppn) for ppn in sorted(ppns, key=lambda agent: agent.number))
    content = template.model_dump() | {"ppns": entries, "meters": size, "parts": len(parts), "parts_root": tree.root}
    planned = (
        *(PlannedRule(each, lingers=False) for each in rules),
        *(PlannedRule(each, lingers=True) for each in lingering),
    )
    return BuiltPlan(Head.model_validate(content), tuple(parts), tree, planned)


def _numbered(parts: Sequence[BuiltPart]) -> list[BuiltPart]:
    """The parts with their pages numbered through for each recipient."""
    totals = Counter(part.recipient for part in parts)
    seen: Counter[str] = Counter()
    numbered = []
    for part in parts:
        numbered.append(BuiltPart(part.recipient, seen[part.recipient], totals[part.recipient], part.json))
        seen[part.recipient] += 1
    return numbered


def _key(agent: Registered) -> EpochKey:
    if agent.key is None:
        raise ValueError(f"{agent.id} has no key of this epoch")
    return agent.key


def _carried(meter: Registered, ready: Mapping[str, Registered]) -> bool:
    return meter.carrier is None or meter.carrier in ready


def _ppn_entry(ppn: Registered) -> PpnEntry:
    return PpnEntry(id=ppn.id, point=ppn.number, operator=ppn.operator or ppn.id, identity=ppn.identity, key=_key(ppn))


def _ppn_parts(
    ppn: Registered,
    size: int,
    ready: Mapping[str, Registered],
    meters: Mapping[int, Registered],
    points: Mapping[int, tuple[int, ...]],
    rules: Sequence[GrantedRule],
) -> list[BuiltPart]:
    own = [granted for granted in rules if ppn.number in granted.rule.points]
    consumers = sorted({granted.rule.consumer for granted in own})
    entries = tuple(ConsumerEntry(id=c, identity=ready[c].identity, key=_key(ready[c])) for c in consumers)
    pages = max(1, -(-size // PAGE_METERS))
    parts = []
    for page in range(pages):
        first = page * PAGE_METERS
        last = min(size, first + PAGE_METERS)
        here = [n for n in range(first, last) if ppn.number in points.get(n, ())]
        listed = []
        for number in here:
            meter = meters[number]
            sender = ready[meter.carrier] if meter.carrier else meter
            listed.append(MeterEntry(number=number, agreement=_key(meter).agreement, sender=_key(sender).pseudonym))
        cohorts = tuple(
            Bitmap.of(last - first, (n - first for n in granted.cohort if first <= n < last)).to_bytes()
            for granted in own
        )
        part = PpnPart(
            page=page,
            pages=pages,
            first=first,
            rules=tuple(granted.rule for granted in own),
            consumers=entries,
            meters=tuple(listed),
            cohorts=cohorts,
        )
        parts.append(BuiltPart(ppn.id, page, pages, part.to_json().decode()))
    return parts


def _consumer_part(consumer: Registered, rules: Sequence[GrantedRule]) -> BuiltPart:
    own = [granted for granted in rules if granted.rule.consumer == consumer.id]
    sizes = tuple(len(granted.cohort) for granted in own)
    part = ConsumerPart(rules=tuple(granted.rule for granted in own), cohort_sizes=sizes)
    return BuiltPart(consumer.id, 0, 1, part.to_json().decode())


def _meter_part(meter: Registered, points: tuple[int, ...], rules: Sequence[GrantedRule]) -> BuiltPart:
    covering = sum(meter.number in granted.cohort for granted in rules)
    part = MeterPart(number=meter.number, points=points, rules=covering)
    return BuiltPart(meter.id, 0, 1, part.to_json().decode())


def _plain_part(agent: Registered) -> BuiltPart:
    return BuiltPart(agent.id, 0, 1, PlainPart().to_json().decode())
