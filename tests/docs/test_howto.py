"""The pages of docs/howto are walked: what they change is changed in a copy of the product, what they try is tried there.

The line before a block says what it is: "A new file `PATH`:", "In `PATH`, below `LINE`:", "In `PATH`, instead of `LINE`:".
Any other block is run, a page's Python blocks of one section one after another.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from support import ROOT
from support.references import PRODUCT

HOWTO = ROOT / "docs" / "howto"
_BLOCK = re.compile(r"^(?P<before>[^\n]*)\n\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_NEW = re.compile(r"A new file `([^`]+)`:")
_CHANGE = re.compile(r"In `([^`]+)`, (below|instead of) `([^`]+)`:")


class Block(NamedTuple):
    before: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = [Block(*match.group("before", "language", "text")) for match in _BLOCK.finditer(text)]
    assert len(found) == text.count("\n```") // 2, "a block that is not walked"
    return found


@pytest.fixture
def copy(tmp_path) -> Path:
    """The product, to be changed."""
    for package in PRODUCT:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def change(file: Path, how: str, line: str, text: str) -> None:
    lines = file.read_text().split("\n")
    at = [number for number, each in enumerate(lines) if each.strip() == line]
    assert len(at) == 1, f"{file.name}: {len(at)} lines are {line!r}"
    lines[at[0] + (how == "below") : at[0] + 1] = text.rstrip("\n").split("\n")
    file.write_text("\n".join(lines))


def run(command: list[str], copy: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def walk(page: Path, copy: Path) -> None:
    tried = ""
    for before, language, text in blocks(page):
        if new := _NEW.fullmatch(before):
            assert not (copy / new[1]).exists(), new[1]
            (copy / new[1]).write_text(text)
        elif changed := _CHANGE.fullmatch(before):
            change(copy / changed[1], changed[2], changed[3], text)
        elif language == "python":
            tried += text
        else:
            (program, *arguments) = shlex.split(text)
            assert (language, program) == ("sh", "hushgrid"), text
            run([sys.executable, "-c", "from testbed.command import main; main()", *arguments], copy)
    if tried:
        run([sys.executable, "-c", tried], copy)


@pytest.mark.parametrize("page", sorted(HOWTO.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_that_is_followed_word_by_word_works(page, copy):
    walk(page, copy)


def test_a_page_whose_place_is_gone_is_noticed(copy, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("In `hushgrid/core/recovery.py`, below `GONE = 1`:\n\n```python\n    NEW = 2\n```\n")
    with pytest.raises(AssertionError, match="0 lines are"):
        walk(page, copy)
