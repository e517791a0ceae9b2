"""Every command that a page tells people to type is one that its program understands; a few of them are played, all with --long."""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
import yaml
from support import ROOT
from support.pages import PAGES, Typed, commands, everywhere

import configurator.commands
import consumer_node.commands
import meter_agent.commands
import privacy_gateway.commands
from hushgrid.shell.command_line import Command, understood
from testbed.command import main

ALL = everywhere()
ROLES = {
    "hushgrid-configurator": configurator.commands.COMMANDS,
    "hushgrid-consumer": consumer_node.commands.COMMANDS,
    "hushgrid-gateway": privacy_gateway.commands.COMMANDS,
    "hushgrid-meter": meter_agent.commands.COMMANDS,
    "hushgrid-ppn": (),
}
#: How many of the testbeds are played without --long, drawn from the commit.
PART = 3
TESTBEDS = [t for t in ALL if t.program == "hushgrid" and t.arguments[0] == "testbed"]
#: Not those that need Docker, never end, or read a file that is not part of the project.
PLAYED = [t for t in TESTBEDS if not {"docker", "--help", "--open", "FILE"} & set(t.arguments)]


def parse(command: click.Command, arguments: list[str], parent: click.Context | None = None) -> None:
    """As click does it, but for running it: click.UsageError for what is not understood."""
    context = command.make_context(command.name, arguments, parent=parent)
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        if rest:
            _, below, rest = command.resolve_command(context, rest)
            assert below is not None
            parse(below, rest, context)


def check_understood(typed: Typed) -> None:
    """Fails where the program would not understand it."""
    if typed.program == "hushgrid":
        # Files that a person brings are named in capitals: RULES.toml.
        brought = [re.sub(r"^[A-Z]+\.(toml|csv)$", "examples/households.csv", word) for word in typed.arguments]
        with contextlib.suppress(click.exceptions.Exit):  # help
            parse(main, brought)
    elif typed.program in ROLES:
        run = Command("run", "", lambda _: 0)
        understood(typed.program, "", [run, *ROLES[typed.program]], typed.arguments)
    elif typed.program == "make":
        made = [f"{name}={value}" for name, value in typed.settings.items()]
        done = subprocess.run(
            ["make", "-n", *typed.arguments, *made], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    elif typed.program == "docker-compose":
        services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
        named = [word for word in typed.arguments if word in ("check", "experiments", "dashboard")]
        named += [word.partition("=")[0] for word in typed.arguments if re.fullmatch(r"[a-z]+=\d+", word)]
        assert set(named) <= services.keys() | {"dashboard"}
        text = (ROOT / "docker-compose.yml").read_text()
        assert [name for name in typed.settings if name not in text] == []
    elif typed.program == "kubectl":
        assert [word for word in typed.arguments if word.startswith("deploy/") and not (ROOT / word).exists()] == []


@pytest.mark.parametrize("typed", ALL, ids=str)
def test_a_command_of_a_page_is_understood(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    check_understood(typed)


def test_every_page_with_commands_is_looked_at() -> None:
    assert {typed.page for typed in ALL} >= {
        "README.md",
        "docs/operations.md",
        "docs/containers.md",
        "deploy/raspberry-pi/README.md",
    }
    pages = [str(page.relative_to(ROOT)) for page in (*ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*/README.md"))]
    without = [page for page in pages if page not in PAGES and commands(page)]
    assert without == []


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("hushgrid", ("testbed", "--metres", "20")),
        ("hushgrid", ("testbed", "--loss", "much")),
        ("hushgrid", ("enrol", "deploy")),
        ("hushgrid-meter", ("chek", "--config", "meter.toml")),
        ("hushgrid-ppn", ()),
        ("make", ("tset",)),
    ],
)
def test_a_command_that_is_wrong_is_noticed(program: str, arguments: tuple[str, ...]) -> None:
    with pytest.raises((click.UsageError, SystemExit, AssertionError)):
        check_understood(Typed("page", 1, {}, program, arguments))


@pytest.fixture(scope="module")
def drawn(pytestconfig: pytest.Config) -> list[Typed]:
    """The testbeds that are played with this commit."""
    from conftest import commit  # noqa: PLC0415

    return PLAYED if pytestconfig.getoption("--long") else random.Random(commit()).sample(PLAYED, PART)


@pytest.mark.system
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("mosquitto")
def test_what_pages_show_of_the_testbed_is_played_and_is_right(drawn: list[Typed], tmp_path: Path) -> None:
    for at, typed in enumerate(drawn):
        began = time.monotonic()
        report = tmp_path / f"{at}.json"
        done = subprocess.run(
            [sys.executable, "-m", "testbed", *typed.arguments, "--json", str(report)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=900, env={**os.environ, "COLUMNS": "80"},
        )  # fmt: skip
        print(f"{time.monotonic() - began:6.1f} s  {typed}")  # noqa: T201 - pytest -s shows it
        assert done.returncode == typed.status, f"{typed}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert report.exists()
