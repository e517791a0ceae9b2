"""Recovered sums out of a consumer's tables: new ones, in the order in which it wrote them, if they agree with themselves."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Row, func, select

from consumer_node.results.tables import GRANTED_RULES, RECOVERED_SUMS, RESULT_TABLES
from hushgrid.core.cohorts import resolve_cohort
from hushgrid.errors import RefusedError
from hushgrid.relational.opening import PATIENCE_SECONDS, RelationalDatabase
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan
from privacy_gateway.store.gateway_store import GatewayStore

_RELEASED = "released"
_AT_ONCE = 1000
_SUMS = RECOVERED_SUMS.c


@dataclass(frozen=True, slots=True)
class NewSums:
    """What a look at a consumer's tables brought.

    settled_before: every round below it is over: the consumer has concluded a window up to it. sums: in the order of
    writing, rule by rule. refused: a line for each released row that cannot be believed, and why.
    """

    settled_before: int
    sums: tuple[RecoveredSum, ...]
    refused: tuple[str, ...]


class ConsumerSums:
    """The sums that one consumer of one grid recovered. Each is given once in the life of this object, and nothing is changed there.

    intake = ConsumerSums("postgresql://gateway@db/results", grid="village", consumer="grid-operator")
    homes, unclear = intake.cohorts(known)      # or whoever knows better which homes a rule covers
    found = intake.take_into(store, homes)      # now and then; what the store has already is nothing new there
    settled_before = found.settled_before
    """

    def __init__(
        self,
        url: str,
        grid: str,
        consumer: str,
        *,
        password: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """url: of the consumer's `[results]`; whoever opens it need only be allowed to read. Errors: see `RelationalDatabase`."""
        self._database = RelationalDatabase(
            url, RESULT_TABLES, password=password, read_only=True, patience_seconds=patience_seconds
        )
        self._grid, self._consumer = grid, consumer
        self._places: dict[int, int] = {}

    def cohorts(self, known: Sequence[str]) -> tuple[dict[int, frozenset[str]], list[str]]:
        """The homes of every rule that has a result, as the consumer asked for them; a line for each rule that stays unclear.

        known: ids of all homes, sorted. A home that came after the rule is in "all" here and not there: its sums are refused.
        """
        found: dict[int, frozenset[str]] = {}
        unclear = []
        rules = GRANTED_RULES.c
        with self._database.reading() as connection:
            rows = connection.execute(
                select(rules.rule, rules.name, rules.cohort)
                .where(rules.grid == self._grid, rules.consumer == self._consumer)
                .order_by(rules.rule)
            ).all()
        for rule, name, cohort in rows:
            try:
                found[rule] = frozenset(resolve_cohort(_asked(cohort), known))
            except RefusedError as refusal:
                unclear.append(f"rule {rule} ({name}): {refusal.reason}")
        return found, unclear

    def new(self, homes: Mapping[int, Collection[str]]) -> NewSums:
        """What came since the last look. homes: of each rule by its number; rows of other rules wait until they are named.

        JournalError when the tables cannot be read: then nothing counts as given.
        """
        sums, refused, places = [], [], dict(self._places)
        with self._database.reading() as connection:
            own = (_SUMS.grid == self._grid, _SUMS.consumer == self._consumer)
            last = connection.scalar(select(func.max(_SUMS.last_round)).where(*own))
            for rule in sorted(homes):
                covered = frozenset(homes[rule])
                which = (*own, _SUMS.rule == rule, _SUMS.place > places.get(rule, -1))
                rows = connection.execution_options(yield_per=_AT_ONCE).execute(
                    select(RECOVERED_SUMS).where(*which).order_by(_SUMS.place)
                )
                for row in rows:
                    places[rule] = row.place
                    if row.status == _RELEASED:
                        try:
                            sums.append(believed(row, covered))
                        except ValueError as error:
                            refused.append(f"{self._database.name}, place {row.place}: {error}")
        self._places = places
        return NewSums(0 if last is None else last + 1, tuple(sums), tuple(refused))

    def take_into(self, store: GatewayStore, homes: Mapping[int, Collection[str]]) -> NewSums:
        """The same, and the sums are on disk in the gateway's store before this returns.

        JournalError, and all of it is given again next time, when the store does not take them: also where it has another sum
        of that rule and window already.
        """
        before = self._places
        found = self.new(homes)
        try:
            for portion in _portions(found.sums):
                store.take_in(portion)
        except BaseException:
            self._places = before
            raise
        return found

    def close(self) -> None:
        """Let go of all connections."""
        self._database.close()


def believed(row: Row[tuple[object, ...]], homes: frozenset[str]) -> RecoveredSum:
    """A released row of `recovered_sums` as a sum over these homes. ValueError naming what does not agree."""
    where = f"rule {row.rule}, rounds {row.first_round} to {row.last_round}"
    if row.watt_hours is None:
        raise ValueError(f"{where}: released, and without a number")
    if min(row.first_round, row.gaps, row.lost, row.inconsistent) < 0 or row.meters < 1:
        raise ValueError(f"{where}: a count that cannot be")
    span = RoundSpan(row.first_round, row.last_round + 1)
    counted = row.included + row.gaps + row.lost + row.inconsistent
    if counted != row.expected:
        raise ValueError(f"{where}: {counted} pairs are accounted for, {row.expected} expected")
    if row.expected != len(homes) * span.rounds:
        raise ValueError(f"{where}: of {row.expected} pairs, not the {len(homes) * span.rounds} of {len(homes)} homes")
    if row.included > row.meters * span.rounds:
        raise ValueError(f"{where}: {row.included} pairs of {row.meters} homes in {span.rounds} rounds")
    return RecoveredSum(row.rule, homes, span, row.watt_hours, row.included, row.meters)


def _asked(cohort: str | None) -> str | list[str]:
    """A cell of `granted_rules`; RefusedError where it says nothing."""
    try:
        asked = json.loads(cohort or "")
    except ValueError:
        asked = None
    if isinstance(asked, str) or (isinstance(asked, list) and all(isinstance(item, str) for item in asked)):
        return asked
    raise RefusedError("which homes it covers is not written down")


def _portions(sums: Sequence[RecoveredSum]) -> Iterator[Sequence[RecoveredSum]]:
    for at in range(0, len(sums), _AT_ONCE):
        yield sums[at : at + _AT_ONCE]
