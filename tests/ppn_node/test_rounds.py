"""One PPN's rounds, played by hand: from shares to one release, across restarts, with a configurator that changes its mind."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from configurator.plans.building import build_plan
from configurator.rounds.contributors import Roster, contributors, decision_core
from configurator.values import GrantedRule, Registered
from consumer_node.shares.collection import Outcome, conclude
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.field import MODULI
from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Agreement, Identity, Kind, SealingKey
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.digest_tree import check_path, leaf
from hushgrid.plan.head import EpochKey, Head
from hushgrid.plan.parts import ConsumerPart, MeterPart, PlainPart, Rule, part_from_json
from hushgrid.statements.rounds import DecisionMessage, ReleaseCertificate, countersign
from hushgrid.wire.aggregates import AggregateFrame, AggregateStatus, AggregateText, aggregate_context
from hushgrid.wire.role import Role
from meter_agent.shares.sharing import derive_keys, seal_statement
from ppn_node.intake import Admission
from ppn_node.rounds import Rounds
from ppn_node.shares.admission import open_share
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.here import Here
from ppn_node.shares.journal import Journal
from ppn_node.shares.partition import Ask
from ppn_node.shares.store import ShareStore
from ppn_node.shares.values import RoundState
from ppn_node.shares.worker import Worker
from ppn_node.shares.workers import Workers

METERS, GRID = 5, "g"
CONFIGURATOR = Identity.generate()


class InProcess:
    """A link to a worker that is no process: what is said is the same, and answered at once."""

    def __init__(self, path: Path) -> None:
        self.worker = Worker(Journal(path))

    def ask(self, ask: Ask, wire: bytes, done) -> None:
        done(self.worker.answer(ask, wire))

    def finish(self, unanswered: int = 0) -> None:
        """Nothing is ever open."""


class InProcessWorkers(Workers):
    """The workers of one PPN, without processes of their own (those: test_workers.py)."""

    def __init__(self, directory: Path, count: int) -> None:
        directory.mkdir(exist_ok=True)
        self._plans, self._opener = {}, {}
        self._links = [InProcess(directory / f"journal-worker-{n}.sqlite") for n in range(count)]


class Plan:
    """A whole plan with everybody's keys at hand. divided: where PPNs with workers have their journals, None without."""

    divided: Path | None = None

    def __init__(
        self, recovery: Recovery = Recovery.AGREE, windows: tuple[int, ...] = (1, 2), threshold: int = 3
    ) -> None:
        roles = [(f"ppn-{n}", Role.PPN, n) for n in range(1, 5)] + [("c", Role.CONSUMER, 1), ("fleet", Role.CARRIER, 1)]
        roles += [(f"m{n}", Role.METER, n) for n in range(METERS)]
        self.identities = {name: Identity.generate() for name, _, _ in roles}
        self.agreements = {name: Agreement.generate() for name, _, _ in roles}
        agents = [
            Registered(
                name, role, number, self.identities[name].public, f"o-{name}", "fleet" if role is Role.METER else None,
                EpochKey.sign(self.identities[name], GRID, 0, self.agreements[name].public),
            )
            for name, role, number in roles
        ]  # fmt: skip
        rules = [
            GrantedRule(
                Rule(
                    number=i,
                    name=f"r{i}",
                    consumer="c",
                    window_rounds=k,
                    minimum_contributors=2,
                    points=(1, 2, 3, 4),
                    from_round=10,
                ),
                frozenset(range(METERS)),
            )
            for i, k in enumerate(windows, start=1)
        ]
        template = Head.model_construct(
            grid=GRID, version=1, previous=b"", epoch=0, valid_from_round=10, interval_seconds=1800, threshold=threshold, width=4,
            modulus=MODULI[0], slots=1, reading_bound_watt_hours=1000, recovery=recovery, minimum_contributors=2,
            coverage_floor_fraction=0.0,
            repair_attempts=3 if recovery is Recovery.REPAIR else 0, ppns=(), meters=0, parts=0, parts_root=b"",
        )  # fmt: skip
        self.built = build_plan(template, agents, rules)
        self.head, self.rules = self.built.head, [granted.rule for granted in rules]

    def assignment(self, ppn: str) -> Assignment:
        parts = tuple(part_from_json(p.json.encode()) for p in self.built.parts if p.recipient == ppn)
        found = Assignment.of(self.head, ppn, parts)
        assert found is not None
        return found

    def key(self, ppn: str, peer: str, kind: Kind) -> SealingKey:
        own, other = self.agreements[ppn], self.agreements[peer]
        sender, recipient = (other, own) if kind is Kind.SHARE else (own, other)
        return SealingKey.derive(
            own, other.public, kind=kind, grid=GRID, epoch=0, sender=sender.public, recipient=recipient.public
        )

    def store(self, ppn: str, journal: Journal) -> ShareStore:
        if self.divided is None:
            return Here(
                journal,
                plan_of=lambda _version: self.assignment(ppn),
                key_of=lambda _plan, number: self.key(ppn, f"m{number}", Kind.SHARE),
            )
        workers = InProcessWorkers(self.divided / ppn, 2)
        parts = [part_from_json(p.json.encode()) for p in self.built.parts if p.recipient == ppn]
        workers.adopt(self.assignment(ppn), parts, self.agreements[ppn])
        return workers

    def rounds(self, ppn: str, journal: Journal) -> Rounds:
        assignment = self.assignment(ppn)
        return Rounds(
            journal,
            self.store(ppn, journal),
            self.identities[ppn],
            CONFIGURATOR.public,
            assignment_of=lambda r: assignment if r >= 10 else None,
            consumer_key=lambda _plan, consumer: self.key(ppn, consumer.id, Kind.AGGREGATE),
        )

    def shares(self, round_number: int, readings: dict[int, int | None]) -> dict[str, list]:
        """Every meter states its round; what arrives, admitted, by PPN."""
        found: dict[str, list] = {f"ppn-{n}": [] for n in range(1, 5)}
        for number, watt_hours in readings.items():
            keys = derive_keys(self.agreements[f"m{number}"], self.head, (1, 2, 3, 4), GRID)
            sealed = seal_statement(
                None if watt_hours is None else (watt_hours,),
                number=number, round_number=round_number, head=self.head, plan_digest=self.head.digest, keys=keys,
            )  # fmt: skip
            for point, share in sealed.items():
                ppn = f"ppn-{point}"
                assignment = self.assignment(ppn)
                found[ppn].append(
                    open_share(
                        number, share, round_number, assignment, lambda n, ppn=ppn: self.key(ppn, f"m{n}", Kind.SHARE)
                    ).stored(1)
                )
        return found

    def decide(
        self, round_number: int, everybody: dict[str, Rounds], included: set[int] | None = None
    ) -> DecisionMessage:
        charges = {ppn.point: Bitmap.full(METERS) for ppn in self.head.ppns}
        points = {ppn.id: ppn.point for ppn in self.head.ppns}
        rosters = {points[name]: Roster.of(rounds.roster(round_number), METERS) for name, rounds in everybody.items()}
        coverage = contributors(self.head, charges, rosters)
        if included is not None:
            coverage = type(coverage)(Bitmap.of(METERS, included), coverage.gaps, coverage.inconsistent)
        pages = coverage.to_pages()
        core = decision_core(self.head, round_number, pages, (), list(rosters))
        return DecisionMessage(
            core=core, signature=CONFIGURATOR.sign("decision", core.to_json()), index=0, page=pages[0]
        )

    def certificate(self, message: DecisionMessage, ppns: tuple[str, ...]) -> ReleaseCertificate:
        points = {ppn.id: ppn.point for ppn in self.head.ppns}
        signatures = tuple(
            (points[p], countersign(self.identities[p], message.core.round, points[p], message.core.digest).signature)
            for p in ppns
        )
        return ReleaseCertificate(round=message.core.round, digest=message.core.digest, signatures=signatures)

    def read(self, release) -> tuple[int, AggregateText]:
        frame = AggregateFrame.from_bytes(release.frame)
        key = self.key(f"ppn-{frame.point}", "c", Kind.AGGREGATE)
        context = aggregate_context(self.head.digest, frame.rule, frame.first_round, frame.window_rounds, frame.point)
        plain = key.unseal(frame.sealed, context, stream=frame.rule, round_number=frame.first_round)
        return frame.point, AggregateText.from_bytes(plain, 1, self.head.field)


