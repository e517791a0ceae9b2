"""docs/architecture.md names every module of the product, and no module that is not there."""

from __future__ import annotations

import ast
import re

from support import ROOT
from support.references import modules

PAGE = (ROOT / "docs" / "architecture.md").read_text()
TABLES = PAGE.partition("\n## Every module, and what it decides\n")[2]


def named() -> list[str]:
    """Every module of the tables, by its path without the suffix."""
    found, folder = [], ""
    for line in TABLES.splitlines():
        if heading := re.match(r"### `([\w/]+)/`: ", line):
            folder = heading[1]
        elif row := re.match(r"\| `(\w+)` \| \S", line):
            found.append(f"{folder}/{row[1]}")
    return found


def there() -> list[str]:
    """Every module that does something: a package's own file counts when there is more in it than a docstring."""
    found = []
    for path in modules().values():
        empty = path.stem == "__init__" and len(ast.parse(path.read_text()).body) <= 1
        if not empty:
            found.append(str(path.relative_to(ROOT).with_suffix("")))
    return found


def test_every_module_is_named_once_and_every_named_module_is_there():
    assert sorted(named()) == sorted(there())


def test_no_line_about_a_module_is_longer_than_a_line():
    assert [line for line in TABLES.splitlines() if len(line) > 120] == []


def test_the_ten_questions_are_answered():
    rows = PAGE.partition("\n## Ten questions\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\| [A-Z].*\? \| \S", rows, re.MULTILINE)) == 10


def test_the_drawings_are_there_and_load_nothing_from_elsewhere():
    figures = re.findall(r"!\[[^\]]+\]\((figures/\w+\.svg)\)", PAGE)
    assert figures == ["figures/system.svg", "figures/round.svg", "figures/plan.svg"]
    for figure in figures:
        text = (ROOT / "docs" / figure).read_text()
        assert re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"], figure
        assert "<title" in text, figure
