"""deploy/raspberry-pi/README.md on a plain Debian: every command typed in the page's order, from the package to a sum that is the truth.

It is this machine's kind of Debian, not a Pi's: arm64 on the page becomes amd64. The person at the Pi is `pi`, in the groups that
Raspberry Pi OS gives its first user. In place of scp the files are copied into pi's home; what ssh runs is typed by pi there; in
place of nano this test fills in the sample. The package is built by `make deb`, with the Python that runs the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import ROOT
from support.live_grid import LiveGrid
from support.machines.plain_debian import Machine, Person, Said, debian, online
from support.pages import blocks, spoken
from support.wires import Household, Wire

from meter_agent.sources.wall_clock import synchronised
from testbed.processes import Supervisor

pytestmark = [pytest.mark.system, pytest.mark.machine, pytest.mark.timeout(3000)]

PAGE = "deploy/raspberry-pi/README.md"
INTERVAL, GRACE = 5, 5.0
ARCH = "amd64"
TOML, TOKEN, STATE = "/etc/hushgrid/meter.toml", "/etc/hushgrid/meter.token", "/var/lib/hushgrid-meter"
HERE = "tests/meter_agent/test_pi_guide.py"
#: What sentences of the page name, and what plays it.
SPOKEN = {
    "hushgrid-configurator identity": HERE,
    "hushgrid-configurator token --agent ID --role meter": HERE,
    "hushgrid enrol deployment": "tests/docs/test_operations.py",
    "sudo apt update && sudo apt full-upgrade": HERE,
    "make deb": HERE,
    "sudo hushgrid-meter read --once --config /etc/hushgrid/meter.toml": HERE,
    "sudo systemctl stop hushgrid-meter": HERE,
    "hushgrid-meter replay FILE.csv --config ...": "tests/meter_agent/test_arm64.py",
    "python benchmarks/meter_card.py": "benchmarks/meter_card.py",
}


@dataclass(slots=True)
class Home:
    """The Pi, who is at it, the grid that it joins, the meter on its wall."""

    machine: Machine
    pi: Person
    grid: LiveGrid
    households: list[Household]
    port: str
    token: str
    identity: str
    kept: dict[str, bytes] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        return self.machine.root / name.removeprefix("/")

    async def types(self, line: str, answer: str = "", status: int = 0) -> Said:
        """As a person does; the page's time is printed."""
        said = await self.pi.types(line, answer)
        print(f"{said.seconds:6.1f} s  {line}")  # noqa: T201 - pytest -s shows it
        assert said.status == status, f"{PAGE}: {line}\n{said.lines}\n{self.pi.last_errors()}"
        return said

    def complete(self) -> list[int]:
        """Rounds whose sum has both meters in it."""
        return [number for number, result in self.grid.results().items() if result["included"] == 2]

    def check_sums(self) -> None:
        for number in self.complete():
            truth = sum(household.net(number) for household in self.households)
            assert self.grid.results()[number]["watt_hours"] == truth, number


def package_name() -> str:
    """The package's name on the page, for this machine."""
    (name,) = set(re.findall(r"hushgrid-meter_[0-9.]+_arm64\.deb", (ROOT / PAGE).read_text()))
    return name.replace("arm64", ARCH)


async def copied(home: Home, line: str) -> None:
    """scp: the files come into pi's home."""
    *files, target = line.split()[1:]
    assert target == "pi@raspberrypi:"
    for name in files:
        shutil.copy(ROOT / name, home.path("/home/pi"))


async def installed(home: Home, line: str) -> None:
    said = await home.types(line.removeprefix("ssh pi@raspberrypi "))
    assert said.lines[-3:] == [
        f"    sudo hushgrid-meter check --config {TOML}",
        "    sudo systemctl restart hushgrid-meter",
        "    journalctl -fu hushgrid-meter",
    ]
    assert home.path("/etc/hushgrid").stat().st_mode & 0o7777 == 0o2750
    assert home.path(TOML).stat().st_mode & 0o777 == 0o640
    assert (await home.machine.inside("systemctl", "is-enabled", "hushgrid-meter"))[0] == "enabled"


