"""docs/operations.md on a plain Debian: every command typed in the page's order, every file written as it stands there, sums as the truth.

What a command is to do is said here, by how it begins; a command that nobody says anything about fails by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import stat
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.machines.plain_debian import Machine, Person, Said, clone, debian, missing, online
from support.pages import Block, blocks, spoken

from meter_agent.sources.constructed import ConstructedHouseholds

pytestmark = [pytest.mark.system, pytest.mark.machine, pytest.mark.timeout(3000)]

PAGE = "docs/operations.md"
PORTS = (8883, 8884, 8885, 8886)
AUTHORITY_PORT = 8880
INTERVAL, SEED = 10, 1
#: What sentences of the page name, and the test that plays it where no block of the page does.
SPOKEN = {
    "hushgrid-configurator token": "tests/meter_agent/test_pi_guide.py",
    "hushgrid-consumer rules": "",
    "hushgrid-consumer request|rules|withdraw --config consumer.toml": "tests/testbed/whole/test_live_rules.py",
    "hushgrid enrol": "",
    "hushgrid enrol revoke --state DIR/authority --agent ID --broker DIR/broker": "",
    "hushgrid testbed --secure": "tests/testbed/brokers/test_secure.py",
    "python benchmarks/meter_footprint.py": "tests/meter_agent/test_limits.py",
}


@dataclass(slots=True)
class Site:
    """The booted Debian and who works on it."""

    machine: Machine
    person: Person
    before: dict[str, bytes]

    def path(self, name: str) -> Path:
        return self.machine.root / name.removeprefix("/")

    @property
    def grid(self) -> Path:
        return self.path("/var/lib/hushgrid/grid")

    def agent(self, name: str) -> Path:
        return self.path(f"/var/lib/hushgrid/{name}")

    def results(self) -> list[dict[str, Any]]:
        path = self.agent("consumer-1") / "results.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []

    async def ask(self, command: str) -> tuple[int, list[str]]:
        """What a second person there would find out."""
        *said, status = await self.machine.inside("sh", "-c", f"{command}; echo $?")
        return int(status), said

    async def running(self) -> list[str]:
        """The command lines of hushgrid's processes and of Mosquitto."""
        _, said = await self.ask("for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done 2>/dev/null")
        return [line for line in said if re.search(r"bin/hushgrid|^mosquitto ", line)]

    async def until(self, holds: Callable[[], Awaitable[bool]], said: str, seconds: float = 600) -> None:
        end = time.monotonic() + seconds
        while not await holds():
            assert time.monotonic() < end, f"{said}; {self.person.last_errors()}"
            await asyncio.sleep(0.2)

    async def until_there(self, *paths: Path) -> None:
        async def there() -> bool:
            return all(path.exists() for path in paths)

        await self.until(there, f"not there: {paths}")

    async def until_listening(self, ports: tuple[int, ...]) -> None:
        async def listening() -> bool:
            return set(ports) <= taken()

        await self.until(listening, f"nobody listens at {ports}")


def connections() -> list[list[str]]:
    """The fields of the kernel's tables; the booted machine shares this one's network."""
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    return [line.split() for table in tables for line in table]


def taken() -> set[int]:
    """The ports at which somebody listens."""
    return {int(line[1].rpartition(":")[2], 16) for line in connections() if line[3] == "0A"}


def at_the_door(agent: str) -> bool:
    """Whether an agent that the environment names has a connection to the broker now."""
    held = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"HUSHGRID_AGENT__ID={agent}\0".encode() in (process / "environ").read_bytes():
                held |= {str(fd.readlink()) for fd in (process / "fd").iterdir()}
    doors = {f"{port:04X}" for port in PORTS}
    there = [line for line in connections() if line[3] == "01" and line[2].rpartition(":")[2] in doors]
    return any(f"socket:[{line[9]}]" in held for line in there)


def truth(row: dict[str, Any]) -> int:
    households = ConstructedHouseholds(SEED, INTERVAL)
    rounds = range(row["first_round"], row["last_round"] + 1)
    return sum(households.watt_hours(f"meter-{n}", r) for n in (1, 2, 3) for r in rounds)


