"""How a table is laid out so that it fits: whole, with its texts wrapped, or turned. Nothing is ever cut or dropped.

Pure: lines in, lines out. What is printed, and in which colours, is `hushgrid.printing`.
"""

from __future__ import annotations

import enum
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

_GAP, _NARROW_GAP = "  ", " "
#: A text beside numbers is wrapped to no less, in a table that is not turned.
_LEAST_TEXT = 16


class Style(enum.StrEnum):
    """What is written so. These can be read on a dark background and on a light one."""

    PLAIN = ""
    TITLE = "bold"
    FAINT = "dim"
    GOOD = "green"
    ODD = "magenta"
    BAD = "bold red"


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one place, in one style."""

    text: str
    style: Style = Style.PLAIN


@dataclass(frozen=True, slots=True)
class Heading:
    """One column. right: its numbers stand under one another; wraps: a text that may go on in the next line."""

    title: str
    right: bool = False
    wraps: bool = False


Line = list[Cell]


@dataclass(slots=True)
class Sheet:
    """A table before it is laid out."""

    title: str
    headings: Sequence[Heading]
    caption: str = ""
    rows: list[list[Cell]] = field(default_factory=list)

    def add(self, *cells: str | Cell) -> None:
        """One row, a cell for each heading. ValueError for any other number of them."""
        if len(cells) != len(self.headings):
            raise ValueError(f"{len(cells)} cells under {len(self.headings)} headings")
        self.rows.append([_in_one_line(cell) for cell in cells])


def numbers(*titles: str) -> list[Heading]:
    """Columns of numbers."""
    return [Heading(title, right=True) for title in titles]


def words(*titles: str) -> list[Heading]:
    """Columns of names, which are never wrapped."""
    return [Heading(title) for title in titles]


def laid_out(sheet: Sheet, columns: int | None) -> list[Line]:
    """The lines of a table on a terminal of so many columns; None: as wide as it is."""
    natural = [
        max(len(heading.title), *(len(row[at].text) for row in sheet.rows), 0)
        for at, heading in enumerate(sheet.headings)
    ]
    body = _upright(sheet, natural, _GAP) if columns is None else _fitted(sheet, natural, columns)
    title = [[Cell(line, Style.TITLE)] for line in wrapped(sheet.title, columns)] if sheet.title else []
    caption = [[Cell(line, Style.FAINT)] for line in wrapped(sheet.caption, columns)] if sheet.caption else []
    return [*title, *body, *caption]


def wrapped(text: str, columns: int | None) -> list[str]:
    """A text in lines that fit; a word longer than a line, such as a path, sticks out whole."""
    if columns is None or len(text) <= columns:
        return [text]
    indent = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text, max(columns, 1), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [text]


def _in_one_line(cell: str | Cell) -> Cell:
    found = Cell(cell) if isinstance(cell, str) else cell
    return Cell(" ".join(found.text.split("\n")), found.style)


def _fitted(sheet: Sheet, natural: Sequence[int], columns: int) -> list[Line]:
    for gap in (_GAP, _NARROW_GAP):
        widths = _squeezed(sheet, natural, columns, gap)
        if widths is not None:
            return _upright(sheet, widths, gap)
    return _turned(sheet, columns)


def _squeezed(sheet: Sheet, natural: Sequence[int], columns: int, gap: str) -> list[int] | None:
    """Widths that fit: headings and texts go on in the next line where they must. None when numbers or names would be cut."""
    least = []
    for at, heading in enumerate(sheet.headings):
        texts = [row[at].text for row in sheet.rows]
        inside = max([_least_text(text) if heading.wraps else len(text) for text in texts], default=0)
        least.append(max(_longest_word(heading.title), inside))
    left = columns - sum(least) - len(gap) * (len(least) - 1)
    if left < 0:
        return None
    for at in sorted(range(len(least)), key=lambda at: not sheet.headings[at].wraps):
        grown = min(natural[at] - least[at], left)
        least[at] += grown
        left -= grown
    return least


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _least_text(text: str) -> int:
    return max(min(len(text), _LEAST_TEXT), _longest_word(text))


def _upright(sheet: Sheet, widths: Sequence[int], gap: str) -> list[Line]:
    titles = [Cell(heading.title, Style.TITLE) for heading in sheet.headings]
    rule: Line = [Cell(gap.join("-" * width for width in widths), Style.FAINT)]
    right = [heading.right for heading in sheet.headings]
    lines = [*_row(titles, widths, right, gap), rule]
    for row in sheet.rows:
        lines += _row(row, widths, right, gap)
    return lines


def _row(cells: Sequence[Cell], widths: Sequence[int], right: Sequence[bool], gap: str) -> list[Line]:
    """One row of cells, as many lines as its longest text takes."""
    texts = [wrapped(cell.text, width) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for number in range(max(map(len, texts), default=0)):
        line: Line = []
        for cell, lines_of_it, width, at_right in zip(cells, texts, widths, right, strict=True):
            text = lines_of_it[number] if number < len(lines_of_it) else ""
            line.append(Cell(f"{text:>{width}}" if at_right else f"{text:<{width}}", cell.style))
            line.append(Cell(gap))
        while line and not line[-1].text.strip():
            line.pop()
        lines.append([*line[:-1], *(Cell(last.text.rstrip(), last.style) for last in line[-1:])])
    return lines


def _turned(sheet: Sheet, columns: int) -> list[Line]:
    """Rows become columns, as many side by side as fit, below one another where they do not."""
    titles = max(map(len, (heading.title for heading in sheet.headings)), default=0)
    room = columns - titles
    blocks: list[list[tuple[list[Cell], int]]] = []
    taken = room
    for row in sheet.rows:
        width = max(len(cell.text) for cell in row)
        if len(_GAP) + width > room:
            width = max(1, room - len(_GAP))
        taken += len(_GAP) + width
        if taken > room or not blocks:
            blocks.append([])
            taken = len(_GAP) + width
        blocks[-1].append((row, width))
    lines: list[Line] = []
    for block in blocks:
        widths = [titles, *(width for _, width in block)]
        rule = "-" * (sum(widths) + len(_GAP) * len(block))
        lines.append([Cell(rule, Style.FAINT)])
        for at, heading in enumerate(sheet.headings):
            cells = [Cell(heading.title, Style.TITLE), *(row[at] for row, _ in block)]
            fits = [len(cell.text) <= width for cell, width in zip(cells, widths, strict=True)]
            lines += _row(cells, widths, [False, *fits[1:]], _GAP)
    return lines
