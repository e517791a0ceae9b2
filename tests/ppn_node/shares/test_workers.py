"""Workers as processes: what they kept outlives kill -9, what they had in hand gets no answer, and one that cannot live is said."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from configurator.plans.building import build_plan
from configurator.values import GrantedRule, Registered
from hushgrid.core.field import MODULI
from hushgrid.core.recovery import Recovery
from hushgrid.core.sealing import Agreement, Identity
from hushgrid.core.shamir import interpolate
from hushgrid.errors import JournalError, RejectReason
from hushgrid.plan.head import EpochKey, Head
from hushgrid.plan.parts import Part, Rule, part_from_json
from hushgrid.wire.role import Role
from hushgrid.wire.shares import Envelope
from meter_agent.shares.sharing import derive_keys, seal_statement
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.partition import worker_of
from ppn_node.shares.values import HeldShare, OpenedShare, StoredShare
from ppn_node.shares.workers import Workers

METERS, GRID, ROUND = 12, "g", 10
POINTS = (1, 2, 3)


class Plan:
    """Twelve meters, three PPNs, any two of which give the sum."""

    def __init__(self) -> None:
        roles = [(f"ppn-{n}", Role.PPN, n) for n in POINTS] + [("c", Role.CONSUMER, 1), ("fleet", Role.CARRIER, 1)]
        roles += [(f"m{n}", Role.METER, n) for n in range(METERS)]
        identities = {name: Identity.generate() for name, _, _ in roles}
        self.agreements = {name: Agreement.generate() for name, _, _ in roles}
        agents = [
            Registered(
                name, role, number, identities[name].public, f"o-{name}", "fleet" if role is Role.METER else None,
                EpochKey.sign(identities[name], GRID, 0, self.agreements[name].public),
            )
            for name, role, number in roles
        ]  # fmt: skip
        rule = Rule(
            number=1, name="r", consumer="c", window_rounds=1, minimum_contributors=2, points=POINTS, from_round=ROUND
        )
        template = Head.model_construct(
            grid=GRID, version=1, previous=b"", epoch=0, valid_from_round=ROUND, interval_seconds=1800, threshold=2,
            width=3, modulus=MODULI[0], slots=1, reading_bound_watt_hours=1000, recovery=Recovery.AGREE,
            minimum_contributors=2, coverage_floor_fraction=0.0, repair_attempts=0, ppns=(), meters=0, parts=0,
            parts_root=b"",
        )  # fmt: skip
        self.built = build_plan(template, agents, [GrantedRule(rule, frozenset(range(METERS)))])
        self.head = self.built.head

    def tell(self, workers: Workers, point: int) -> Workers:
        ppn = f"ppn-{point}"
        workers.adopt(self.assignment(ppn), self.parts(ppn), self.agreements[ppn])
        return workers

    def parts(self, ppn: str) -> tuple[Part, ...]:
        return tuple(part_from_json(p.json.encode()) for p in self.built.parts if p.recipient == ppn)

    def assignment(self, ppn: str) -> Assignment:
        found = Assignment.of(self.head, ppn, self.parts(ppn))
        assert found is not None
        return found

    def sealed(self, readings: dict[int, int]) -> dict[int, dict[int, tuple[int, bytes]]]:
        """point -> position -> meter's number and sealed share."""
        found: dict[int, dict[int, tuple[int, bytes]]] = {point: {} for point in POINTS}
        for number, watt_hours in readings.items():
            keys = derive_keys(self.agreements[f"m{number}"], self.head, POINTS, GRID)
            statement = seal_statement(
                (watt_hours,),
                number=number,
                round_number=ROUND,
                head=self.head,
                plan_digest=self.head.digest,
                keys=keys,
            )
            for point, share in statement.items():
                found[point][number] = number, share
        return found


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan()


