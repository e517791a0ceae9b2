"""On which line of a TOML or JSON file something stands, for whoever has to mend it. The text is one that its own parser has read."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Sequence

Steps = tuple[str | int, ...]

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""+|\'\'\'.*?\'\'\'+|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{},=:.\n]|[^\s\[\]{},=:."\'#]+',
    re.DOTALL,
)
_QUOTES = ('"', "'")


def line_of(steps: Sequence[str | int], text: str, *, is_json: bool) -> int | None:
    """The line, counted from 1, of what these keys and indexes lead to, or of the innermost of them that is there."""
    found = _Scan(text, is_json=is_json).lines
    ends = (end for end in range(len(steps), 0, -1) if tuple(steps[:end]) in found)
    return next((found[tuple(steps[:end])] for end in ends), None)


class _Scan:
    """Goes through the tokens once. lines: where each value begins, and each table."""

    def __init__(self, text: str, *, is_json: bool) -> None:
        self.lines: dict[Steps, int] = {}
        self._tokens: list[tuple[str, int]] = []
        line = 1
        for match in _TOKEN.finditer(text):
            if not match[0].startswith("#"):
                self._tokens.append((match[0], line))
            line += match[0].count("\n")
        self._at = 0
        self._is_json = is_json
        if is_json:
            self._value(())
        else:
            self._document()

    @property
    def _next(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _note(self, steps: Steps) -> None:
        line = self._tokens[min(self._at, len(self._tokens) - 1)][1]
        for end in range(1, len(steps) + 1):
            self.lines.setdefault(steps[:end], line)

    def _skip_lines(self) -> None:
        while self._next == "\n":
            self._at += 1

    def _document(self) -> None:
        table: Steps = ()
        counted: Counter[Steps] = Counter()
        while self._at < len(self._tokens):
            if self._next == "\n":
                self._at += 1
            elif self._next == "[":
                table = self._header(counted)
            else:
                keys = self._keys("=")
                self._value((*table, *keys))

    def _header(self, counted: Counter[Steps]) -> Steps:
        """The table that begins here; of an array of tables, the next one."""
        at = self._at
        self._at += 1
        is_array = self._next == "["
        self._at += is_array
        keys = self._keys("]")
        table: Steps = ()
        self._at += is_array
        for position, key in enumerate(keys, start=1):
            table = (*table, key)
            if is_array and position == len(keys):
                counted[table] += 1
            if counted[table]:
                table = (*table, counted[table] - 1)
        after, self._at = self._at, at
        self._note(table)
        self._at = after
        return table

    def _keys(self, end: str) -> Steps:
        keys: list[str] = []
        while self._next not in (end, ""):
            if self._next not in (".", "\n"):
                keys.append(self._plain(self._next))
            self._at += 1
        self._at += 1
        return tuple(keys)

    def _plain(self, key: str) -> str:
        if not key.startswith(_QUOTES):
            return key
        return str(json.loads(key) if self._is_json else tomllib.loads(f"x = {key}")["x"])

    def _value(self, steps: Steps) -> None:
        self._skip_lines()
        self._note(steps)
        opened = self._next
        if opened not in ("[", "{"):
            while self._next not in (",", "]", "}", "\n", ""):
                self._at += 1
            return
        self._at += 1
        index = 0
        while True:
            self._skip_lines()
            if self._next in ("]", "}", ""):
                self._at += 1
                return
            if self._next == ",":
                self._at += 1
                index += 1
            elif opened == "[":
                self._value((*steps, index))
            else:
                self._value((*steps, *self._keys(":" if self._is_json else "=")))