@pytest.fixture(params=["one process", "workers"], autouse=True)
def _divided(request, tmp_path, monkeypatch) -> None:
    """Every test twice: nothing may depend on who opens, keeps and adds the shares."""
    if request.param == "workers":
        monkeypatch.setattr(Plan, "divided", tmp_path)


@pytest.fixture
def plan() -> Plan:
    return Plan()


@pytest.fixture
def everybody(plan, tmp_path) -> dict[str, Rounds]:
    return {f"ppn-{n}": plan.rounds(f"ppn-{n}", Journal(tmp_path / f"{n}.sqlite")) for n in range(1, 5)}


def on_disk(rounds, round_number):
    journals = [rounds._journal]
    if isinstance(rounds._store, Workers):
        journals += [link.worker._journal for link in rounds._store._links]
    return [share for journal in journals for share in journal.shares(round_number)]


ALL = tuple(f"ppn-{n}" for n in range(1, 5))


def play_round(plan, everybody, round_number, readings, lost=()):
    """Shares in, freeze, decide, countersign, certify; what each PPN releases."""
    arriving = plan.shares(round_number, readings)
    for name, rounds in everybody.items():
        rounds.keep([s for s in arriving[name] if (name, s.number) not in lost])
        rounds.freeze(round_number)
    message = plan.decide(round_number, everybody)
    for rounds in everybody.values():
        assert rounds.hear_decision(message) is not None
    releases = []
    for rounds in everybody.values():
        assert rounds.hear_certificate(plan.certificate(message, ALL[:3]))
        releases += rounds.release_around(round_number)
    return releases


