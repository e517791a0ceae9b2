"""What the configurator remembers: over restarts, over changes of its own form, and no longer than needed."""

from __future__ import annotations

import datetime as dt
import sqlite3

import pytest

from configurator.plans.building import build_plan
from configurator.registry.history import PlanHistory
from configurator.registry.registry import _MIGRATIONS, Registry
from configurator.values import GrantedRule
from hushgrid.core.recovery import Recovery
from hushgrid.core.sealing import Identity
from hushgrid.errors import RefusedError
from hushgrid.plan.head import EpochKey, Head
from hushgrid.statements.rounds import DecisionCore, DecisionPage, ReleaseCertificate, countersign
from hushgrid.statements.rules import RequestRule
from hushgrid.wire.role import Role

IDENTITIES = {name: Identity.from_bytes(bytes([at]) * 32) for at, name in enumerate(
    ("ppn-1", "ppn-2", "ppn-3", "ppn-4", "ppn-5", "utility", "m0", "m1", "m2"), start=1
)}  # fmt: skip
PAGE = DecisionPage(size=3, included=b"\x07", gaps=b"\x00", inconsistent=b"\x00")


def key(name, epoch=0):
    return EpochKey.sign(IDENTITIES[name], "g", epoch, bytes([epoch + 1]) * 32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "registry.sqlite"


@pytest.fixture
def registry(path):
    found = Registry(path)
    roles = {
        name: Role.PPN if name[0] == "p" else Role.METER if name[0] == "m" else Role.CONSUMER for name in IDENTITIES
    }
    tokens = found.agents.issue_tokens(list(roles.items()))
    for name, role in roles.items():
        found.agents.enrol(name, role, tokens[name], IDENTITIES[name].public, None, None)
        found.agents.store_keys(name, [key(name)])
    yield found
    found.close()


def grant(registry, name="total", k=1, points=(1, 2, 3, 4), from_round=10, until=None):
    request = RequestRule(name=name, cohort="all", window_rounds=k)
    granted = registry.rules.draft(request, "utility", from_round, 1, frozenset({0, 1, 2}))
    rule = granted.rule.model_copy(update={"points": points, "until_round": until})
    granted = GrantedRule(rule, granted.cohort)
    registry.rules.grant(granted, request)
    return granted


def add_plan(registry, rules, version=1, valid=10, lingering=()):
    template = Head.model_construct(
        grid="g", version=version, previous=b"", epoch=0, valid_from_round=valid, interval_seconds=60, threshold=3, width=4,
        modulus=2**61 - 1, slots=1, reading_bound_watt_hours=1000, recovery=Recovery.AGREE, repair_attempts=0, minimum_contributors=1,
        coverage_floor_fraction=0.8, ppns=(), meters=0, parts=0, parts_root=b"",
    )  # fmt: skip
    built = build_plan(template, registry.agents.listed(0), rules, lingering)
    registry.plans.add(built)
    return built


def decide(registry, round_number, version=1):
    core = DecisionCore(round=round_number, version=version, pages=(PAGE.digest,), withheld=(), punctual=(1, 2, 3))
    registry.decisions.add(core, b"s" * 64, [PAGE])
    return core


def points_of(built, meter):
    return next(part for part in built.parts if part.recipient == meter).json


def test_a_rule_number_is_never_given_twice_not_even_after_it_was_revoked(registry):
    first = grant(registry)
    registry._database.execute("DELETE FROM rule WHERE number = ?", first.rule.number)
    assert grant(registry).rule.number == first.rule.number + 1
    assert [each.granted.rule.number for each in registry.rules.standing()] == [first.rule.number + 1]


def test_points_belong_to_one_ppn_for_ever(registry):
    assert [agent.number for agent in registry.agents.listed(None) if agent.role is Role.PPN] == [1, 2, 3, 4, 5]
    token = registry.agents.issue_tokens([("ppn-6", Role.PPN)])["ppn-6"]
    assert registry.agents.enrol("ppn-6", Role.PPN, token, b"i" * 32, None, None) == 6
    with pytest.raises(RefusedError, match="token"):
        registry.agents.enrol("ppn-7", Role.PPN, token, b"j" * 32, None, None)


def test_a_token_is_good_until_its_end_and_nobody_is_expected_after_it(path):
    now = [1000.0]
    registry = Registry(path, lambda: now[0])
    tokens = registry.agents.issue_tokens([("m0", Role.METER), ("m1", Role.METER)], dt.timedelta(hours=1))
    now[0] = 4599.0
    registry.agents.enrol("m0", Role.METER, tokens["m0"], b"i" * 32, None, None)
    assert registry.agents.expected(Role.METER) == {"m1"}
    now[0] = 4600.0
    assert not registry.agents.expected(Role.METER)
    with pytest.raises(RefusedError, match="expired"):
        registry.agents.enrol("m1", Role.METER, tokens["m1"], b"j" * 32, None, None)
    again = registry.agents.issue_tokens([("m1", Role.METER)])
    assert registry.agents.enrol("m1", Role.METER, again["m1"], b"j" * 32, None, None) == 1
    assert registry.agents.enrol("m0", Role.METER, tokens["m0"], b"i" * 32, None, None) == 0, (
        "an answer that was lost is said again"
    )
    assert not registry.agents.expected(Role.METER)
    registry.close()


def test_everything_stands_when_it_is_opened_again(registry, path):
    granted = grant(registry)
    built = add_plan(registry, [granted])
    core = decide(registry, 10)
    again = Registry(path)
    assert [each.granted for each in again.rules.standing()] == [granted]
    assert again.plans.heads() == [built.head]
    assert [each.granted for each in again.plans.rules(1)] == [granted]
    assert again.decisions.find(10).core == core
    again.close()


def test_a_registry_of_the_first_form_is_carried_over(path):
    old = sqlite3.connect(path)
    old.executescript(f"BEGIN; {_MIGRATIONS[0]}; PRAGMA user_version=1; COMMIT;")
    rule = '{"number":1,"name":"r","consumer":"c","window_rounds":1,"minimum_contributors":1,"points":[1,2,3],"from_round":0}'
    old.execute(
        'INSERT INTO rule VALUES (1, \'c\', \'r\', \'{"name":"r","cohort":"all","window_rounds":1}\', ?, \'[0, 1]\', 1)',
        (rule,),
    )
    old.execute("INSERT INTO cohort VALUES (1, 1, '[0, 1]')")
    old.commit()
    old.close()
    registry = Registry(path)
    (planned,) = registry.plans.rules(1)
    assert (planned.granted.rule.number, planned.granted.cohort, planned.lingers) == (1, {0, 1}, False)
    registry.close()


def test_pruning_forgets_old_rounds_and_keeps_heads_numbers_and_what_holds(registry):
    ended, standing = grant(registry, until=20), grant(registry, name="other")
    add_plan(registry, [ended, standing])
    add_plan(registry, [standing], version=2, valid=20)
    for round_number in range(10, 40):
        decide(registry, round_number, 1 if round_number < 20 else 2)
    registry.agents.store_keys("m0", [key("m0", 1), key("m0", 2)])
    registry.prune(30, 2, 1)
    assert (registry.decisions.kept_from(), registry.decisions.decided_through()) == (30, 39)
    assert len(registry.plans.heads()) == 2
    assert not registry.plans.rules(1)
    assert len(registry.plans.rules(2)) == 1
    assert not registry.plans.parts(1, "m0")
    assert registry.plans.parts(2, "m0")
    assert [each.granted.rule.name for each in registry.rules.standing()] == ["other"]
    assert registry.agents.find("m0", 0).key is None
    assert registry.agents.find("m0", 2).key is not None
    assert registry.agents.find("m1", 0).key is not None, "the newest key of an agent stays"
    assert grant(registry).rule.number == 3


def test_a_certificate_replaces_the_countersignatures_it_is_made_of(registry):
    core = decide(registry, 10)
    for point in (1, 2, 3):
        found = registry.decisions.add_countersignature(countersign(IDENTITIES[f"ppn-{point}"], 10, point, core.digest))
    assert registry.decisions.certified_through() == 9
    registry.decisions.set_certificate(
        ReleaseCertificate(
            round=10, digest=core.digest, signatures=tuple((each.point, each.signature) for each in found)
        )
    )
    assert registry.decisions.find(10).certificate is not None
    assert registry.decisions.certified_through() == 10
    assert len(registry.decisions.add_countersignature(found[0])) == 1


def test_a_window_keeps_the_plan_of_its_first_round_and_meters_serve_both_meanwhile(registry):
    before = grant(registry, k=4, from_round=8)
    add_plan(registry, [before], valid=8)
    after = GrantedRule(before.rule.model_copy(update={"points": (2, 3, 4, 5)}), before.cohort)
    history = PlanHistory(registry.plans)
    assert history.lingering(10, [after]) == [before]
    assert history.lingering(12, [after]) == []
    assert history.lingering(10, [before]) == []
    assert history.lingering(10, [after], gone={1}) == [], "nobody answers at point 1: there is nothing to send there"
    built = add_plan(registry, [after], version=2, valid=10, lingering=[before])
    assert '"points":[1,2,3,4,5]' in points_of(built, "m1")
    history = PlanHistory(registry.plans)
    assert set(history.charges_of(history.head_of(10))[1]) == {0, 1, 2}
    (found,) = history.windows_ending(11)
    assert (found.rule.points, found.window.first) == ((1, 2, 3, 4), 8)
    (found,) = history.windows_ending(15)
    assert (found.rule.points, found.window.first) == ((2, 3, 4, 5), 12)
    assert history.windows_ending(10) == []


def test_a_rule_that_was_given_up_releases_the_windows_that_had_begun(registry):
    granted = grant(registry, k=4, from_round=8)
    add_plan(registry, [granted], valid=8)
    ended = GrantedRule(granted.rule.model_copy(update={"until_round": 12}), granted.cohort)
    add_plan(registry, [ended], version=2, valid=10)
    add_plan(registry, [], version=3, valid=12)
    history = PlanHistory(registry.plans)
    assert [each.window.first for each in history.windows_ending(11)] == [8]
    assert history.windows_ending(15) == []
    assert history.lingering(10, []) == [granted]