def check_sums(rows: list[dict[str, Any]]) -> None:
    """Rounds without a hole, and every one the truth."""
    released = [row for row in rows if row["status"] == "released"]
    assert [row["watt_hours"] for row in released] == [truth(row) for row in released]
    assert all(row["included"] == row["expected"] for row in released)


async def mosquitto_is_there(site: Site, _said: Said) -> None:
    assert (await site.ask("command -v mosquitto >/dev/null"))[0] == 0


async def debians_broker_is_off(site: Site, _said: Said) -> None:
    assert (await site.ask("systemctl is-enabled mosquitto"))[1] == ["disabled"]
    assert await site.running() == []


async def installed(site: Site, _said: Said) -> None:
    for program in ("hushgrid", "hushgrid-configurator", "hushgrid-consumer", "hushgrid-meter", "hushgrid-ppn"):
        assert await site.ask(f"/opt/hushgrid/bin/{program} --version >/dev/null") == (0, []), program


async def on_the_path(site: Site, _said: Said) -> None:
    assert (await site.ask("hushgrid --version >/dev/null"))[0] == 0


async def deployed(site: Site, said: Said) -> None:
    """The page's table of what is in the directory, with owners and modes."""
    assert said.lines[0].endswith("authority, broker and 9 agents; tokens are good for 48 hours"), said.lines
    described = json.loads((site.grid / "deployment.json").read_text())
    assert re.search(r"[0-9a-f]{64}$", said.lines[1])[0] in json.dumps(described)
    for path in (site.grid / "authority", site.grid / "configurator/keys.sqlite", *site.grid.glob("agents/*/token")):
        assert private(path), path
    password = site.path("/etc/passwd").read_text()
    mosquitto = int(re.search(r"^mosquitto:x:(\d+)", password, re.MULTILINE)[1])
    assert {path.stat().st_uid for path in (site.grid / "broker").iterdir()} == {mosquitto}
    for agent in (site.grid / "agents").iterdir():
        assert {path.name for path in agent.iterdir()} == {"token", "broker-ca.pem"}, agent


def private(path: Path) -> bool:
    """Whether nobody but its owner gets at it."""
    return stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


async def doors_are_open(site: Site, _said: Said) -> None:
    await site.until_listening(PORTS)


async def authority_is_there(site: Site, _said: Said) -> None:
    await site.until_listening((AUTHORITY_PORT,))
    after = (site.grid / "authority/server.pem").read_bytes()
    assert after != site.before.get("server.pem")  # made anew by --host
    site.before["server.pem"] = after


async def key_is_filled_in(site: Site, _said: Said) -> None:
    described = (site.grid / "deployment.json").read_text()
    for name in ("ppn", "consumer", "meter"):
        key = re.search(
            r'^identity = "([0-9a-f]{64})"$', site.path(f"/etc/hushgrid/{name}.toml").read_text(), re.MULTILINE
        )
        assert key, name
        assert key[1] in described
        assert int(key[1], 16) > 0


def started(*agents: str) -> Callable[[Site, Said], Awaitable[None]]:
    """These agents run and have come through the broker's door."""

    async def check(site: Site, _said: Said) -> None:
        states = [site.grid / "configurator" if agent == "configurator" else site.agent(agent) for agent in agents]
        await site.until_there(*(state / "certificates" for state in states))
        assert all(private(state / "keys.sqlite") for state in states)

        async def inside() -> bool:
            return all(at_the_door(agent) for agent in agents if agent.startswith(("ppn", "meter")))

        await site.until(inside, f"not connected: {agents}")

    return check


async def nothing(_site: Site, _said: Said) -> None:
    """What follows shows it."""


async def three_rounds_later(site: Site, _said: Said) -> None:
    """A minute on a quiet machine; a busy one is waited for."""

    async def summed() -> bool:
        return len([row for row in site.results() if row["status"] == "released"]) >= 3

    await site.until(summed, "no three sums")


