"""The package on a plain Debian, and its unit under a real systemd: hardened, on a card that fills up, hung and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import tomli_w
from support import ROOT
from support.live_grid import LiveGrid
from support.machines.plain_debian import Machine, debian
from support.wires import Household, Wire

from meter_agent.sources.wall_clock import synchronised
from testbed.processes import Supervisor

pytestmark = [pytest.mark.system, pytest.mark.machine, pytest.mark.timeout(3000)]

INTERVAL = 5
GRACE = 5.0
CONFIGURATION = "/etc/hushgrid/meter.toml"
DROP_IN = "[Service]\nRestartSec=1\nWatchdogSec=6\n"


@pytest.fixture
async def machine(tmp_path: Path, package: Path) -> AsyncIterator[Machine]:
    """A Debian with the package's file in it, not booted yet."""
    root = debian(tmp_path / "debian")
    shutil.copy(package, root / "meter.deb")
    made = Machine(root, tmp_path / "boot.log")
    yield made
    await made.stop()


def chroot(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["chroot", str(root), *command], capture_output=True, text=True, check=False, timeout=600)


def test_the_package_installs_checks_updates_and_goes(machine: Machine) -> None:
    root = machine.root
    installed = chroot(root, "dpkg", "-i", "/meter.deb")
    assert installed.returncode == 0, installed.stderr
    assert (root / "etc/hushgrid").stat().st_mode & 0o7777 == 0o2750
    assert chroot(root, "hushgrid-meter", "check", "--config", CONFIGURATION).returncode == 2
    sample = root / CONFIGURATION[1:]
    assert sample.stat().st_gid == (root / "etc/hushgrid").stat().st_gid
    assert sample.stat().st_mode & 0o777 == 0o640
    checked = chroot(root, "hushgrid-meter", "check", "--seconds", "0.2", "--config", CONFIGURATION)
    assert checked.returncode == 1
    assert re.search(r"^wrong +source +P1 at /dev/ttyUSB0", checked.stdout, re.MULTILINE), checked.stdout
    kinds = ("p1", "sml_head", "han_push", "modbus", "pulses", "mqtt_topic")
    imports = "; ".join(f"import meter_agent.sources.devices.{kind}" for kind in kinds)
    code = f"import sys; sys.path.insert(0, '/usr/lib/hushgrid-meter'); {imports}"
    loaded = chroot(root, "python3", "-I", "-c", code)
    assert loaded.returncode == 0, loaded.stderr
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    carried = [name for name in wheel["packages"] if (root / "usr/lib/hushgrid-meter" / name).exists()]
    assert carried == ["hushgrid", "meter_agent"]
    sample.write_text(sample.read_text() + "# mine\n")
    assert chroot(root, "dpkg", "-i", "/meter.deb").returncode == 0
    assert chroot(root, "dpkg", "-r", "hushgrid-meter").returncode == 0
    assert sample.read_text().endswith("# mine\n")
    assert not (root / "usr/lib/hushgrid-meter").exists()
    assert chroot(root, "dpkg", "-P", "hushgrid-meter").returncode == 0
    assert not (root / "etc/hushgrid").exists()


@pytest.mark.usefixtures("mosquitto")
async def test_the_unit_shares_readings_survives_a_full_card_and_is_restarted_when_it_hangs(
    tmp_path: Path, supervisor: Supervisor, template: bytes, machine: Machine
) -> None:
    grid = await LiveGrid.start(
        tmp_path / "grid", supervisor, ["m-unit", "m-here"], interval_seconds=INTERVAL, grace_seconds=GRACE
    )
    households = [Household(template, INTERVAL, seed, export=True) for seed in (8, 9)]
    wires = [Wire(household, int(time.time() // INTERVAL) - 1) for household in households]
    async with contextlib.AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(await asyncio.start_server(wire.serve_tcp, "127.0.0.1", 0))
            for wire in wires
        ]
        ports = [f"tcp://127.0.0.1:{reader.sockets[0].getsockname()[1]}" for reader in readers]
        await grid.run("meter_agent", "m-here", grid.meter("m-here", {"kind": "p1", "port": ports[1]}))
        configure(machine.root, grid, ports[0])
        await machine.boot("--tmpfs=/var/lib/private:mode=700,size=3m")

        def complete() -> list[int]:
            return [number for number, result in grid.results().items() if result["included"] == 2]

        await grid.until(lambda: len(complete()) >= 2, 100, "no two complete sums")
        process = Path("/proc") / host_pid(await machine.show("MainPID"))
        assert process.stat().st_uid not in (0, os.getuid())
        assert "Seccomp:\t2" in (process / "status").read_text()

        full = "/var/lib/private/full"
        await machine.inside("sh", "-c", f"cat /dev/zero > {full}")
        await until(machine, "NRestarts", lambda value: int(value) >= 1, 60)
        await machine.inside("rm", full)
        count = len(complete())
        await grid.until(lambda: len(complete()) >= count + 2, 60, "no sums after the card had room again")

        restarts = int(await machine.show("NRestarts"))
        await machine.inside("systemctl", "kill", "--signal=STOP", "hushgrid-meter")
        await until(machine, "NRestarts", lambda value: int(value) > restarts, 40)
        count = len(complete())
        await grid.until(lambda: len(complete()) >= count + 1, 60, "no sum after the agent had hung")
        journal = "\n".join(await machine.inside("journalctl", "-u", "hushgrid-meter", "--no-pager"))
    for number in complete():
        assert grid.results()[number]["watt_hours"] == sum(household.net(number) for household in households), number
    assert "database or disk is full" in journal
    assert "Watchdog timeout" in journal


def configure(root: Path, grid: LiveGrid, port: str) -> None:
    """Install the package, and what its owner would write."""
    installed = chroot(root, "dpkg", "-i", "/meter.deb")
    assert installed.returncode == 0, installed.stderr
    assert chroot(root, "systemctl", "enable", "hushgrid-meter").returncode == 0
    content = grid.meter("m-unit", {"kind": "p1", "port": port})
    content["agent"] |= {"state_directory": "/var/lib/hushgrid-meter", "token_file": "/etc/hushgrid/meter.token"}
    content["registers"]["require_synchronised_clock"] = synchronised()
    for name, text in (("meter.toml", tomli_w.dumps(content)), ("meter.token", grid.tokens["m-unit"])):
        path = root / "etc/hushgrid" / name
        path.write_text(text)
        path.chmod(0o640)
    drop_in = root / "etc/systemd/system/hushgrid-meter.service.d/test.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(DROP_IN)  # only to wait less


def host_pid(inner: str) -> str:
    """The agent's process as this machine numbers it."""
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            numbers = re.search(r"^NSpid:\s+(\d+)\s+(\d+)$", status.read_text(), re.MULTILINE)
            if numbers and numbers[2] == inner and b"hushgrid-meter" in (status.parent / "cmdline").read_bytes():
                return numbers[1]
    raise AssertionError(f"the unit's process {inner} is not running")


async def until(machine: Machine, name: str, holds, seconds: float) -> None:
    end = time.monotonic() + 6 * seconds  # as LiveGrid.until
    while not holds(value := await machine.show(name)):
        assert time.monotonic() < end, f"{name} is {value}"
        await asyncio.sleep(0.3)