async def filled_in(home: Home, _line: str) -> None:
    """nano: what is in the sample is replaced in its place; owner and mode stay."""
    blanks = {
        'id = "meter-0001"': 'id = "m-unit"',
        'grid = "village"': 'grid = "live"',
        'url = "mqtt://broker.example:1883"': f'url = "{home.grid.broker_url}"',
        f'identity = "{"0" * 64}"': f'identity = "{home.identity}"',
        "grace_seconds = 60.0": f"grace_seconds = {GRACE}",
        "minimum_contributors = 15": "minimum_contributors = 2",
        'port = "/dev/ttyUSB0"                             # or a network': f'port = "{home.port}" # or a network',
        "tolerance_seconds = 30.0": f"tolerance_seconds = {INTERVAL / 3}",
        "require_synchronised_clock = true": f"require_synchronised_clock = {str(synchronised()).lower()}",
    }
    text = home.path(TOML).read_text()
    for blank, value in blanks.items():
        assert text.count(blank) == 1, blank
        text = text.replace(blank, value)
    home.path(TOML).write_text(text)


async def token_pasted(home: Home, line: str) -> None:
    await home.types(line, answer=home.token)
    token = home.path(TOKEN)
    assert token.read_text() == home.token + "\n"
    assert token.stat().st_mode & 0o777 == 0o640
    assert token.stat().st_gid == home.path("/etc/hushgrid").stat().st_gid


async def checked(home: Home, line: str) -> None:
    """One line for each thing; and the sentences below it: the registers, the port for oneself."""
    before = sorted(home.path("/etc/hushgrid").iterdir())
    said = await home.types(f"{line} --interval {INTERVAL}")
    for thing in ("state", "clock", "timing", "broker", "source"):
        assert any(re.match(rf"(fine|note) +{thing} ", answer) for answer in said.lines), (thing, said.lines)
    assert len(said.lines) == len([answer for answer in said.lines if re.match(r"(fine|note) ", answer)]), said.lines
    assert sorted(home.path("/etc/hushgrid").iterdir()) == before
    await home.types("sudo systemctl stop hushgrid-meter")
    read = await home.types(f"sudo hushgrid-meter read --once --config {TOML}")
    assert re.search(r"\b4[ ,.]?4\d\d", "\n".join(read.lines)), read.lines


async def restarted(home: Home, line: str) -> None:
    await home.types(line)
    assert (await home.machine.inside("systemctl", "is-active", "hushgrid-meter"))[0] == "active"


async def first_shared_reading(home: Home, line: str) -> None:
    """Until the line that the page promises; then Ctrl-C."""
    promised = r"round [0-9]+: 1 meters stated, [0-9]+ shares to [0-9]+ PPNs"
    await home.types(f"timeout --signal=INT 600 {line} | grep --max-count=1 -E '{promised}'")
    await home.grid.until(lambda: len(home.complete()) >= 2, 60, "no two complete sums")
    home.check_sums()


def make_newer(home: Home) -> None:
    """The package with another version, under the name that the page gives it."""
    newer = home.path("/home/pi/newer")
    subprocess.run(["dpkg-deb", "-R", str(ROOT / "dist" / package_name()), str(newer)], check=True)
    control = newer / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", r"\g<0>+newer", control.read_text()))
    name = home.path(f"/home/pi/hushgrid-meter_NEWER_{ARCH}.deb")
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "-b", str(newer), str(name)], check=True, capture_output=True)


async def updated(home: Home, line: str) -> None:
    """Keys and configuration stay, sums go on."""
    await asyncio.to_thread(make_newer, home)
    home.kept = {path: home.path(path).read_bytes() for path in (TOML, TOKEN)}
    keys = state(home) / "keys.sqlite"
    home.kept["keys"] = keys.read_bytes()
    await home.types(line)
    assert (await home.machine.inside("dpkg-query", "-W", "-f", "${Version}", "hushgrid-meter"))[0].endswith("+newer")
    assert keys.read_bytes() == home.kept["keys"]
    count = len(home.complete())
    await home.grid.until(lambda: len(home.complete()) >= count + 1, 60, "no sum after the update")
    home.check_sums()


def state(home: Home) -> Path:
    """The agent's directory: systemd keeps what a dynamic user has under private/."""
    return home.path(STATE.replace("/lib/", "/lib/private/"))


async def removed(home: Home, line: str) -> None:
    await home.types(line, answer="y")
    assert (await home.machine.inside("sh", "-c", "command -v hushgrid-meter || echo gone"))[0] == "gone"
    assert {path: home.path(path).read_bytes() for path in (TOML, TOKEN)} == {p: home.kept[p] for p in (TOML, TOKEN)}
    assert (state(home) / "keys.sqlite").read_bytes() == home.kept["keys"]


