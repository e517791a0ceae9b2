"""A small grid with everybody's keys at hand: three PPNs, five meters behind one concentrator, one consumer with two rules.

The second rule is over a part of the meters, so that both together can single out too few of them.

Built once per recovery and used by every history: keys cost more than a whole history.
"""

from __future__ import annotations

import functools

from configurator.plans.building import build_plan
from configurator.values import GrantedRule, Registered
from hushgrid.core.field import MODULI
from hushgrid.core.recovery import Recovery
from hushgrid.core.sealing import Agreement, Identity
from hushgrid.plan.book import PlanBook
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.head import EpochKey, Head
from hushgrid.plan.parts import Part, Rule, part_from_json
from hushgrid.shell.keyring import EpochKeys
from hushgrid.wire.role import Role
from meter_agent.shares.sharing import derive_keys

NAME, METERS, POINTS, THRESHOLD = "g", 5, (1, 2, 3), 2
FIRST, ROUNDS, WINDOWS, MINIMUM, COVERAGE_FLOOR = 10, 4, (1, 2), 2, 0.6
LAST = FIRST + ROUNDS - 1
#: Whose readings a rule sums.
COHORTS = (frozenset(range(METERS)), frozenset(range(3)))


class Grid:
    """The plan of all histories with one recovery; nothing here changes."""

    def __init__(self, recovery: Recovery) -> None:
        roles = [(f"ppn-{n}", Role.PPN, n) for n in POINTS] + [("c", Role.CONSUMER, 1), ("fleet", Role.CARRIER, 1)]
        roles += [(f"m{n}", Role.METER, n) for n in range(METERS)]
        self.recovery = recovery
        self.configurator, self.stranger = Identity.generate(), Identity.generate()
        self.identities = {name: Identity.generate() for name, _, _ in roles}
        agreements = {name: Agreement.generate() for name, _, _ in roles}
        self.agents = [
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
            reading_bound_watt_hours=1 << METERS * ROUNDS,
            recovery=recovery,
            minimum_contributors=MINIMUM,
            coverage_floor_fraction=COVERAGE_FLOOR,
            repair_attempts=3 if recovery is Recovery.REPAIR else 0,
            ppns=(),
            meters=0,
            parts=0,
            parts_root=b"",
        )
        granted = [GrantedRule(rule, cohort) for rule, cohort in zip(rules, COHORTS, strict=True)]
        self.plan = build_plan(template, self.agents, granted)
        self.head, self.digest = self.plan.head, self.plan.head.digest
        self.field = self.head.field
        self.rules = {rule.number: rule for rule in rules}
        self.cohorts = {each.rule.number: each.cohort for each in granted}
        self.pseudonyms = {agent.id: agent.key.pseudonym for agent in self.agents}
        self.names = {pseudonym: name for name, pseudonym in self.pseudonyms.items()}
        parts: dict[str, tuple[Part, ...]] = {}
        for part in self.plan.parts:
            parts[part.recipient] = (*parts.get(part.recipient, ()), part_from_json(part.json.encode()))
        self.adopted = AdoptedPlan(self.head, parts)
        self.plans: PlanBook[AdoptedPlan] = PlanBook()
        self.plans.add(self.head, self.adopted)
        self.plans.in_force = functools.cache(self.plans.in_force)  # there never is another
        self.sharing_keys = {n: derive_keys(agreements[f"m{n}"], self.head, POINTS, NAME) for n in range(METERS)}
        self._agreements = agreements
        self.keys = {name: EpochKeys(functools.partial(self._agreement, name), NAME) for name in agreements}

    def _agreement(self, name: str, _epoch: int) -> Agreement:
        return self._agreements[name]


@functools.cache
def grid_of(recovery: Recovery) -> Grid:
    """The grid of one recovery."""
    return Grid(recovery)
