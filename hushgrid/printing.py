"""What commands for people print: texts as they are written, tables that fit, a few colours. Nothing of it is markup.

A terminal says how wide it is, or COLUMNS does. What goes into a file or another program is not folded at all.
"""

from __future__ import annotations

import os
from typing import TextIO

from rich.console import Console
from rich.text import Text

from hushgrid.tables import Cell, Sheet, Style, laid_out, wrapped


class Terminal:
    """Standard output, or standard error. columns, colours: instead of what the terminal says of itself."""

    def __init__(
        self,
        *,
        errors: bool = False,
        file: TextIO | None = None,
        columns: int | None = None,
        colours: bool | None = None,
    ) -> None:
        self._console = Console(
            file=file, stderr=errors, width=columns, force_terminal=colours, markup=False, highlight=False, emoji=False
        )
        said = columns is not None or os.environ.get("COLUMNS", "").isdigit()
        self._folds = said or self._console.is_terminal

    @property
    def columns(self) -> int | None:
        """How long a line may be; None where nothing folds it."""
        return self._console.width if self._folds else None

    def say(self, text: str, style: Style = Style.PLAIN) -> None:
        """A text, its lines folded between words only."""
        for line in text.split("\n"):
            for part in wrapped(line, self.columns):
                self._print([Cell(part, style)])

    def show(self, sheet: Sheet) -> None:
        """A table, with an empty line after it."""
        for line in laid_out(sheet, self.columns):
            self._print(line)
        self._print([])

    def _print(self, line: list[Cell]) -> None:
        text = Text(no_wrap=True, end="")
        for cell in line:
            text.append(cell.text, cell.style.value)
        self._console.print(text, soft_wrap=True)
