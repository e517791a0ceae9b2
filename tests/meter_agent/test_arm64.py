"""The Raspberry Pi's package on an emulated 64-bit ARM machine: its shared readings, taken by PPNs, in an exact sum."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.live_grid import LiveGrid
from support.machines.arm64 import Arm64, install, missing
from support.machines.plain_debian import build_package
from support.wires import Household, Wire, terminal

from testbed.processes import Supervisor

pytestmark = [pytest.mark.system, pytest.mark.machine, pytest.mark.timeout(3000)]

INTERVAL = 30  # an emulated machine on a busy one needs its time to read and to share
GRACE = 27.0
REPLAYED = 7  # Wh in every round of the recording


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Arm64:
    """An ARM machine with the package that `make deb` builds."""
    reason = missing()
    if reason is not None and os.environ.get("HUSHGRID_REQUIRE_ALL"):
        pytest.fail(f"must not be skipped here: {reason}")
    if reason is not None:
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("arm64")
    return install(build_package("arm64", directory), directory / "root")


def test_the_package_is_for_arm_and_runs_there(machine: Arm64):
    code = "import platform, pydantic_core, cryptography; print(platform.machine())"
    library = machine.directory / "usr/lib/hushgrid-meter"
    said = subprocess.run(
        machine.command("-c", f"import sys; sys.path.insert(0, {str(library)!r}); {code}"),
        check=True, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert said.stdout == "aarch64\n"


@pytest.mark.usefixtures("mosquitto")
async def test_a_meter_on_arm_shares_readings_that_ppns_take_and_a_consumer_sums_exactly(
    tmp_path: Path, supervisor: Supervisor, template: bytes, machine: Arm64
) -> None:
    meters = ["m-arm", "m-here"]
    grid = await LiveGrid.start(tmp_path, supervisor, meters, interval_seconds=INTERVAL, grace_seconds=GRACE)
    household = Household(template, INTERVAL, 5, export=True)
    master, path = terminal()
    recording = tmp_path / "recording.csv"
    begin = dt.datetime(2013, 3, 11, tzinfo=dt.UTC)
    times = (begin + dt.timedelta(seconds=INTERVAL * at) for at in range(500))
    recording.write_text("start_utc,a-house\n" + "".join(f"{time:%Y-%m-%dT%H:%M:%SZ},{REPLAYED}\n" for time in times))
    commands = {
        "m-arm": [*machine.meter("run"), "--config", str(grid.write("m-arm", grid.meter("m-arm", {"kind": "p1", "port": path})))],
        "m-here": [
            sys.executable, "-m", "meter_agent", "replay", str(recording),
            "--config", str(grid.write("m-here", grid.meter("m-here", {"kind": "constructed"}))),
        ],
    }  # fmt: skip
    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(Wire(household, int(time.time() // INTERVAL) - 1).feed_terminal(master))
        for meter, command in commands.items():
            await supervisor.start("meter", meter, command, grid.log(meter))

        def complete() -> list[int]:
            return [number for number, result in grid.results().items() if result["included"] == 2]

        await grid.until(lambda: len(complete()) >= 1, 150, "no complete sum")
        feeding.cancel()
    for number in complete():
        assert grid.results()[number]["watt_hours"] == household.net(number) + REPLAYED
    assert re.search(r"round \d+: 1 meters stated, 3 shares to 3 PPNs", grid.log("m-arm").read_text())