class Pool(dict[int, Workers]):
    """The workers of every PPN, started when they are first asked for."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        super().__init__()
        self._plan, self._directory = plan, directory

    def __missing__(self, point: int) -> Workers:
        self[point] = self._plan.tell(Workers(self._directory / str(point), 2), point)
        return self[point]


@pytest.fixture
def workers(plan: Plan, tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(plan, tmp_path)
    yield pool
    pids = [pid for each in pool.values() for pid in each.pids]
    for each in pool.values():
        each.close()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def opened(plan: Plan, workers: Workers, shares: dict[int, tuple[int, bytes]]) -> dict[int, OpenedShare]:
    found: dict[int, OpenedShare] = {}
    send(plan, workers, shares, found.update)
    workers.drain()
    return found


def send(
    plan: Plan, workers: Workers, shares: dict[int, tuple[int, bytes]], done: Callable[[dict[int, OpenedShare]], None]
) -> None:
    """Two carriers with half of the meters each, and another worker each."""
    for carrier, rest in (("fleet-4", 0), ("fleet-3", 1)):
        half = {position: share for position, share in shares.items() if share[0] % 2 == rest}
        envelope = Envelope(1, ROUND, 1, 0, METERS, 0, half)
        workers.open(plan.assignment("ppn-1"), carrier, envelope, envelope.to_bytes(), done)


def keep(plan: Plan, workers: Workers, shares: dict[int, tuple[int, bytes]]) -> None:
    stored = [
        StoredShare(ROUND, shares[position][0], outcome.sharing_id, outcome.gap, 1, shares[position][1])
        for position, outcome in opened(plan, workers, shares).items()
    ]
    workers.keep(stored)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=0)


@pytest.mark.system
def test_sums_are_exact_whoever_is_killed_between_keeping_and_adding(plan, workers):
    readings = {number: 3**number % 1000 - 300 for number in range(METERS)}
    sealed = plan.sealed(readings)
    sums = {}
    for point in (1, 3):
        keep(plan, workers[point], sealed[point])
        kill(workers[point].pids[point // 2])
        found = workers[point].sums(1, {ROUND: list(range(METERS))}, plan.head.field)
        assert found is not None
        sums[point] = found[0]
    assert interpolate(sums, plan.head.field) == sum(readings.values()) % plan.head.modulus


@pytest.mark.system
def test_what_was_kept_is_held_after_all_workers_were_killed_and_the_ppn_with_them(plan, workers, tmp_path):
    sealed = plan.sealed(dict.fromkeys(range(METERS), 7))[1]
    keep(plan, workers[1], sealed)
    before = workers[1].held(ROUND)
    assert before == {n: HeldShare(o.sharing_id, gap=False) for n, o in opened(plan, workers[1], sealed).items()}
    for pid in workers[1].pids:
        kill(pid)
    assert workers[1].held(ROUND) == before
    whole = workers[1].sums(1, {ROUND: list(range(METERS))}, plan.head.field)
    workers[1].close()
    later = plan.tell(Workers(tmp_path / "1", 3), 1)  # another number of workers: shares stay where they are
    assert later.held(ROUND) == before
    assert later.sums(1, {ROUND: list(range(METERS))}, plan.head.field) == whole
    later.close()
    fewer = plan.tell(Workers(tmp_path / "1", 1), 1)
    assert len(fewer.pids) == 3
    assert fewer.sums(1, {ROUND: list(range(METERS))}, plan.head.field) == whole
    workers[1] = fewer


def test_shares_in_a_killed_workers_hand_get_no_answer_and_the_other_workers_ones_do(plan, workers):
    sealed = plan.sealed(dict.fromkeys(range(METERS), 7))[1]
    held = workers[1].pids[0]
    os.kill(held, signal.SIGSTOP)
    found: list[dict[int, OpenedShare]] = []
    send(plan, workers[1], sealed, found.append)
    os.kill(held, signal.SIGKILL)
    workers[1].drain()
    assert sorted(sorted(each) for each in found) == [[], [n for n in range(METERS) if n % 2 == 1]]
    assert len(opened(plan, workers[1], sealed)) == METERS


def test_two_carriers_are_with_two_workers():
    assert {worker_of(carrier, 2) for carrier in ("fleet-4", "fleet-3")} == {0, 1}
    assert worker_of("fleet-4", 2) == 0


def test_what_a_worker_opened_and_lost_in_a_kill_is_kept_all_the_same(plan, workers):
    sealed = plan.sealed(dict.fromkeys(range(METERS), 7))[1]
    stored = [
        StoredShare(ROUND, sealed[position][0], outcome.sharing_id, outcome.gap, 1, sealed[position][1])
        for position, outcome in opened(plan, workers[1], sealed).items()
    ]
    kill(workers[1].pids[0])
    workers[1].keep(stored)
    assert len(workers[1].held(ROUND)) == METERS
    assert workers[1].sums(1, {ROUND: list(range(METERS))}, plan.head.field) is not None


def test_asking_to_keep_again_what_lies_there_changes_nothing(plan, workers):
    sealed = plan.sealed(dict.fromkeys(range(METERS), 7))[1]
    keep(plan, workers[1], sealed)
    keep(plan, workers[1], sealed)
    assert len(workers[1].held(ROUND)) == METERS
    assert workers[1].sums(1, {ROUND: [0, 1, 2]}, plan.head.field) is not None
    assert workers[1].sums(1, {ROUND: [0, 1, METERS]}, plan.head.field) is None


def test_a_share_that_was_changed_on_its_way_is_refused_alone(plan, workers):
    sealed = plan.sealed(dict.fromkeys(range(METERS), 7))[1]
    number, share = sealed[5]
    sealed[5] = number, bytes([share[0] ^ 1]) + share[1:]
    found = opened(plan, workers[1], sealed)
    assert found[5].refused is RejectReason.BAD_SEAL
    assert [position for position, outcome in found.items() if outcome.refused] == [5]


def test_forgotten_rounds_are_erased_and_keys_of_ended_epochs_open_nothing(plan, workers):
    keep(plan, workers[1], plan.sealed(dict.fromkeys(range(METERS), 7))[1])
    workers[1].forget(ROUND + 1)
    assert workers[1].held(ROUND) == {}
    workers[1].erase(0)
    for pid in workers[1].pids:  # the next incarnation is not told them either
        kill(pid)
    assert workers[1].held(ROUND) == {}
    assert not workers[1]._plans


async def test_answers_are_taken_in_by_the_event_loop(plan, workers):
    workers[1].attach()
    found: asyncio.Queue[dict[int, OpenedShare]] = asyncio.Queue()
    send(plan, workers[1], plan.sealed(dict.fromkeys(range(METERS), 7))[1], found.put_nowait)
    assert sorted([len(await asyncio.wait_for(found.get(), 300)), len(await found.get())]) == [METERS // 2] * 2


def test_a_worker_that_cannot_live_is_said_and_not_started_for_ever(tmp_path):
    (tmp_path / "journal-worker-1.sqlite").write_bytes(b"no database" * 100)
    broken = Workers(tmp_path, 1)
    with pytest.raises(JournalError, match=r"worker journal-worker-1 ends whenever it is started"):
        broken.held(ROUND)