async def granted(_site: Site, said: Said) -> None:
    (line,) = [line for line in said.lines if "load" in line]
    assert "granted" in line, said.lines


async def three_true_rounds(site: Site, said: Said) -> None:
    rows = site.results()
    assert len(said.lines) == 3, said.lines
    assert len(rows) >= 3
    check_sums(rows)
    # A busy machine may miss a round, whose line then has no sum.
    sums = {str(row["first_round"]): str(row["watt_hours"]) if row["status"] == "released" else "" for row in rows}
    for line in said.lines:
        fields = line.split(",")
        assert any(first in fields and wh in fields for first, wh in sums.items()), (line, sums)


def newest(site: Site) -> Path:
    return max((site.grid / "agents").iterdir(), key=lambda path: path.stat().st_ctime)


async def secret_directory(site: Site, _said: Said) -> None:
    assert private(newest(site))
    assert list(newest(site).iterdir()) == []


async def token_is_written(site: Site, _said: Said) -> None:
    token = newest(site) / "token"
    assert private(token) or private(token.parent)
    assert re.fullmatch(r"\S{20,}\n", token.read_text()), token


async def shut_out(site: Site, said: Said) -> None:
    assert re.fullmatch(r"meter-4 is shut out \([1-9]\d* names\)", said.lines[0]), said.lines
    again = "hushgrid enrol token --state /var/lib/hushgrid/grid/authority --agent meter-4 --role meter 2>&1"
    status, refused = await site.ask(again)
    assert status == 2, refused
    assert "meter-4" in refused[-1]

    async def outside() -> bool:
        return not at_the_door("meter-4")

    await site.until(outside, "meter-4 is still connected")
    count = len(site.results())

    async def goes_on() -> bool:
        return len(site.results()) >= count + 2

    await site.until(goes_on, "no sums after meter-4 was shut out")
    check_sums(site.results())


async def agents_are_gone(site: Site, _said: Said) -> None:
    async def gone() -> bool:
        return [line for line in await site.running() if "hushgrid" in line.split()[1]] == []

    await site.until(gone, "agents did not stop")


async def broker_is_gone(site: Site, _said: Said) -> None:
    async def gone() -> bool:
        return await site.running() == []

    await site.until(gone, "Mosquitto did not stop")
    site.before["broker"] = key_material(site)


def key_material(site: Site) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((site.grid / "broker").glob("broker.*")))


async def brokers_certificate_is_new(site: Site, said: Said) -> None:
    assert said.lines[0].endswith("agents are given /var/lib/hushgrid/grid/authority/broker-ca.pem"), said.lines
    assert key_material(site) not in (b"", site.before["broker"])
    owners = {path.stat().st_uid for path in (site.grid / "broker").iterdir()}
    assert owners == {(site.grid / "broker").stat().st_uid}
    assert 0 not in owners


async def rules_are_written(site: Site, _said: Said) -> None:
    rules = site.path("/var/lib/hushgrid/rules")
    for door in ("meter", "ppn", "consumer", "configurator"):
        assert (rules / f"{door}.acl").read_bytes() == (site.grid / f"broker/{door}.acl").read_bytes()


async def certificates_are_there(site: Site, said: Said) -> None:
    assert re.fullmatch(
        r"meter-5: certificates for \S+ and \S+ in /var/lib/hushgrid/meter-5/certificates", said.lines[0]
    )
    assert list((site.agent("meter-5") / "certificates").iterdir())


