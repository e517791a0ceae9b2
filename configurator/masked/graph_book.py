"""The connection graphs the configurator has drawn, by stream and first period. Durable: a graph that was told stays as it was."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from configurator.masked.graphs import ConnectionGraph, GraphFloors, Shape, check_graph, draw_graph, redraw_graph
from hushgrid.core.schedule import Window, window_of
from hushgrid.shell.database import Database
from hushgrid.wire.masked import RoundClosing

_MIGRATIONS = (
    """
    CREATE TABLE graph (stream INTEGER NOT NULL, number INTEGER NOT NULL, json TEXT NOT NULL,
        PRIMARY KEY (stream, number)) WITHOUT ROWID;
    CREATE TABLE closing (stream INTEGER NOT NULL, round INTEGER NOT NULL, graph BLOB NOT NULL, absent TEXT NOT NULL,
        signature BLOB NOT NULL, PRIMARY KEY (stream, round)) WITHOUT ROWID
    """,
)


def to_json(graph: ConnectionGraph) -> str:
    """A graph as text; `from_json` gives it back equal, digest included."""
    content = {
        "first": graph.period.first,
        "rounds": graph.period.rounds,
        "areas": graph.areas,
        "edges": sorted(graph.edges),
        "rings": graph.rings,
    }
    return json.dumps(content)


def from_json(text: str) -> ConnectionGraph:
    """Back from `to_json`."""
    content = json.loads(text)
    return ConnectionGraph(
        areas=tuple(map(tuple, content["areas"])),
        edges=frozenset((low, high) for low, high in content["edges"]),
        rings=tuple(map(tuple, content["rings"])),
        period=Window(content["first"], content["rounds"]),
    )


def first_period(valid_from_round: int, period_rounds: int) -> Window:
    """The first billing period that begins in this round or after."""
    return window_of(valid_from_round + period_rounds - 1, period_rounds)


class GraphBook:
    """See the module."""

    def __init__(self, path: Path, rng: random.Random | None = None, *, read_only: bool = False) -> None:
        self._database = Database(path, _MIGRATIONS, secrets=True, read_only=read_only)
        self._rng = rng

    @classmethod
    def read_only(cls, path: Path) -> Self:
        """Another program's look at it: nothing can be changed. JournalError when it is not there."""
        return cls(path, read_only=True)

    def newest(self, stream: int) -> ConnectionGraph | None:
        """The graph drawn last for a stream."""
        rows = self._database.query("SELECT json FROM graph WHERE stream = ? ORDER BY number DESC LIMIT 1", stream)
        return from_json(rows[0][0]) if rows else None

    def by_digest(self, stream: int, digest: bytes) -> ConnectionGraph | None:
        """The graph that a plan names; None for an unknown one."""
        rows = self._database.query("SELECT json FROM graph WHERE stream = ? ORDER BY number DESC", stream)
        return next((graph for graph in (from_json(text) for (text,) in rows) if graph.digest == digest), None)

    def graph_for(
        self, stream: int, areas: Sequence[Sequence[str]], shape: Shape, floors: GraphFloors, period: Window
    ) -> ConnectionGraph:
        """The graph of all periods from this one on: the standing one while its meters are these, else one drawn anew.

        A graph whose first period has not begun before `period` is replaced; one that is in force ends with a period.
        RefusedError and ConfigurationError as `draw_graph`; a standing graph is checked again.
        """
        ordered = tuple(tuple(sorted(area)) for area in areas)
        standing = self.newest(stream)
        if standing is not None and standing.areas == ordered and standing.period.rounds == period.rounds:
            check_graph(standing, floors)
            return standing
        if standing is None or standing.period.first >= period.first:
            drawn = draw_graph(ordered, shape, floors, period, self._rng)
        else:
            drawn = redraw_graph(standing, ordered, shape, floors, period, self._rng)
        self._database.execute(
            "INSERT INTO graph VALUES (?, (SELECT coalesce(max(number), 0) + 1 FROM graph WHERE stream = ?), ?)",
            stream, stream, to_json(drawn),
        )  # fmt: skip
        return drawn

    def closing(self, stream: int, round_number: int) -> RoundClosing | None:
        """The closing of a round; None while there is none."""
        query = "SELECT graph, absent, signature FROM closing WHERE stream = ? AND round = ?"
        for graph, absent, signature in self._database.query(query, stream, round_number):
            return RoundClosing(stream, round_number, graph, frozenset(json.loads(absent)), signature)
        return None

    def closings(self, stream: int, first_round: int, last_round: int) -> dict[int, frozenset[int]]:
        """The rounds from one to another that are closed: round -> the numbers of the meters that were left out."""
        query = "SELECT round, absent FROM closing WHERE stream = ? AND round BETWEEN ? AND ?"
        rows = self._database.query(query, stream, first_round, last_round)
        return {round_number: frozenset(json.loads(absent)) for round_number, absent in rows}

    def add_closing(self, closing: RoundClosing) -> None:
        """Keep a closing before anybody hears of it; a second one of the round is an error."""
        absent = json.dumps(sorted(closing.absent))
        row = (closing.stream, closing.round, closing.graph, absent, closing.signature)
        self._database.execute("INSERT INTO closing VALUES (?, ?, ?, ?, ?)", *row)

    def close(self) -> None:
        """Close the store."""
        self._database.close()