async def purged(home: Home, line: str) -> None:
    await home.types(line, answer="y")
    left = [home.path("/etc/hushgrid"), home.path(STATE), state(home)]
    assert [path for path in left if path.exists() or path.is_symlink()] == []


#: How a command begins, and how it is typed and what it is to have done.
PROMISES: dict[str, Callable[[Home, str], Awaitable[None]]] = {
    "scp ": copied,
    "ssh pi@raspberrypi sudo ./install.sh ": installed,
    "sudo nano /etc/hushgrid/meter.toml": filled_in,
    "sudo sh -c 'umask 027; cat > /etc/hushgrid/meter.token'": token_pasted,
    "sudo hushgrid-meter check ": checked,
    "sudo systemctl restart hushgrid-meter": restarted,
    "journalctl -fu hushgrid-meter": first_shared_reading,
    "sudo ./install.sh hushgrid-meter_NEWER": updated,
    "sudo apt remove hushgrid-meter": removed,
    "sudo apt purge hushgrid-meter": purged,
}


def promise(line: str) -> str:
    """How the table names a command; AssertionError for one that it does not know."""
    found = [begin for begin in PROMISES if line.startswith(begin)]
    assert len(found) == 1, f"{PAGE}: {line}: the test does not know how this is typed and what it is to do"
    return found[0]


def lines() -> list[str]:
    """Every line that the page says to type, without what is said behind it."""
    typed = [re.sub(r"\s+# .*$", "", line) for block in blocks(PAGE) for line in block.typed()]
    return [line.replace("arm64", ARCH) for line in typed]


def test_every_command_of_the_page_is_known() -> None:
    assert [promise(line) for line in lines()] == list(PROMISES)
    assert set(spoken(PAGE)) == set(SPOKEN)
    assert [test for test in SPOKEN.values() if not (ROOT / test).exists()] == []


@pytest.mark.usefixtures("mosquitto")
async def test_the_page_is_typed_on_a_plain_debian_from_the_package_to_an_exact_sum(
    tmp_path: Path, supervisor: Supervisor, template: bytes, package: Path
) -> None:
    assert package.name == package_name()
    root = debian(tmp_path / "debian")
    online(root)
    grid = await LiveGrid.start(
        tmp_path / "grid", supervisor, ["m-unit", "m-here"], interval_seconds=INTERVAL, grace_seconds=GRACE
    )
    households = [Household(template, INTERVAL, seed, export=True) for seed in (8, 9)]
    machine = Machine(root, tmp_path / "boot.log")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(machine.stop)
        ports = []
        for household in households:
            wire = Wire(household, int(time.time() // INTERVAL) - 1)
            reader = await stack.enter_async_context(await asyncio.start_server(wire.serve_tcp, "127.0.0.1", 0))
            ports.append(f"tcp://127.0.0.1:{reader.sockets[0].getsockname()[1]}")
        await grid.run("meter_agent", "m-here", grid.meter("m-here", {"kind": "p1", "port": ports[1]}))
        await machine.boot("--resolv-conf=off")
        await first_user(machine)
        pi = await Person.at(machine, tmp_path / "errors.log", "pi", "/home/pi")
        home = Home(machine, pi, grid, households, ports[0], operator(grid, "token"), operator(grid, "identity"))
        for line in ("sudo apt update && sudo apt full-upgrade",):
            assert line in spoken(PAGE)
            await home.types(line, answer="y")
        (clock,) = [said for said in (await home.types("timedatectl")).lines if "synchronized" in said]
        assert clock == f"System clock synchronized: {'yes' if synchronised() else 'no'}"
        for line in lines():
            await PROMISES[promise(line)](home, line)
    assert "Traceback" not in pi.errors.read_text(errors="replace")


async def first_user(machine: Machine) -> None:
    """The user that Raspberry Pi Imager makes."""
    made = "useradd -m -s /bin/bash -G adm,dialout,sudo pi && echo 'pi ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/010_pi-nopasswd"
    assert await machine.inside("sh", "-c", made) == [""]


def operator(grid: LiveGrid, asked: str) -> str:
    """What the grid's operator hands over: the page's two commands, at the configurator."""
    (command,) = [said for said in spoken(PAGE) if said.startswith(f"hushgrid-configurator {asked}")]
    words = command.replace("ID", "m-unit").split()[1:]
    config = str(grid.directory / "configurator/configurator.toml")
    done = subprocess.run(
        [sys.executable, "-m", "configurator", *words, "--config", config], cwd=ROOT, check=False,
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
