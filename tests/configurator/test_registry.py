"""What the configurator remembers: over restarts, over changes of its own form, and no longer than needed."""

from __future__ import annotations

import datetime as dt
import sqlite3

import pytest

from configurator.history import PlanHistory
from configurator.planning import GrantedRule, build_plan
from configurator.registry import _MIGRATIONS, Registry
from hushgrid.control import Certificate, DecisionCore, DecisionPage, RequestRule, Role, countersign
from hushgrid.errors import RefusedError
from hushgrid.plan import EpochKey, Head, Recovery
from hushgrid.sealing import Identity

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
    tokens = found.issue_tokens(list(roles.items()))
    for name, role in roles.items():
        found.enrol(name, role, tokens[name], IDENTITIES[name].public, None, None)
        found.store_keys(name, [key(name)])
    yield found
    found.close()


def grant(registry, name="total", k=1, points=(1, 2, 3, 4), from_round=10, until=None):
    request = RequestRule(name=name, cohort="all", window_rounds=k)
    granted = registry.grant(request, "utility", from_round, 1, frozenset({0, 1, 2}))
    rule = granted.rule.model_copy(update={"points": points, "until_round": until})
    registry.change_rule(rule)
    return GrantedRule(rule, granted.cohort)


def add_plan(registry, rules, version=1, valid=10, lingering=()):
    template = Head.model_construct(
        grid="g", version=version, previous=b"", epoch=0, valid_from_round=valid, interval_seconds=60, threshold=3, width=4,
        modulus=2**61 - 1, slots=1, reading_bound_watt_hours=1000, recovery=Recovery.AGREE, repair_attempts=0, minimum_contributors=1,
        coverage_floor_fraction=0.8, ppns=(), meters=0, parts=0, parts_root=b"",
    )  # fmt: skip
    built = build_plan(template, registry.agents(0), rules, lingering)
    registry.add_plan(built)
    return built


def decide(registry, round_number, version=1):
    core = DecisionCore(round=round_number, version=version, pages=(PAGE.digest,), withheld=(), punctual=(1, 2, 3))
    registry.add_decision(core, b"s" * 64, [PAGE])
    return core


def points_of(built, meter):
    return next(part for part in built.parts if part.recipient == meter).json


def test_a_rule_number_is_never_given_twice_not_even_after_it_was_revoked(registry):
    first = grant(registry)
    registry.revoke(first.rule.number)
    assert grant(registry).rule.number == first.rule.number + 1
    assert [granted.rule.number for granted, _ in registry.rules()] == [first.rule.number + 1]


def test_points_belong_to_one_ppn_for_ever(registry):
    assert [agent.number for agent in registry.agents(None) if agent.role is Role.PPN] == [1, 2, 3, 4, 5]
    token = registry.issue_tokens([("ppn-6", Role.PPN)])["ppn-6"]
    assert registry.enrol("ppn-6", Role.PPN, token, b"i" * 32, None, None) == 6
    with pytest.raises(RefusedError, match="token"):
        registry.enrol("ppn-7", Role.PPN, token, b"j" * 32, None, None)


def test_a_token_is_good_until_its_end_and_nobody_is_expected_after_it(path):
    now = [1000.0]
    registry = Registry(path, lambda: now[0])
    tokens = registry.issue_tokens([("m0", Role.METER), ("m1", Role.METER)], dt.timedelta(hours=1))
    now[0] = 4599.0
    registry.enrol("m0", Role.METER, tokens["m0"], b"i" * 32, None, None)
    assert registry.expected(Role.METER) == {"m1"}
    now[0] = 4600.0
    assert not registry.expected(Role.METER)
    with pytest.raises(RefusedError, match="expired"):
        registry.enrol("m1", Role.METER, tokens["m1"], b"j" * 32, None, None)
    again = registry.issue_tokens([("m1", Role.METER)])
    assert registry.enrol("m1", Role.METER, again["m1"], b"j" * 32, None, None) == 1
    assert registry.enrol("m0", Role.METER, tokens["m0"], b"i" * 32, None, None) == 0, (
        "an answer that was lost is said again"
    )
    assert not registry.expected(Role.METER)
    registry.close()


