"""Random histories: drawn from a seed, played, and cut down to the steps that matter when one breaks an invariant."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hushgrid.core.recovery import Recovery
from support.simulation.grid import grid_of
from support.simulation.invariants import Violation
from support.simulation.stores import Disk
from support.simulation.world import Step, World

#: Operation -> how often it is drawn: enough progress that faults meet every state of a round.
WEIGHTS = {
    "meter": 8,
    "deliver": 6,
    "flush": 16,
    "drop": 6,
    "duplicate": 4,
    "replay": 4,
    "cut": 2,
    "heal": 4,
    "repeat": 2,
    "freeze": 12,
    "wait": 14,
    "decide": 10,
    "conclude": 4,
    "crash": 8,
    "restart_station": 1,
}
#: What no honest process does: two of these in one history out of three.
FAULTY = {"restate": 14, "forget": 6, "lie": 3, "forge": 10}
#: Recovery -> how often it is drawn.
RECOVERIES = {Recovery.REPAIR: 6, Recovery.AGREE: 3, Recovery.NONE: 1}


def draw(seed: int) -> tuple[Recovery, list[Step]]:
    """The history of a seed."""
    rng = random.Random(seed)
    recovery = rng.choices(list(RECOVERIES), list(RECOVERIES.values()))[0]
    faults = rng.sample(sorted(FAULTY), 2) if rng.randrange(3) == 0 else []
    weights = WEIGHTS | {name: FAULTY[name] for name in faults}
    names = rng.choices(list(weights), list(weights.values()), k=rng.randrange(10, 60))
    return recovery, [(name, rng.randrange(1000), rng.randrange(1000)) for name in names]


def play(recovery: Recovery, steps: Sequence[Step], disk: Disk, seed: int = 0) -> World:
    """Play one history; Violation when an invariant does not hold."""
    world = World(grid_of(recovery), disk, seed)
    world.play(steps)
    return world


def first_violation(seeds: Iterable[int], disk: Disk) -> tuple[int, str] | None:
    """The first seed whose history breaks an invariant, and which; None when all hold."""
    for seed in seeds:
        recovery, steps = draw(seed)
        try:
            play(recovery, steps, disk, seed)
        except Violation as violation:
            return seed, str(violation)
        except Exception as error:  # noqa: BLE001  # whatever a module raises here it raises at a wrong place
            return seed, f"{type(error).__name__}: {error}"
    return None


def play_seeds(seeds: range) -> tuple[int, str] | None:
    """The same in a process of its own, on stores of its own."""
    with tempfile.TemporaryDirectory(prefix="hushgrid-histories-") as directory:
        disk = Disk(Path(directory))
        try:
            return first_violation(seeds, disk)
        finally:
            disk.close()


def shortest(steps: Sequence[Step], breaks: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """The history without the steps that it breaks without, one by one until none is left (a reproduction to keep)."""
    found = list(steps)
    changed = True
    while changed:
        changed = False
        for at in range(len(found) - 1, -1, -1):
            without = found[:at] + found[at + 1 :]
            if breaks(without):
                found, changed = without, True
    return found
