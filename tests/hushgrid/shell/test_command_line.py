"""One style of command line: help, version, errors and Ctrl-C, the same for every program."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

import hushgrid

PROGRAMS = {
    "testbed": ("hushgrid", {"ask", "audit", "audit-log", "convert", "enrol", "experiment", "plan", "testbed"}),
    "meter_agent": ("hushgrid-meter", {"run", "check", "read", "replay", "consent", "consents", "sign-in"}),
    "ppn_node": ("hushgrid-ppn", {"run"}),
    "consumer_node": ("hushgrid-consumer", {"run", "request", "withdraw", "rules", "results"}),
    "configurator": ("hushgrid-configurator", {"run", "token", "identity"}),
    "privacy_gateway": ("hushgrid-gateway", {"run", "client"}),
}


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "COLUMNS": "80"}
    )


@pytest.mark.parametrize("module", PROGRAMS)
@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_help_names_every_command_and_fits_a_terminal(module: str, asked: str) -> None:
    name, commands = PROGRAMS[module]
    said = run(module, asked)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("Usage: ")
    listed = said.stdout.partition("\nCommands:\n")[2]
    assert set(re.findall(r"^ {2,4}([a-z-]+)  ", listed, re.MULTILINE)) == commands
    assert "--version" in said.stdout, name
    assert max(map(len, said.stdout.splitlines())) <= 80


@pytest.mark.parametrize("module", PROGRAMS)
def test_version(module: str) -> None:
    said = run(module, "--version")
    assert (said.returncode, said.stdout) == (0, f"{PROGRAMS[module][0]}, version {hushgrid.__version__}\n")


@pytest.mark.parametrize("module", PROGRAMS)
@pytest.mark.parametrize("asked", [["gather"], ["--colour"]])
def test_what_is_not_understood_is_named_and_where_help_is(module: str, asked: list[str]) -> None:
    said = run(module, *asked)
    assert said.returncode == 2
    assert re.search(r"^Usage: .*\nTry '.*-h.*' for help\.\n\nError: .*\.$", said.stderr, re.MULTILINE | re.DOTALL)
    assert asked[0].lstrip("-") in said.stderr or "--config" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize(
    ("module", "command"), [(m, c) for m, (_, cs) in PROGRAMS.items() if m != "testbed" for c in sorted(cs)]
)
def test_every_command_of_a_role_has_help_and_names_a_missing_configuration(module: str, command: str) -> None:
    said = run(module, command, "--help")
    assert said.returncode == 0
    assert "--config FILE.toml" in said.stdout
    missing = run(module, command)
    assert missing.returncode == 2
    assert "--config" in missing.stderr


@pytest.mark.parametrize("module", PROGRAMS)
def test_an_interrupt_while_a_program_is_loaded_ends_it_without_a_word(module: str) -> None:
    """The signal comes while the modules behind the first lines are imported: at the import of asyncio, whoever asks for it."""
    code = (
        "import builtins, os, runpy, signal, sys\n"
        "real = builtins.__import__\n"
        "def watched(name, *rest, **more):\n"
        "    if name == 'asyncio':\n"
        "        builtins.__import__ = real\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = watched\n"
        f"sys.argv = ['program', '--help']\n"
        f"runpy.run_module({module!r}, run_name='__main__')\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert said.returncode == -signal.SIGINT
    assert said.stdout + said.stderr == ""