def test_everything_stands_when_it_is_opened_again(registry, path):
    granted = grant(registry)
    built = add_plan(registry, [granted])
    core = decide(registry, 10)
    again = Registry(path)
    assert [rule for rule, _ in again.rules()] == [granted]
    assert again.heads() == [built.head]
    assert [each.granted for each in again.plan_rules(1)] == [granted]
    assert again.decision(10)[0] == core
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
    (planned,) = registry.plan_rules(1)
    assert (planned.granted.rule.number, planned.granted.cohort, planned.lingers) == (1, {0, 1}, False)
    registry.close()


def test_pruning_forgets_old_rounds_and_keeps_heads_numbers_and_what_holds(registry):
    ended, standing = grant(registry, until=20), grant(registry, name="other")
    add_plan(registry, [ended, standing])
    add_plan(registry, [standing], version=2, valid=20)
    for round_number in range(10, 40):
        decide(registry, round_number, 1 if round_number < 20 else 2)
    registry.store_keys("m0", [key("m0", 1), key("m0", 2)])
    registry.prune(30, 2, 1)
    assert (registry.kept_from(), registry.decided_through()) == (30, 39)
    assert len(registry.heads()) == 2
    assert not registry.plan_rules(1)
    assert len(registry.plan_rules(2)) == 1
    assert not registry.parts(1, "m0")
    assert registry.parts(2, "m0")
    assert [granted.rule.name for granted, _ in registry.rules()] == ["other"]
    assert registry.agent("m0", 0).key is None
    assert registry.agent("m0", 2).key is not None
    assert registry.agent("m1", 0).key is not None, "the newest key of an agent stays"
    assert grant(registry).rule.number == 3


def test_a_certificate_replaces_the_countersignatures_it_is_made_of(registry):
    core = decide(registry, 10)
    for point in (1, 2, 3):
        found = registry.add_countersignature(countersign(IDENTITIES[f"ppn-{point}"], 10, point, core.digest))
    assert registry.certified_through() == 9
    registry.set_certificate(
        Certificate(round=10, digest=core.digest, signatures=tuple((each.point, each.signature) for each in found))
    )
    assert registry.decision(10)[3] is not None
    assert registry.certified_through() == 10
    assert len(registry.add_countersignature(found[0])) == 1


def test_a_window_keeps_the_plan_of_its_first_round_and_meters_serve_both_meanwhile(registry):
    before = grant(registry, k=4, from_round=8)
    add_plan(registry, [before], valid=8)
    after = GrantedRule(before.rule.model_copy(update={"points": (2, 3, 4, 5)}), before.cohort)
    history = PlanHistory(registry)
    assert history.lingering(10, [after]) == [before]
    assert history.lingering(12, [after]) == []
    assert history.lingering(10, [before]) == []
    assert history.lingering(10, [after], gone={1}) == [], "nobody answers at point 1: there is nothing to send there"
    built = add_plan(registry, [after], version=2, valid=10, lingering=[before])
    assert '"points":[1,2,3,4,5]' in points_of(built, "m1")
    history = PlanHistory(registry)
    assert set(history.charges_of(history.head_of(10))[1]) == {0, 1, 2}
    ((rule, _, window),) = history.windows_ending(11)
    assert (rule.points, window.first) == ((1, 2, 3, 4), 8)
    ((rule, _, window),) = history.windows_ending(15)
    assert (rule.points, window.first) == ((2, 3, 4, 5), 12)
    assert history.windows_ending(10) == []


def test_a_rule_that_was_given_up_releases_the_windows_that_had_begun(registry):
    granted = grant(registry, k=4, from_round=8)
    add_plan(registry, [granted], valid=8)
    ended = GrantedRule(granted.rule.model_copy(update={"until_round": 12}), granted.cohort)
    add_plan(registry, [ended], version=2, valid=10)
    add_plan(registry, [], version=3, valid=12)
    history = PlanHistory(registry)
    assert [window.first for _, _, window in history.windows_ending(11)] == [8]
    assert history.windows_ending(15) == []
    assert history.lingering(10, []) == [granted]
