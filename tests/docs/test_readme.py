"""README.md: every command has a test that plays it; the set-up and the demonstrations on a plain Debian."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT
from support.machines.plain_debian import Machine, Person, Said, clone, debian, missing, online
from support.pages import commands, spoken

PAGE = "README.md"
HERE = "here"
#: How a command begins, and what plays it: HERE, or a file that exists. The first that fits.
PLAYED = {
    "apt-get install git make python3 python3-venv": HERE,
    "make demo DATA=examples/households.csv": HERE,
    "make demo": HERE,
    "make test": ".ci/run",
    "docker-compose up --exit-code-from check": "tests/deployment/test_compose.py",
    "hushgrid testbed --runtime docker ": "tests/deployment/test_faults.py",
    "hushgrid testbed --open": "tests/testbed/opened/test_open.py",
    "hushgrid testbed ": "tests/docs/test_commands.py",
    "hushgrid-configurator identity ": HERE,
    "hushgrid-configurator token ": HERE,
    "hushgrid-meter check ": HERE,
    "hushgrid-configurator --config": "tests/docs/test_operations.py",
    "hushgrid-ppn --config": "tests/docs/test_operations.py",
    "hushgrid-consumer --config": "tests/docs/test_operations.py",
    "hushgrid-meter --config": "tests/docs/test_operations.py",
    "hushgrid-consumer request ": "tests/testbed/whole/test_live_rules.py",
    # What sentences name.
    "hushgrid plan RULES.toml": "tests/configurator/offline",
    "hushgrid audit RULES.toml": "tests/configurator/offline",
    "hushgrid experiment ": "tests/experiments",
    "python examples/one_round.py": "tests/docs/test_one_round.py",
    "make bench": "benchmarks",
}
#: Where make puts the programs.
MADE = ".venv/bin/"


def player(command: str) -> str:
    """What plays a command; AssertionError for one that nothing plays."""
    plain = command.removeprefix(MADE).strip()
    found = [by for begin, by in PLAYED.items() if f"{plain} ".startswith(begin)]
    assert found, f"{PAGE}: {command}: no test plays it"
    return found[0]


def typed() -> list[str]:
    """Every command of the page, in its order, as it stands there without what is said behind it."""
    there = {typed.line for typed in commands(PAGE)}
    found = []
    for number, line in enumerate((ROOT / PAGE).read_text(encoding="utf-8").splitlines(), start=1):
        if number in there:
            found.append(re.sub(r"\s+# .*$", "", line.strip()))
    return found


def test_every_command_of_the_page_is_played() -> None:
    players = {player(command) for command in (*typed(), *spoken(PAGE))}
    assert players == set(PLAYED.values())
    assert [name for name in players - {HERE} if not (ROOT / name).exists()] == []
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_a_command_that_nothing_plays_is_named() -> None:
    with pytest.raises(AssertionError, match="hushgrid forget --all: no test plays it"):
        player("hushgrid forget --all")


def exact(said: Said) -> None:
    """As the page shows it: one line per sum, and what it comes to."""
    assert "Every released sum equals the truth to the watt-hour." in said.lines, said.lines[-5:]
    assert any(re.match(r"\d+ windows: [1-9]\d* released, 0 wrong, ", line) for line in said.lines), said.lines[-5:]


def key(said: Said) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", said.lines[-1]), said.lines


def token(said: Said) -> None:
    assert re.fullmatch(r"\S{20,}", said.lines[-1]), said.lines


@pytest.mark.system
@pytest.mark.machine
@pytest.mark.timeout(3000)
async def test_the_set_up_and_the_demonstrations_are_typed_on_a_plain_debian(
    tmp_path: Path, absent: Callable[[str], None], pytestconfig: pytest.Config
) -> None:
    """Without --long the set-up and no more; the demonstrations install and play for minutes."""
    if (reason := missing()) is not None:
        absent(reason)
    root = debian(tmp_path / "debian")
    online(root)
    clone(root / "root/hushgrid")
    machine = Machine(root, tmp_path / "boot.log")
    lines = [line for line in typed() if player(line) == HERE]
    try:
        await machine.boot("--resolv-conf=off")
        person = await Person.at(machine, tmp_path / "errors.log", home="/root/hushgrid")
        assert (await person.types("apt-get update")).status == 0  # a fresh installation has done so
        for line in lines if pytestconfig.getoption("--long") else lines[:1]:
            await play(person, root, line)
    finally:
        await machine.stop()


async def play(person: Person, root: Path, line: str) -> None:
    """Type it; where the page means what is installed, make has put it into .venv. Samples are the configurations."""
    installed = line.split(maxsplit=1)[0].startswith("hushgrid")
    for name in ("configurator.toml",):
        sample = (ROOT / "deploy/samples" / name).read_text()
        (root / "root/hushgrid" / name).write_text(sample)
    said = await person.types(f"{MADE}{line}" if installed else line, answer="y", seconds=900)
    print(f"{said.seconds:6.1f} s  {line}")  # noqa: T201 - pytest -s shows it
    if line.startswith("hushgrid-meter check"):  # "writes a commented sample if there is none", and stops there
        sample = root / "root/hushgrid/meter.toml"
        assert said.status == 2
        assert sample.read_bytes() == (ROOT / "meter_agent/sample.toml").read_bytes()
        assert stat.S_IMODE(sample.stat().st_mode) & 0o007 == 0
        return
    assert said.status == 0, f"{PAGE}: {line}\n{said.lines[-10:]}\n{person.last_errors()}"
    if line.startswith("make demo"):
        exact(said)
    elif " identity " in line:
        key(said)
    elif " token " in line:
        token(said)
    else:
        assert (root / "usr/bin/git").exists()