def results(plan, releases):
    by_window: dict[tuple[int, int], dict[int, AggregateText]] = {}
    for release in releases:
        point, text = plan.read(release)
        by_window.setdefault((release.rule, release.first_round), {})[point] = text
    rules = {rule.number: rule for rule in plan.rules}
    return {
        key: conclude(plan.head, rules[key[0]], Window(key[1], rules[key[0]].window_rounds), texts, waited=False)
        for key, texts in by_window.items()
    }


def test_signed_readings_and_gaps_of_two_rounds_become_exact_sums(plan, everybody):
    first = play_round(plan, everybody, 10, {0: 5, 1: -700, 2: 1000, 3: 0, 4: None})
    second = play_round(plan, everybody, 11, {0: 1, 1: 2, 2: 3, 3: 4, 4: 5})
    found = results(plan, first + second)
    assert found[1, 10].watt_hours == 305
    assert (found[1, 10].included, found[1, 10].expected, found[1, 10].gaps) == (4, 5, 1)
    assert found[1, 11].watt_hours == 15
    assert found[2, 10].watt_hours == 320
    assert set(found) == {(1, 10), (1, 11), (2, 10)}


def test_one_lost_share_leaves_that_reading_out_everywhere(plan, everybody):
    releases = play_round(plan, everybody, 10, {n: 2**n for n in range(METERS)}, lost={("ppn-2", 3)})
    found = results(plan, releases)[1, 10]
    assert found.watt_hours == 0b10111
    assert (found.included, found.lost) == (4, 1)


@pytest.mark.parametrize("alike", [0, 4, 7])
def test_a_meter_whose_sharing_ids_differ_in_any_byte_is_left_out_and_the_others_are_released(plan, everybody, alike):
    honest = plan.shares

    def shares(round_number, readings):
        arriving = honest(round_number, readings)
        for name, found in arriving.items():
            tail = name[-1].encode() * (8 - alike)
            arriving[name] = [replace(s, sharing_id=bytes(alike) + tail) if s.number == 0 else s for s in found]
        return arriving

    plan.shares = shares
    found = results(plan, play_round(plan, everybody, 10, {n: 2**n for n in range(METERS)}))[1, 10]
    assert (found.outcome, found.watt_hours) == (Outcome.RELEASED, 0b11110)
    assert (found.included, found.inconsistent) == (4, 1)


