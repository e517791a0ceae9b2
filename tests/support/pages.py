"""The commands that pages tell people to type, taken from the pages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from support import ROOT

PAGES = (
    "README.md", "CONTRIBUTING.md", "docs/operations.md", "docs/results.md", "docs/containers.md", "docs/brokers.md", "docs/scaling.md",
    "docs/configurator.md", "docs/pairwise.md", "docs/reproduction.md", "docs/faq.md", "docs/demand-response.md", "docs/grid.md",
    "docs/theft.md", "docs/customers.md", "docs/gateway.md", "deploy/raspberry-pi/README.md",
)  # fmt: skip
#: What a line of an indented block begins with when it is to be typed.
PROGRAMS = frozenset({
    "make", "hushgrid", "hushgrid-configurator", "hushgrid-consumer", "hushgrid-gateway", "hushgrid-meter", "hushgrid-ppn",
    "docker-compose", "mosquitto",
    "kubectl", "sudo", "scp", "ssh", "journalctl", "systemctl", "apt", "apt-get", "dpkg", "pytest", "python",
})  # fmt: skip
_SETTING = re.compile(r"[A-Z][A-Z_]*=\S*")
#: What the shell takes from the end of a line: where the output goes, and that nobody waits.
_SHELL = re.compile(r"\s+(&|>\s*\S+)$")
#: A process's number, which the shell puts in.
_PROCESS = re.compile(r"\$\(pidof [^)]*\)")
_COMMENT = re.compile(r"(^|\s)#\s.*$")
#: How a page says in the comment behind a command that it does not end with 0.
_STATUS = re.compile(r"#\s.*\bexit status (\d+)")


class Typed(NamedTuple):
    """One command. settings: what stands before the program, such as ROUNDS=24; status: what it ends with, as the page says."""

    page: str
    line: int
    settings: dict[str, str]
    program: str
    arguments: tuple[str, ...]
    status: int = 0

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.program} {shlex.join(self.arguments)}"


def commands(page: str) -> list[Typed]:
    """Every command of a page's indented and fenced blocks; what is continued with a backslash is one."""
    found, fenced, begun, text, status = [], False, 0, "", 0
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            fenced = not fenced
        if not (fenced or line.startswith("    ")):
            text = ""
            continue
        begun = begun if text else number
        said = _STATUS.search(line)
        status = int(said[1]) if said else 0
        text += _COMMENT.sub("", line).strip()
        if text.endswith("\\"):
            text = text[:-1]
            continue
        found += [typed for part in text.split("&&") if (typed := _typed(page, begun, part, status))]
        text = ""
    return found


def _typed(page: str, line: int, text: str, status: int) -> Typed | None:
    try:
        words = shlex.split(_PROCESS.sub("1", _SHELL.sub("", text.strip())))
    except ValueError:
        return None
    settings = {}
    while words and _SETTING.fullmatch(words[0]):
        name, _, value = words.pop(0).partition("=")
        settings[name] = value
    if not words or Path(words[0]).name not in PROGRAMS:
        return None
    return Typed(page, line, settings, Path(words[0]).name, tuple(words[1:]), status)


def everywhere() -> list[Typed]:
    """All commands of all pages."""
    return [typed for page in PAGES for typed in commands(page)]


class Block(NamedTuple):
    """An indented block. path: the file that the line before it names, as in "PPNs, `/etc/ppn.toml`:"; "" for lines to type."""

    page: str
    line: int
    path: str
    text: str

    def typed(self) -> list[str]:
        """Its lines, one by one."""
        return [line for line in self.text.splitlines() if line]


def blocks(page: str) -> list[Block]:
    """Every indented block of a page in its order, files and lines to type."""
    found, inside, begun, before = [], [], 0, ""
    for number, line in enumerate([*(ROOT / page).read_text(encoding="utf-8").splitlines(), "end"], start=1):
        if line.startswith("    "):
            begun = begun if inside else number
            inside.append(line[4:])
        elif line and inside:
            named = re.search(r"`(/[^` ]+)`:$", before)
            found.append(Block(page, begun, named[1] if named else "", "\n".join(inside).rstrip() + "\n"))
            inside, before = [], line
        elif inside:
            inside.append("")
        elif line:
            before = line
    return found


def spoken(page: str) -> list[str]:
    """The commands that a page names in its sentences: `make deb`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    words = [" ".join(named.split()) for named in re.findall(r"`([^`]+)`", prose)]
    return [named for named in words if " " in named and Path(named.split()[0]).name in PROGRAMS]
