"""A small grid with everybody's keys at hand: three PPNs, four meters behind one concentrator, one consumer with two rules.

Built once per recovery and used by every history: keys cost more than a whole history.
"""

from __future__ import annotations

import functools

from configurator.planning import GrantedRule, Registered, build_plan
from hushgrid.control import Role
from hushgrid.field import MODULI
from hushgrid.plan import EpochKey, Head, Recovery, Rule, part_from_json
from hushgrid.sealing import Agreement, Identity, Kind, SealingKey
from meter_agent.sharing import derive_keys
from ppn_node.assignment import Assignment

NAME, METERS, POINTS, THRESHOLD = "g", 4, (1, 2, 3), 2
FIRST, ROUNDS, WINDOWS, MINIMUM, COVERAGE_FLOOR = 10, 4, (1, 2), 2, 0.6
LAST = FIRST + ROUNDS - 1


class Grid:
    """The plan of all histories with one recovery; nothing here changes."""

    def __init__(self, recovery: Recovery) -> None:
        roles = [(f"ppn-{n}", Role.PPN, n) for n in POINTS] + [("c", Role.CONSUMER, 1), ("fleet", Role.CARRIER, 1)]
        roles += [(f"m{n}", Role.METER, n) for n in range(METERS)]
        self.recovery = recovery
        self.configurator, self.stranger = Identity.generate(), Identity.generate()
        self.identities = {name: Identity.generate() for name, _, _ in roles}
        agreements = {name: Agreement.generate() for name, _, _ in roles}
        agents = [
            Registered(
                name,
                role,
                number,
                self.identities[name].public,
                f"o-{name}",
                "fleet" if role is Role.METER else None,
                EpochKey.sign(self.identities[name], NAME, 0, agreements[name].public),
            )
            for name, role, number in roles
        ]
        rules = [
            Rule(
                number=i,
                name=f"r{i}",
                consumer="c",
                window_rounds=k,
                minimum_contributors=MINIMUM,
                points=POINTS,
                from_round=FIRST,
            )
            for i, k in enumerate(WINDOWS, start=1)
        ]
        template = Head.model_construct(
            grid=NAME,
            version=1,
            previous=b"",
            epoch=0,
            valid_from_round=FIRST,
            interval_seconds=1800,
            threshold=THRESHOLD,
            width=len(POINTS),
            modulus=MODULI[0],
            slots=1,
            reading_bound_watt_hours=100_000,
            recovery=recovery,
            minimum_contributors=MINIMUM,
            coverage_floor_fraction=COVERAGE_FLOOR,
            repair_attempts=3 if recovery is Recovery.REPAIR else 0,
            ppns=(),
            meters=0,
            parts=0,
            parts_root=b"",
        )
        built = build_plan(template, agents, [GrantedRule(rule, frozenset(range(METERS))) for rule in rules])
        self.head, self.digest = built.head, built.head.digest
        self.field = self.head.field
        self.rules = {rule.number: rule for rule in rules}
        self.assignments: dict[int, Assignment] = {}
        for point in POINTS:
            parts = [part_from_json(p.json.encode()) for p in built.parts if p.recipient == f"ppn-{point}"]
            found = Assignment.of(self.head, f"ppn-{point}", tuple(parts))
            if found is None:
                raise ValueError("the plan has no place for a PPN")
            self.assignments[point] = found
        self.sharing_keys = {n: derive_keys(agreements[f"m{n}"], self.head, POINTS, NAME) for n in range(METERS)}
        self.aggregate_keys = {
            point: SealingKey.derive(
                agreements[f"ppn-{point}"],
                agreements["c"].public,
                kind=Kind.AGGREGATE,
                grid=NAME,
                epoch=0,
                sender=agreements[f"ppn-{point}"].public,
                recipient=agreements["c"].public,
            )
            for point in POINTS
        }


@functools.cache
def grid_of(recovery: Recovery) -> Grid:
    """The grid of one recovery."""
    return Grid(recovery)
