"""Tables fit, wrap or turn, and lose nothing; what is printed is what was written."""

from __future__ import annotations

import ast
import io
import random
import re

import pytest
from support import ROOT
from support.references import modules

from hushgrid.printing import Terminal
from hushgrid.tables import Cell, Heading, Sheet, Style, laid_out, numbers, words, wrapped

#: Styles that can be read on black and on white: no yellow, no white, no bright colour, no background.
READABLE = {"", "bold", "dim", "green", "magenta", "bold red"}
REASON = "below the coverage floor: 3 of 40 readings, 32 are needed"


def lines_of(sheet: Sheet, columns: int | None) -> list[str]:
    return ["".join(cell.text for cell in line) for line in laid_out(sheet, columns)]


def sheet_of(rng: random.Random, rows: int, count: int) -> Sheet:
    headings = [
        Heading(f"{rng.choice(('name', 'long title', 'x'))} {n}", right=rng.random() < 0.7) for n in range(count)
    ]
    found = Sheet("A title", [*headings, Heading("why", wraps=True)])
    for _ in range(rows):
        cells = [f"{rng.randint(0, 10 ** rng.randint(1, 12)):,}" for _ in range(count)]
        found.add(*cells, rng.choice(("", "exact", REASON)))
    return found


@pytest.mark.parametrize("columns", [60, 80, 200, None])
@pytest.mark.parametrize("seed", range(40))
def test_every_number_stands_whole_in_lines_that_fit(seed: int, columns: int | None) -> None:
    rng = random.Random(seed)
    sheet = sheet_of(rng, rng.randint(0, 12), rng.randint(1, 14))
    lines = lines_of(sheet, columns)
    assert columns is None or max(map(len, lines)) <= columns
    shown = " ".join(lines).split()
    for row in sheet.rows:
        for cell in row:
            for word in cell.text.split():
                assert shown.count(word) >= sum(cell.text.split().count(word) for cell in row), (word, lines)
    for heading in sheet.headings:
        assert all(word in shown for word in heading.title.split())


def test_a_table_that_fits_stands_upright_and_numbers_under_one_another() -> None:
    sheet = Sheet("T", [*words("name"), *numbers("Wh")], "said below")
    sheet.add("a", "7")
    sheet.add("long", "1,234")
    assert lines_of(sheet, 80) == ["T", "name     Wh", "----  -----", "a         7", "long  1,234", "said below"]


def test_texts_go_on_in_the_next_line_beside_numbers_that_do_not() -> None:
    sheet = Sheet("", [*numbers("readings"), Heading("verdict", wraps=True)])
    sheet.add("3 of 40", REASON)
    assert lines_of(sheet, 40) == [
        "readings  verdict",
        "--------  ------------------------------",
        " 3 of 40  below the coverage floor: 3 of",
        "          40 readings, 32 are needed",
    ]


def test_what_does_not_fit_turns_row_by_row_and_block_by_block() -> None:
    sheet = Sheet("", numbers("first", "second", "third"))
    for row in (("1,000,000", "2,000,000", "3,000,000"), ("4", "5", "6"), ("7,000,000", "8", "9")):
        sheet.add(*row)
    assert lines_of(sheet, 20) == [
        "--------------------",
        "first   1,000,000  4",
        "second  2,000,000  5",
        "third   3,000,000  6",
        "-----------------",
        "first   7,000,000",
        "second          8",
        "third           9",
    ]


def test_a_row_has_a_cell_for_every_heading() -> None:
    with pytest.raises(ValueError, match="1 cells under 2 headings"):
        Sheet("", numbers("a", "b")).add("1")


def test_a_path_sticks_out_whole_and_an_indent_is_kept() -> None:
    path = "/a/very-long/path-with-hyphens/" + "x" * 60
    assert wrapped(f"written: {path}", 40) == ["written:", path]
    assert wrapped("  refused  one because of two", 20) == ["  refused  one", "  because of two"]
    assert wrapped("x " * 100, None) == ["x " * 100]


@pytest.mark.parametrize("text", ["refused [because of a, b]", "[red]x[/y]", "[/]", ":smile: [link=x]y", "\\[x]"])
def test_no_text_is_markup(text: str) -> None:
    for colours in (False, True):
        out = io.StringIO()
        terminal = Terminal(file=out, columns=80, colours=colours)
        terminal.say(text)
        sheet = Sheet(text, words(text), text)
        sheet.add(Cell(text, Style.GOOD))
        terminal.show(sheet)
        assert re.sub(r"\x1b\[[\d;]*m", "", out.getvalue()).count(text) == 5


def test_what_is_not_for_a_terminal_is_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    out = io.StringIO()
    terminal = Terminal(file=out)
    sheet = Sheet("", numbers(*(f"column {n}" for n in range(40))))
    sheet.add(*("1,234,567" for _ in range(40)))
    terminal.show(sheet)
    terminal.say("word " * 100)
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[2].split() == ["1,234,567"] * 40
    monkeypatch.setenv("COLUMNS", "70")
    assert Terminal(file=out).columns == 70


def test_the_styles_can_be_read_on_a_light_background_too() -> None:
    assert {style.value for style in Style} <= READABLE
    out = io.StringIO()
    terminal = Terminal(file=out, columns=80, colours=True)
    for style in Style:
        terminal.say("text", style)
    allowed = {"0", "1", "2", "31", "32", "35"}
    assert {code for codes in re.findall(r"\x1b\[([\d;]*)m", out.getvalue()) for code in codes.split(";")} <= allowed


def test_only_one_module_knows_what_colours_a_terminal() -> None:
    printing = ROOT / "hushgrid" / "printing.py"
    for path in modules().values():
        if path == printing:
            continue
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
                assert not any(name.partition(".")[0] == "rich" for name in names), path
            called = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(called, ast.Attribute) and called.attr in {"style", "secho"}), path
