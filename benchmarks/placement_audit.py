"""How the configurator's cost grows: placement from membership, and the audit of rules, up to a national grid.

    python benchmarks/placement_audit.py [--json OUT] [--figure docs/figures/placement_audit] [--quick]

Placement: |P| producers, 100 consumers, each producer monitored with probability 0.5; building the cohort sizes from the membership (all
of it drawn, packed 1 bit a pair) is included. Audit: 100 rules, each meter covered with probability 0.5, windows of 1, 2, 4 and 96
rounds, minimum 15 and coverage floor 0.8; nearly every meter then is a class of its own, the worst case. Every point runs in a
process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from configurator.audit.approval import audit
from configurator.audit.cohorts import Census
from configurator.audit.policy import Policy, Request
from configurator.placement import exact as exact_placement
from configurator.placement.greedy import PpnCapacity, Problem, place_greedily
from hushgrid.outputs import write_json

CONSUMERS = 100
RULES = 100
#: What issue 3 asks for: seconds at the largest size, and GiB.
PLACEMENT_LIMIT_SECONDS, AUDIT_LIMIT_SECONDS, LIMIT_GIB = 20.0, 60.0, 4.0
_BLOCK_PRODUCERS = 1 << 20


def placement(producers: int) -> dict[str, float]:
    """Draw the membership, count the cohorts, place them by both solvers."""
    rng = np.random.default_rng(1)
    membership_seconds = sizes_seconds = 0.0
    sizes = np.zeros(CONSUMERS, dtype=np.int64)
    membership = []
    for first in range(0, producers, _BLOCK_PRODUCERS):
        began = time.perf_counter()
        block = min(_BLOCK_PRODUCERS, producers - first)
        membership.append(rng.integers(0, 256, (CONSUMERS, -(-block // 8)), dtype=np.uint8))
        membership_seconds += time.perf_counter() - began
        began = time.perf_counter()
        sizes += np.unpackbits(membership[-1], axis=1, count=block).sum(axis=1, dtype=np.int64)
        sizes_seconds += time.perf_counter() - began
    demands = {f"consumer-{number}": int(size) for number, size in enumerate(sizes, 1)}
    problem = Problem(demands, [PpnCapacity(number, 8 * producers) for number in range(1, 61)], 4, 4)
    began = time.perf_counter()
    greedy = place_greedily(problem, start_ppns=30)
    greedy_seconds = time.perf_counter() - began
    began = time.perf_counter()
    exact = exact_placement.place(problem, clock=time.monotonic, time_limit_seconds=10, start_ppns=30)
    return {
        "membership_seconds": membership_seconds,
        "sizes_seconds": sizes_seconds,
        "greedy_seconds": greedy_seconds,
        "exact_seconds": time.perf_counter() - began,
        "greedy_ppns": greedy.ppn_count,
        "exact_ppns": exact.ppn_count,
        "lower_bound": exact.lower_bound,
        "seconds": membership_seconds + sizes_seconds + greedy_seconds,
    }


def audits(meters: int) -> dict[str, float]:
    """Audit random rules over this many meters."""
    rng = np.random.default_rng(1)
    drawn = [
        Request(f"rule-{number}", "consumer", rng.random(meters) < 0.5, int(rng.choice([1, 2, 4, 96])))
        for number in range(RULES)
    ]
    began = time.perf_counter()
    outcome = audit(drawn, Census.of(range(meters)), Policy())
    return {
        "seconds": time.perf_counter() - began,
        "granted": len(outcome.granted),
        "refused": len(outcome.refused),
    }


def in_its_own_process(measured: str, size: int) -> dict[str, float]:
    """One point, with the peak of its process's memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (measured, size))


def _measure(measured: str, size: int) -> dict[str, float]:
    found = {"placement": placement, "audit": audits}[measured](size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"size": size} | found | {"peak_gib": peak}


def draw(points: dict[str, list[dict[str, float]]], stem: Path) -> None:
    """Seconds and GiB over size, log-log; STEM.png and STEM.svg."""
    figure, (seconds, memory) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
    lines = (
        ("placement", "#0072b2", "o", f"placement, {CONSUMERS} consumers", PLACEMENT_LIMIT_SECONDS),
        ("audit", "#d55e00", "D", f"audit, {RULES} rules", AUDIT_LIMIT_SECONDS),
    )
    for measured, colour, marker, label, limit in lines:
        x = [point["size"] for point in points[measured]]
        seconds.plot(x, [point["seconds"] for point in points[measured]], marker=marker, color=colour, label=label)
        memory.plot(x, [point["peak_gib"] for point in points[measured]], marker=marker, color=colour, label=label)
        seconds.plot([x[-1]], [limit], marker="_", markersize=18, markeredgewidth=2, color=colour)
        seconds.annotate(f"limit {limit:g} s", (x[-1], limit), xytext=(-8, 5), textcoords="offset points", ha="right")
    memory.axhline(LIMIT_GIB, color="#767676", linestyle="--", linewidth=1)
    memory.annotate(
        f"limit {LIMIT_GIB:g} GiB", (points["audit"][0]["size"], LIMIT_GIB), xytext=(0, -13), textcoords="offset points"
    )
    for axes, title, unit in ((seconds, "Time", "seconds"), (memory, "Peak memory of the process", "GiB")):
        axes.set(xscale="log", yscale="log", xlabel="meters", ylabel=unit, title=title)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    seconds.legend(frameon=False, loc="upper left")
    seconds.set_ylim(top=1000)
    with mpl.rc_context({"svg.hashsalt": "hushgrid"}):
        figure.savefig(stem.with_suffix(".png"), dpi=160)
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})


def main() -> None:
    """Measure, print, draw; exit status 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description="Growth of placement and audit")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the sizes")
    arguments = parser.parse_args()
    scale = 100 if arguments.quick else 1
    sizes = {
        "placement": [10_000, 100_000, 1_000_000, 10_000_000 // scale],
        "audit": [1_000, 10_000, 100_000, 1_000_000 // scale],
    }
    points: dict[str, list[dict[str, float]]] = {}
    for measured, listed in sizes.items():
        points[measured] = []
        for size in [size for size in listed if size <= listed[-1]]:
            points[measured].append(in_its_own_process(measured, size))
            shown = ", ".join(f"{key} {value:.4g}" for key, value in points[measured][-1].items())
            print(f"{measured}: {shown}", flush=True)
    if arguments.json:
        write_json(arguments.json, points)
    if arguments.figure:
        draw(points, arguments.figure)
    limits = {"placement": PLACEMENT_LIMIT_SECONDS, "audit": AUDIT_LIMIT_SECONDS}
    missed = [m for m in limits if points[m][-1]["seconds"] > limits[m] or points[m][-1]["peak_gib"] > LIMIT_GIB]
    raise SystemExit(f"limit missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