def test_without_recovery_a_lost_share_makes_that_ppn_unusable(tmp_path):
    plan = Plan(Recovery.NONE)
    everybody = {f"ppn-{n}": plan.rounds(f"ppn-{n}", Journal(tmp_path / f"{n}.sqlite")) for n in range(1, 5)}
    releases = play_round(plan, everybody, 10, {n: 2**n for n in range(METERS)}, lost={("ppn-2", 3)})
    assert dict(map(plan.read, releases))[2].status is AggregateStatus.UNUSABLE
    assert results(plan, releases)[1, 10].watt_hours == 0b11111
    releases = play_round(plan, everybody, 11, {n: 2**n for n in range(METERS)}, lost={("ppn-2", 3), ("ppn-1", 0)})
    found = results(plan, [r for r in releases if r.rule == 1])[1, 11]
    assert (found.outcome, found.watt_hours) == (Outcome.UNRECOVERED, None)


def test_the_same_shares_again_change_nothing_and_another_sharing_is_refused(plan, everybody):
    arriving = plan.shares(10, dict.fromkeys(range(METERS), 1))
    other = plan.shares(10, dict.fromkeys(range(METERS), 1))
    rounds = everybody["ppn-1"]
    rounds.keep(arriving["ppn-1"])
    rounds.keep(arriving["ppn-1"])
    assert len(rounds.held(10)) == METERS
    assert all(rounds.admission(share) is Admission.KNOWN for share in arriving["ppn-1"])
    assert rounds.admission(other["ppn-1"][0]) is Admission.CONFLICTING


def test_a_second_decision_is_never_countersigned(plan, everybody):
    arriving = plan.shares(10, dict.fromkeys(range(METERS), 1))
    for name, rounds in everybody.items():
        rounds.keep(arriving[name])
        rounds.freeze(10)
    first, second = plan.decide(10, everybody), plan.decide(10, everybody, included={0, 1, 2})
    rounds = everybody["ppn-1"]
    given = rounds.hear_decision(first)
    assert given == rounds.hear_decision(first)
    for bad in (second, first.model_copy(update={"signature": bytes(64)})):
        with pytest.raises(MessageError):
            rounds.hear_decision(bad)
    with pytest.raises(MessageError):
        rounds.hear_certificate(plan.certificate(second, ALL))


def test_a_decision_over_shares_that_a_punctual_ppn_lacks_is_not_countersigned(plan, everybody):
    arriving = plan.shares(10, dict.fromkeys(range(METERS), 1))
    for name, rounds in everybody.items():
        rounds.keep([s for s in arriving[name] if (name, s.number) != ("ppn-1", 4)])
        rounds.freeze(10)
    forged = plan.decide(10, everybody, included=set(range(METERS)))
    with pytest.raises(MessageError) as refusal:
        everybody["ppn-1"].hear_decision(forged)
    assert refusal.value.reason is RejectReason.CONFLICTING


@pytest.mark.parametrize("count", [1, 2])
def test_half_of_the_ppns_are_not_enough_to_release(plan, everybody, count):
    arriving = plan.shares(10, dict.fromkeys(range(METERS), 1))
    for name, rounds in everybody.items():
        rounds.keep(arriving[name])
        rounds.freeze(10)
    message = plan.decide(10, everybody)
    rounds = everybody["ppn-1"]
    rounds.hear_decision(message)
    with pytest.raises(MessageError) as refusal:
        rounds.hear_certificate(plan.certificate(message, ALL[:count]))
    assert refusal.value.reason is RejectReason.BELOW_FLOOR
    assert not rounds.release_around(10)


def test_no_quorum_of_two_decisions_can_exist_at_once():
    """More than half twice overlap in a PPN, and a PPN countersigns one decision per round: for every number of PPNs."""
    for ppns in range(1, 9):
        quorum = ppns // 2 + 1
        for one in itertools.combinations(range(ppns), quorum):
            assert all(set(one) & set(other) for other in itertools.combinations(range(ppns), quorum))


