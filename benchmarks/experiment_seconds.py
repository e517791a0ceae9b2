"""How long the experiments take as they are typed, one after the other; each has a limit for a machine of two cores that does nothing else.

    python benchmarks/experiment_seconds.py [NAME ...]

Beside each time stands its ratio to a plain loop of Python in the same run, which says how fast this machine is. Exit status 1 when a limit
is missed. `live` experiments, which start agents, and those that measure unit costs are not among them: their length is a parameter.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
GRID = ("--grid", str(DATA / "grid_kerber_village57.json"), "--homes", str(DATA / "lcl2013_300h_year.parquet"))
LOOPS = 5_000_000
#: What is typed, and within how many seconds it is to be done.
LIMITS: dict[str, tuple[tuple[str, ...], float]] = {
    "pairwise-attack": ((), 45.0),
    "minppn": ((), 60.0),
    "state-estimation": (GRID, 60.0),
    "pricing": (GRID, 60.0),
    "theft-game": ((), 60.0),
    "theft-ranking": ((), 60.0),
    "demand-response": ((), 60.0),
    "theft-and-demand": ((), 60.0),
}


def plain_loop_seconds() -> float:
    """The least of three times of a loop that nothing but the processor decides on."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        total = 0
        for number in range(LOOPS):
            total += number * number % 7
        best = min(best, time.perf_counter() - began)
    return best


def experiment_seconds(name: str, options: tuple[str, ...]) -> float:
    """The whole process, from its start to its end; subprocess.CalledProcessError when it fails."""
    with tempfile.TemporaryDirectory(prefix="hushgrid-seconds-") as out:
        command = [sys.executable, "-m", "testbed", "experiment", name, *options, "--out", out]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def main() -> None:
    """Measure and print; exit status 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description="How long experiments take")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LIMITS)}; all when none is named")
    names = parser.parse_args().names or list(LIMITS)
    if unknown := sorted(set(names) - set(LIMITS)):
        parser.error(f"no limit is known for {', '.join(unknown)}")
    loop = plain_loop_seconds()
    print(f"{'a plain loop':18} {loop:6.2f} s  ratio {1:6.1f}")
    missed = []
    for name in names:
        options, limit = LIMITS[name]
        taken = experiment_seconds(name, options)
        print(f"{name:18} {taken:6.1f} s  ratio {taken / loop:6.1f}  limit {limit:.0f} s", flush=True)
        missed += [name] if taken > limit else []
    sys.exit(f"limit missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
