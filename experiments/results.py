"""Where an experiment leaves what it found: out/NAME/, or the folder of --out. A former run is never written over."""

from __future__ import annotations

import csv
import importlib.util
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from hushgrid.errors import ConfigurationError
from hushgrid.extras import how_to_install
from hushgrid.outputs import check_new, write_json, write_new
from hushgrid.printing import Terminal

_Command = TypeVar("_Command", bound=Callable[..., Any])


def result_options(name: str) -> Callable[[_Command], _Command]:
    """The options --out and --json of an experiment; the command takes them as `out` and `report`."""
    out = click.option(
        "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("out") / name, show_default=True,
        help="A folder, new or empty: the rows as JSON and CSV, and the figures.",
    )  # fmt: skip
    report = click.option(
        "--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON there as well."
    )
    return lambda command: out(report(command))


class ResultFolder:
    """The files of one run, named after the experiment. Made with the first file; `written` are all."""

    def __init__(self, name: str, out: Path, report: Path | None = None) -> None:
        """ConfigurationError, before anything takes time, where nothing can be written or a former run's files are."""
        check_new(report)
        _check_folder(out)
        self.name, self.written = name, list[Path]()
        self._out, self._report = out, report

    def json(self, content: object) -> None:
        """NAME.json, and the file of --json."""
        self._made(self._new("json"), lambda path: write_json(path, content))
        if self._report is not None:
            self._made(self._report, lambda path: write_json(path, content))

    def csv(self, rows: Sequence[Mapping[str, object]], part: str = "") -> None:
        """NAME.csv, or NAME-PART.csv, with the rows' keys as its header."""
        text = io.StringIO(newline="")
        lines = csv.DictWriter(text, list(rows[0]) if rows else [])
        lines.writeheader()
        lines.writerows(rows)
        self._made(self._new("csv", part), lambda path: write_new(path, text.getvalue()))

    def text(self, content: str, ending: str) -> None:
        """NAME.ENDING."""
        self._made(self._new(ending), lambda path: write_new(path, content))

    def draw(self, figures: Callable[[Path], list[Path]]) -> None:
        """Whatever `figures` draws at out/NAME. Without matplotlib nothing is drawn, and `close` says so."""
        if _matplotlib():
            self._out.mkdir(parents=True, exist_ok=True)
            self.written += figures(self._out / self.name)

    def close(self, terminal: Terminal, said: str = "", *, figures: bool = True) -> None:
        """Say what was written, and how figures are got where there are some and none could be drawn."""
        terminal.say((f"{said}; " if said else "") + "written: " + ", ".join(map(str, self.written)))
        if figures and not _matplotlib():
            terminal.say(f"no figures: matplotlib is not installed; {how_to_install('figures')}")

    def _new(self, ending: str, part: str = "") -> Path:
        return self._out / (f"{self.name}-{part}.{ending}" if part else f"{self.name}.{ending}")

    def _made(self, path: Path, write: Callable[[Path], None]) -> None:
        if path != self._report:
            self._out.mkdir(parents=True, exist_ok=True)
        write(path)
        self.written.append(path)


def _matplotlib() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigurationError(f"--out {out}: is no directory")
    try:
        if out.is_dir() and any(out.iterdir()):
            raise ConfigurationError(
                f"{out} holds a former run, and nothing is written over: --out names another folder"
            )
    except OSError as error:
        raise ConfigurationError(f"--out {out}: {error.strerror or error}") from None
    above = next((folder for folder in (out, *out.parents) if folder.exists()), Path())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--out {out}: {above} cannot be written")