def test_a_restart_at_any_step_goes_on_where_it_was_and_releases_once(plan, tmp_path):
    names = list(ALL)
    paths = {name: tmp_path / f"{name}.sqlite" for name in names}

    def restart():
        return {name: plan.rounds(name, Journal(paths[name])) for name in names}

    everybody = restart()
    arriving = plan.shares(10, {n: 2**n for n in range(METERS)})
    for name, rounds in everybody.items():
        rounds.keep(arriving[name])
    everybody = restart()
    for rounds in everybody.values():
        assert len(rounds.held(10)) == METERS
        rounds.freeze(10)
    everybody = restart()
    message = plan.decide(10, everybody)
    signatures = {name: rounds.hear_decision(message) for name, rounds in everybody.items()}
    everybody = restart()
    assert {name: rounds.hear_decision(message) for name, rounds in everybody.items()} == signatures
    for rounds in everybody.values():
        rounds.hear_certificate(plan.certificate(message, ALL))
    everybody = restart()  # killed between the certificate and the release
    releases = [
        release for rounds in everybody.values() for r in rounds.certified() for release in rounds.release_around(r)
    ]
    assert results(plan, releases)[1, 10].watt_hours == 0b11111
    again = restart()
    assert not [
        release for rounds in again.values() for r in rounds.certified() for release in rounds.release_around(r)
    ]
    kept = [release for rounds in again.values() for release in rounds._journal.outstanding()]
    assert sorted(release.frame for release in kept) == sorted(release.frame for release in releases)


def test_shares_are_erased_when_no_window_needs_them(plan, everybody, tmp_path):
    play_round(plan, everybody, 10, dict.fromkeys(range(METERS), 1))
    rounds = everybody["ppn-1"]
    assert rounds.floor == 0  # the window of two rounds still needs round 10
    assert on_disk(rounds, 10)
    play_round(plan, everybody, 11, dict.fromkeys(range(METERS), 1))
    assert rounds.floor == 12
    assert not on_disk(rounds, 10)
    assert rounds.state(10) is RoundState.RELEASED
    del tmp_path


def test_rounds_that_are_over_everywhere_are_let_go_of_for_ever(plan, everybody, tmp_path):
    play_round(plan, everybody, 10, dict.fromkeys(range(METERS), 1))
    rounds = everybody["ppn-1"]
    assert rounds.forget(14)
    assert (rounds.floor, rounds.waiting(), rounds._journal.share_rounds()) == (15, [], [])
    assert rounds.state(14) is RoundState.RELEASED
    assert not rounds.forget(14)
    assert not rounds.forget(12)
    assert rounds._journal.floor() == 15
    del tmp_path


def test_shares_are_taken_late_only_for_included_meters_and_only_until_the_round_is_settled(tmp_path):
    plan = Plan(Recovery.REPAIR)
    everybody = {f"ppn-{n}": plan.rounds(f"ppn-{n}", Journal(tmp_path / f"{n}.sqlite")) for n in range(1, 5)}
    arriving = plan.shares(10, {n: 2**n for n in range(METERS)})
    away = everybody.pop("ppn-4")
    for name, rounds in everybody.items():
        rounds.keep([s for s in arriving[name] if (name, s.number) != ("ppn-2", 3)])
        assert rounds.takes(10, 3) is Admission.TAKEN
        assert rounds.lacks(10) is (name == "ppn-2")
        rounds.freeze(10)
        assert rounds.takes(10, 3) is Admission.NOT_YET  # not decided: no word about it yet
    message = plan.decide(10, everybody)
    releases = []
    certificate = plan.certificate(message, ("ppn-1", "ppn-2", "ppn-3"))
    for rounds in everybody.values():
        rounds.hear_decision(message)
        assert rounds.takes(10, 3) is Admission.CLOSED
        assert not rounds.lacks(10)
        rounds.hear_certificate(certificate)
        releases += [r for r in rounds.release_around(10) if r.rule == 1]
    away.freeze(10)
    away.roster(10)
    away.hear_decision(message)
    away.hear_certificate(certificate)
    assert away.wanted(10) == {plan.identities["fleet"].pseudonym(GRID, 0): [0, 1, 2, 4]}
    assert not away.release_around(10)  # it waits for what it can still fetch
    away.keep([s for s in arriving["ppn-4"] if s.number != 3])
    assert not away.lacks(10)
    releases += [r for r in away.release_around(10) if r.rule == 1]
    found = results(plan, releases)[1, 10]
    assert (found.watt_hours, found.included, found.points) == (0b10111, 4, (1, 2, 3, 4))