#: How a command begins, and what it is to have done.
PROMISES: dict[str, Callable[[Site, Said], Awaitable[None]]] = {
    "apt-get update": nothing,
    "apt-get install -y mosquitto ": mosquitto_is_there,
    "systemctl disable --now mosquitto": debians_broker_is_off,
    "python3 -m venv /opt/hushgrid": nothing,
    "/opt/hushgrid/bin/pip install ": installed,
    "ln -s /opt/hushgrid/bin/hushgrid* ": on_the_path,
    "mkdir -p /etc/hushgrid /var/lib/hushgrid": nothing,
    "hushgrid enrol deployment ": deployed,
    "mosquitto -d ": doors_are_open,
    "hushgrid enrol serve ": authority_is_there,
    'sed -i "s/^identity = ': key_is_filled_in,
    "hushgrid-configurator run ": started("configurator"),
    "for n in 1 2 3 4; do HUSHGRID_AGENT__ID=ppn-$n ": started("ppn-1", "ppn-2", "ppn-3", "ppn-4"),
    "hushgrid-consumer run ": started("consumer-1"),
    "for n in 1 2 3; do HUSHGRID_AGENT__ID=meter-$n ": started("meter-1", "meter-2", "meter-3"),
    "sleep 60": three_rounds_later,
    "sleep 20": nothing,
    "sleep 5": nothing,
    "hushgrid-consumer rules ": granted,
    "tail -n 3 /var/lib/hushgrid/consumer-1/results.csv": three_true_rounds,
    "mkdir -m 700 /var/lib/hushgrid/grid/agents/": secret_directory,
    "hushgrid enrol token ": token_is_written,
    "HUSHGRID_AGENT__ID=meter-4 ": started("meter-4"),
    "hushgrid enrol revoke ": shut_out,
    "kill $(jobs -p)": agents_are_gone,
    "kill $(pidof mosquitto)": broker_is_gone,
    "hushgrid enrol broker ": brokers_certificate_is_new,
    "hushgrid enrol acl ": rules_are_written,
    "HUSHGRID_AGENT__ID=meter-5 ": certificates_are_there,
}


def promise(line: str) -> str:
    """How the table names a command; AssertionError for one that it does not know."""
    found = [begin for begin in PROMISES if line.startswith(begin)]
    assert len(found) == 1, f"{PAGE}: {line}: the test does not know what this is to do"
    return found[0]


def test_every_command_of_the_page_is_one_whose_effect_is_looked_at() -> None:
    typed = [line for block in blocks(PAGE) if not block.path for line in block.typed()]
    assert {promise(line) for line in typed} == set(PROMISES)
    assert [block.path for block in blocks(PAGE) if block.path] == [
        f"/etc/hushgrid/{name}.toml" for name in ("configurator", "ppn", "consumer", "meter")
    ]
    assert set(spoken(PAGE)) == set(SPOKEN)
    assert [test for test in SPOKEN.values() if not (ROOT / test).exists()] == []


def test_a_command_that_is_new_on_the_page_is_named() -> None:
    with pytest.raises(AssertionError, match="hushgrid enrol forget --agent meter-1: the test does not know"):
        promise("hushgrid enrol forget --agent meter-1")


async def test_the_page_is_typed_on_a_plain_debian_and_sums_are_the_truth(
    tmp_path: Path, absent: Callable[[str], None]
) -> None:
    if (reason := missing()) is not None:
        absent(reason)
    assert taken().isdisjoint({*PORTS, AUTHORITY_PORT}), "the page's ports are in use on this machine"
    root = debian(tmp_path / "debian")
    online(root)
    clone(root / "root/hushgrid")
    machine = Machine(root, tmp_path / "boot.log")
    try:
        await machine.boot("--resolv-conf=off")
        person = await Person.at(machine, tmp_path / "errors.log", home="/root/hushgrid")
        site = Site(machine, person, {})
        for block in blocks(PAGE):
            await play(site, block)
    finally:
        await machine.stop()
    errors = person.errors.read_text(errors="replace")
    assert "Traceback" not in errors, errors[-3000:]


async def play(site: Site, block: Block) -> None:
    """Write the file, or type the lines and look at what they did."""
    if block.path:
        site.path(block.path).write_text(block.text)
        return
    for line in block.typed():
        said = await site.person.types(line)
        began = time.monotonic()
        assert said.status == 0, f"{PAGE}: {line}\n{said.lines}\n{site.person.last_errors()}"
        await PROMISES[promise(line)](site, said)
        waited = time.monotonic() - began
        print(f"{said.seconds:6.1f} s, {waited:5.1f} s until it had done  {line}")  # noqa: T201 - pytest -s shows it
