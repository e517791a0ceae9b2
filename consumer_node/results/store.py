"""A consumer's results in tables: on disk before anything they came from is let go of, each once, whatever is repeated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import ColumnElement, Connection, Table, func, insert, select, update

from consumer_node.results.files import FILE_COLUMNS, ResultFiles, Row
from consumer_node.results.tables import GRANTED_RULES, PARTS, RESULT_TABLES, TABLES, ResultKind
from hushgrid.relational.opening import RelationalDatabase

#: A cohort as it was asked for: "all", or ids and ranges of ids.
AskedCohort = str | Sequence[str]
#: Columns of a table that are called otherwise in files.
_NAMES = {"rule": "name", "number": "rule"}
_AT_ONCE = 1000


class ResultStore:
    """The results of one consumer of one grid; its database may hold those of others.

    files: are kept as the tables are; None: there are none.
    """

    def __init__(
        self, database: RelationalDatabase, grid: str, consumer: str, *, files: ResultFiles | None = None
    ) -> None:
        """database: opened with `RESULT_TABLES`; of one that is read only, nothing can be added."""
        self._database = database
        self._whose = {"grid": grid, "consumer": consumer}
        self._files = files
        self._rules: set[int] = set()
        self._counts = {kind: self._counted(kind) for kind in ResultKind}

    @classmethod
    def at(
        cls, url: str, grid: str, consumer: str, *, password: str | None = None, files: ResultFiles | None = None
    ) -> ResultStore:
        """url: sqlite:///FILE or postgresql://NAME@HOST/DATABASE. Errors: see `RelationalDatabase`."""
        return cls(RelationalDatabase(url, RESULT_TABLES, password=password), grid, consumer, files=files)

    def add(self, kind: ResultKind, rows: Iterable[Row], cohort: AskedCohort | None = None) -> int:
        """Keep results for ever, all or none; how many were new. The first word on each stands: what comes again is left out.

        cohort: of the rule they are all of, as it was asked for; None: not known.
        """
        listed = list(rows)
        with self._database.writing() as connection:
            fresh = self._fresh(connection, kind, listed)
            if fresh:
                last = connection.scalar(select(func.max(TABLES[kind].c.place)))
                first = 0 if last is None else last + 1
                cells = [_cells(kind, row) | self._whose | {"place": first + at} for at, row in enumerate(fresh)]
                connection.execute(insert(TABLES[kind]), cells)
            for number, name in {row["number"]: row["rule"] for row in listed}.items():
                self._note(connection, number, name, cohort)
        if fresh:
            anew = not self._counts[kind]
            self._counts[kind] += len(fresh)
            if self._files is not None:
                self._files.write(kind, [fresh], anew=anew)
        return len(fresh)

    def concluded(self, kind: ResultKind, rule: int, first_round: int, last_round: int) -> set[tuple[int, str]]:
        """(first round, part) of a rule's results whose first round lies in this span. part: component or meter, "" of a sum."""
        with self._database.reading() as connection:
            return self._parts(connection, kind, rule, first_round, last_round)

    def rows(self, kind: ResultKind) -> Iterator[list[Row]]:
        """All results in the order of time, by and by."""
        table, part = TABLES[kind], PARTS[kind]
        order = [table.c.first_round, table.c.rule, *([table.c[part]] if part else [])]
        chosen = [table.c[_NAMES.get(name, name)] for name in FILE_COLUMNS[kind]]
        with self._database.reading() as connection:
            found = connection.execution_options(yield_per=_AT_ONCE).execute(
                select(*chosen).where(*self._own(table)).order_by(*order)
            )
            for portion in found.partitions():
                yield [dict(zip(FILE_COLUMNS[kind], row, strict=True)) for row in portion]

    def write_files(self) -> None:
        """After a start: anew from the tables, since a kill may have cut their last line."""
        if self._files is None:
            return
        for kind in ResultKind:
            if self._counts[kind] or kind is ResultKind.SUM:
                self._files.write(kind, self.rows(kind), anew=True)

    def count(self, kind: ResultKind) -> int:
        """Results so far."""
        return self._counts[kind]

    def _counted(self, kind: ResultKind) -> int:
        table = TABLES[kind]
        with self._database.reading() as connection:
            return connection.scalar(select(func.count()).select_from(table).where(*self._own(table))) or 0

    def _own(self, table: Table) -> list[ColumnElement[bool]]:
        return [table.c[name] == value for name, value in self._whose.items()]

    def _parts(
        self, connection: Connection, kind: ResultKind, rule: int, first_round: int, last_round: int
    ) -> set[tuple[int, str]]:
        table, part = TABLES[kind], PARTS[kind]
        columns = [table.c.first_round, *([table.c[part]] if part else [])]
        which = (table.c.rule == rule, table.c.first_round.between(first_round, last_round))
        rows = connection.execute(select(*columns).where(*self._own(table), *which))
        return {(row[0], str(row[1]) if part else "") for row in rows}

    def _fresh(self, connection: Connection, kind: ResultKind, rows: Sequence[Row]) -> list[Row]:
        """Those that are not there yet, each once."""
        by_rule: dict[int, dict[tuple[int, str], Row]] = {}
        for row in rows:
            part = PARTS[kind]
            key = (int(str(row["first_round"])), str(row[part]) if part else "")
            by_rule.setdefault(int(str(row["number"])), {}).setdefault(key, row)
        fresh = []
        for rule, keyed in by_rule.items():
            firsts = [first for first, _ in keyed]
            there = self._parts(connection, kind, rule, min(firsts), max(firsts))
            fresh += [row for key, row in keyed.items() if key not in there]
        return fresh

    def _note(self, connection: Connection, number: object, name: object, cohort: AskedCohort | None) -> None:
        """The rule, once; its cohort as soon as that is known."""
        rule = int(str(number))
        if rule in self._rules:
            return
        which = [*self._own(GRANTED_RULES), GRANTED_RULES.c.rule == rule]
        found = connection.execute(select(GRANTED_RULES.c.cohort).where(*which)).one_or_none()
        written = None if cohort is None else json.dumps(cohort)
        if found is None:
            connection.execute(insert(GRANTED_RULES).values(**self._whose, rule=rule, name=name, cohort=written))
        elif found[0] is None and written is not None:
            connection.execute(update(GRANTED_RULES).where(*which).values(cohort=written))
        if written is not None or (found is not None and found[0] is not None):
            self._rules.add(rule)

    def close(self) -> None:
        """Let go of all connections."""
        self._database.close()


def _cells(kind: ResultKind, row: Row) -> dict[str, object]:
    return {_NAMES.get(name, name): row[name] for name in FILE_COLUMNS[kind]}