def test_a_ppn_that_gives_up_fetching_says_unusable_and_the_others_release(tmp_path):
    plan = Plan(Recovery.REPAIR, windows=(1,))
    everybody = {f"ppn-{n}": plan.rounds(f"ppn-{n}", Journal(tmp_path / f"{n}.sqlite")) for n in range(1, 5)}
    arriving = plan.shares(10, {n: 2**n for n in range(METERS)})
    away = everybody.pop("ppn-4")
    for name, rounds in everybody.items():
        rounds.keep(arriving[name])
        rounds.freeze(10)
    message = plan.decide(10, everybody)
    releases = []
    for rounds in (*everybody.values(), away):
        rounds.freeze(10)
        rounds.roster(10)
        rounds.hear_decision(message)
        rounds.hear_certificate(plan.certificate(message, ("ppn-1", "ppn-2", "ppn-3")))
        if rounds is away:
            rounds.settle(10)
        releases += rounds.release_around(10)
    found = results(plan, releases)[1, 10]
    assert (found.watt_hours, found.points) == (0b11111, (1, 2, 3))
    assert not away.lacks(10)  # forgotten: nothing is missing there any more


def test_repaired_shares_are_counted_in_the_aggregate(tmp_path):
    plan = Plan(Recovery.REPAIR, windows=(1,))
    everybody = {f"ppn-{n}": plan.rounds(f"ppn-{n}", Journal(tmp_path / f"{n}.sqlite")) for n in range(1, 5)}
    arriving = plan.shares(10, {n: 2**n for n in range(METERS)})
    for name in ("ppn-1", "ppn-3"):
        arriving[name] = [replace(s, attempt=int(s.number < 2)) for s in arriving[name]]
    for name, rounds in everybody.items():
        rounds.keep(arriving[name])
        rounds.freeze(10)
    message = plan.decide(10, everybody)
    releases = []
    for rounds in everybody.values():
        rounds.hear_decision(message)
        rounds.hear_certificate(plan.certificate(message, ("ppn-1", "ppn-2", "ppn-3")))
        releases += rounds.release_around(10)
    assert results(plan, releases)[1, 10].repaired == 4


def test_a_liar_among_more_than_t_points_is_noticed(plan, everybody):
    releases = play_round(plan, everybody, 10, {n: 2**n for n in range(METERS)})
    texts = dict(map(plan.read, [r for r in releases if r.rule == 1]))
    liar = texts[2]
    changed = {name: getattr(liar, name) for name in AggregateText.__slots__} | {"elements": (liar.elements[0] ^ 1,)}
    found = conclude(plan.head, plan.rules[0], Window(10, 1), texts | {2: AggregateText(**changed)}, waited=False)
    assert (found.outcome, found.watt_hours) == (Outcome.UNRECOVERED, None)
    assert "one polynomial" in found.reason


def test_a_consumer_waits_for_everybody_or_for_its_patience(plan, everybody):
    releases = play_round(plan, everybody, 10, {n: 2**n for n in range(METERS)})
    texts = dict(map(plan.read, [r for r in releases if r.rule == 1]))
    three = {point: texts[point] for point in (1, 2, 3)}
    assert conclude(plan.head, plan.rules[0], Window(10, 1), three, waited=False) is None
    assert conclude(plan.head, plan.rules[0], Window(10, 1), three, waited=True).watt_hours == 0b11111
    two = {point: texts[point] for point in (1, 2)}
    assert conclude(plan.head, plan.rules[0], Window(10, 1), two, waited=True) is None


def test_every_part_is_under_the_root_and_nobody_sees_a_meters_name(plan):
    for index, part in enumerate(plan.built.parts):
        check_path(
            plan.head.parts_root,
            leaf(part.recipient, part.page, part.json.encode()),
            index,
            plan.built.tree.path(index),
        )
        parsed = part_from_json(part.json.encode())
        if not isinstance(parsed, MeterPart | PlainPart | ConsumerPart):
            assert not any(f'"m{n}"' in part.json for n in range(METERS))
