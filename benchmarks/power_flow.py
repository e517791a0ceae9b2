"""A year of a village: the power flow of every half hour beside pandapower's, and its state estimated with how sure it is.

    python benchmarks/power_flow.py [--days 30] [--json OUT]

The power flow plays every slot of the file, the estimate all days with four weeks before them, from which it takes what it assumes.
Quote the ratio: both run here, one after the other. pandapower starts each flow at the last solution, in a Python of its own (`make
oracles`). The estimate has the head's meter, group sums and an assumption for every home; deviations of all voltages and loadings are
part of it. Exit status 1 when a limit is missed. `--days`: both play so many, which is no benchmark and held to no limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from experiments.grid.homes import SLOTS_A_DAY, lived_in, whole_file
from experiments.grid.offers import HomesOffer, rows_of
from grid_operator.arrays import Floats
from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.least_squares import estimate
from grid_operator.estimation.pseudo import DAYS_BEFORE
from grid_operator.network.feeder import Feeder
from grid_operator.network.power_flow import power_flow
from hushgrid.outputs import write_json

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
ORACLES = ROOT / ".venv-oracles" / "bin" / "python"
LEAST_RATIO = 500
FLOW_LIMIT_SECONDS, ESTIMATE_LIMIT_SECONDS = 2.0, 90.0


def pandapower_seconds(grid: Path, runs: int) -> float | None:
    """One power flow of pandapower; None where it has no environment."""
    if not ORACLES.exists():
        return None
    command = [str(ORACLES), "-W", "ignore", str(ROOT / "tests/grid_operator/oracles.py"), "time", str(grid), str(runs)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    return float(json.loads(done.stdout)["seconds"])


def flow_seconds(feeder: Feeder, watts: Floats, reactive: Floats) -> tuple[float, int]:
    """All slots, the least of three; and the sweeps."""
    best, sweeps = float("inf"), 0
    for _ in range(3):
        began = time.perf_counter()
        sweeps = power_flow(feeder, watts, reactive).sweeps
        best = min(best, time.perf_counter() - began)
    return best, sweeps


def main() -> None:
    """Measure and print; exit status 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description="A year of power flow and state estimation")
    parser.add_argument("--days", type=int, help="so many of them, held to no limit; default: all")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    grid, homes = DATA / "grid_kerber_village57.json", DATA / "lcl2013_300h_year.parquet"
    feeder, watts, reactive = whole_file(grid, homes)
    if arguments.days is not None:
        watts, reactive = (each[: arguments.days * SLOTS_A_DAY] for each in (watts, reactive))
    flow, sweeps = flow_seconds(feeder, watts, reactive)
    days = len(watts) // SLOTS_A_DAY - DAYS_BEFORE if arguments.days is None else arguments.days
    lived = lived_in(grid, None, homes, first_day=DAYS_BEFORE, days=days, factor=1.0)
    model = MeasurementModel(lived.feeder, lived.nodes, rows_of(lived, HomesOffer("group", 10.0, 1.0), (), 1))
    began = time.perf_counter()
    sure = float(estimate(model).voltage_sigma.mean())
    estimated = time.perf_counter() - began
    reference = pandapower_seconds(grid, 50)
    slots = {"flow": len(watts), "estimation": len(lived.watts)}
    print(f"{len(feeder)} nodes, {len(lived.nodes)} homes")
    print(
        f"power flow  {flow:8.2f} s  {slots['flow']:7,} slots  {1e6 * flow / slots['flow']:9.1f} us a slot; {sweeps} sweeps"
    )
    print(
        f"estimation  {estimated:8.2f} s  {slots['estimation']:7,} slots  {1e6 * estimated / slots['estimation']:9.1f} us a slot; "
        f"a voltage's deviation {sure:.4f} per unit"
    )
    missed = []
    ratio = None
    if reference is None:
        print("pandapower  has no environment here (make oracles)")
    else:
        ratio = reference / (flow / slots["flow"])
        print(f"pandapower  {'':10}  {'':13}  {1e6 * reference:9.1f} us a slot; ratio {ratio:.0f}")
        missed += ["ratio"] if ratio < LEAST_RATIO else []
    missed += ["power flow"] if flow > FLOW_LIMIT_SECONDS else []
    missed += ["estimation"] if estimated > ESTIMATE_LIMIT_SECONDS else []
    if arguments.json:
        write_json(
            arguments.json,
            {"slots": slots, "flow": flow, "estimation": estimated, "pandapower": reference, "ratio": ratio},
        )
    sys.exit(f"limit missed: {', '.join(missed)}" if missed and arguments.days is None else 0)


if __name__ == "__main__":
    main()
