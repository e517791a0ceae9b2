"""Random histories of a whole grid under faults: no invariant is ever broken, and every mutant of the system breaks one.

`pytest tests/simulation -m system` plays the part that the commit draws, `--long` all of them, `--long --histories 100000` as many as
you like.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.simulation.grid import grid_of
from support.simulation.histories import FAULTY, RECOVERIES, WEIGHTS, draw, first_violation, play, play_seeds, shortest
from support.simulation.invariants import Violation
from support.simulation.mutants import MUTANTS
from support.simulation.reproductions import REPRODUCTIONS
from support.simulation.stores import Disk
from support.simulation.world import Step, World

from hushgrid.core.recovery import Recovery

_CHUNK = 100
_PART = 0.1  # of all histories are played per commit
_NUMBER = st.integers(0, 999)
#: Of the first thousand histories the one that first caught a mutant for which many had to be played. It is played first.
_CAUGHT_BY = {
    "skip_the_digest_check_at_the_consumer": 91,
    "skip_the_digest_check_at_the_ppn": 641,
    "countersign_a_second_decision": 41,
    "believe_any_decision": 87,
    "believe_any_leave": 375,
    "leave_of_one": 393,
    "forget_what_is_out": 606,
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    found = Disk(tmp_path_factory.mktemp("stores"))
    yield found
    found.close()


def complaint(seed: int, invariant_: str, disk: Disk) -> str:
    """What to print, and to keep in reproductions.py."""
    recovery, steps = draw(seed)

    def breaks(fewer: list[Step]) -> bool:
        try:
            play(recovery, fewer, disk)
        except Exception:  # noqa: BLE001  # whatever it is, it is what we look for
            return True
        return False

    needed = shortest(steps, breaks) if breaks(steps) else steps
    return f"seed {seed} breaks {invariant_!r}; keep it: ({recovery}, {needed})"


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_the_system_holds_in_every_kept_history(name, disk):
    recovery, steps = REPRODUCTIONS[name]
    play(recovery, steps, disk)


@pytest.mark.system
def test_a_few_random_histories_break_nothing(disk):
    found = first_violation(range(300), disk)
    assert found is None, complaint(*found, disk)


@pytest.mark.system
@pytest.mark.timeout(1800)
def test_ten_thousand_random_histories_break_nothing(disk, pytestconfig, part):
    count = pytestconfig.getoption("--histories")
    chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    if part is not None:
        chunks = part.sample(chunks, math.ceil(_PART * len(chunks)))
    # Spawned, not forked: this process may have threads, of pytest-xdist.
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        broken = [found for found in pool.map(play_seeds, chunks) if found is not None]
    assert not broken, complaint(*broken[0], disk)


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_is_caught(name, disk, monkeypatch):
    recovery, steps = REPRODUCTIONS[name]
    MUTANTS[name](monkeypatch)
    with pytest.raises((Violation, ValueError)):
        play(recovery, steps, disk)


@pytest.mark.system
@pytest.mark.timeout(900)  # it calculates for a minute; beside other work for longer
@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_is_caught_by_random_histories_too(name, disk, monkeypatch):
    MUTANTS[name](monkeypatch)
    seeds = sorted(range(1000), key=lambda seed: seed != _CAUGHT_BY.get(name))
    assert first_violation(seeds, disk) is not None


def test_histories_reach_what_they_are_to_test(disk):
    """Faults meet rounds in every state: else the absence of violations would say nothing."""
    seen = dict.fromkeys(("certified", "released", "dishonest", "crashed", "not punctual", "left out", "lied"), 0)
    for seed in range(150):
        recovery, steps = draw(seed)
        world = World(grid_of(recovery), disk, seed)
        for step in steps:
            world.step(step)
        watch = world.watch
        seen["certified"] += bool(watch.certificates)
        seen["released"] += bool(watch.results)
        seen["dishonest"] += not (watch.honest_configurator and watch.honest_meters)
        seen["crashed"] += world.crashes > 0
        seen["not punctual"] += any(len(d.core.punctual) < 3 for d, _ in watch.decisions.values())
        seen["lied"] += watch.liar is not None
        seen["left out"] += any(len(c.included) < 5 for _, c in watch.decisions.values())
    assert min(seen.values()) >= 5, seen


class Grid(RuleBasedStateMachine):
    """The same steps, drawn and cut down by hypothesis."""

    disk: Disk

    @initialize(recovery=st.sampled_from(sorted(RECOVERIES)))
    def begin(self, recovery: Recovery) -> None:
        self.world = World(grid_of(recovery), self.disk)

    @rule(name=st.sampled_from(sorted([*WEIGHTS, *FAULTY])), a=_NUMBER, b=_NUMBER)
    def step(self, name: str, a: int, b: int) -> None:
        self.world.step((name, a, b))

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.finish()


@pytest.mark.system
def test_hypothesis_finds_no_history_that_breaks_anything(tmp_path: Path):
    Grid.disk = Disk(tmp_path)
    try:
        run_state_machine_as_test(
            Grid,
            settings=settings(
                max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
    finally:
        Grid.disk.close()
