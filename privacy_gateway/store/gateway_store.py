"""All that `privacy_gateway.deciding` needs remembered, behind its charge: answers, what they told, recovered sums."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Select, func, insert, select

from hushgrid.errors import JournalError
from hushgrid.relational.opening import PATIENCE_SECONDS, RelationalDatabase
from privacy_gateway.deciding.answer import GatewayAnswer
from privacy_gateway.deciding.answering import DecidedTooEarlyError
from privacy_gateway.deciding.order import AllowedQuestion
from privacy_gateway.differencing.disclosed import DisclosedRow
from privacy_gateway.ledger.balance import BudgetCap
from privacy_gateway.ledger.book import Overdraft
from privacy_gateway.questions.posed import PosedQuestion
from privacy_gateway.questions.question import GatewayQuestion
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan
from privacy_gateway.store.ledger import StoredLedger, count_attempts, next_place, write_charge, write_cohort
from privacy_gateway.store.tables import ANSWERS, CHARGES, COHORTS, DISCLOSED, GATEWAY_TABLES, QUESTIONS, SUMS
from privacy_gateway.store.written import (
    answer_read,
    answer_written,
    homes_read,
    losses_read,
    losses_written,
    stated_read,
    stated_written,
)


class ConflictingSumError(JournalError):
    """Another sum of the same rule and window is kept already: one of the two is wrong."""


class GatewayStore:
    """The part of `privacy_gateway.deciding.answering.GatewayRecords` that is kept in a database."""

    def __init__(self, url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """url: sqlite:///FILE or postgresql://NAME@HOST/DATABASE. Errors: see `RelationalDatabase`."""
        self._database = RelationalDatabase(url, GATEWAY_TABLES, patience_seconds=patience_seconds)
        self.ledger = StoredLedger(self._database)
        self._lock = threading.Lock()
        self._told: list[DisclosedRow] = []
        self._cohorts: dict[str, frozenset[str]] = {}

    def answer_to(self, digest: str) -> GatewayAnswer | None:
        """What was answered to this question before."""
        with self._database.reading() as connection:
            written = connection.scalar(select(ANSWERS.c.answer).where(ANSWERS.c.question == digest))
        return None if written is None else answer_read(digest, written)

    def keep_answer(self, answer: GatewayAnswer, posed: PosedQuestion | None = None) -> None:
        """On disk before this returns. Of two processes that paid for one question at once, the first answer is kept.

        posed: the question, kept with it, so that the answer can be asked for by its digest. JournalError, and nothing
        is kept, where nobody was charged for it.
        """
        with self._database.writing() as connection:
            if count_attempts(connection, answer.question) == 0:
                raise JournalError(f"{self._database.name}: question {answer.question} was never charged for")
            if connection.scalar(select(ANSWERS.c.question).where(ANSWERS.c.question == answer.question)) is None:
                connection.execute(insert(ANSWERS).values(question=answer.question, answer=answer_written(answer)))
            if posed is not None and connection.scalar(_question_of(posed.digest)) is None:
                cohort = write_cohort(connection, posed.homes)
                row = {"question": posed.digest, "cohort": cohort, "stated": stated_written(posed.question)}
                connection.execute(insert(QUESTIONS).values(row))

    def question_of(self, digest: str) -> GatewayQuestion | None:
        """The question of this digest, its homes by name; None where none of it was answered."""
        with self._lock, self._database.reading() as connection:
            row = connection.execute(select(QUESTIONS).where(QUESTIONS.c.question == digest)).one_or_none()
            return None if row is None else stated_read(row.stated, self._homes(connection, row.cohort))

    def attempts(self, digest: str) -> int:
        """How often this question was charged for."""
        return self.ledger.attempts(digest)

    def disclosed(self) -> Sequence[DisclosedRow]:
        """All that was charged for, by any process. Rows are only ever added, so that none is read twice."""
        with self._lock, self._database.reading() as connection:
            rows = connection.execute(
                select(DISCLOSED).where(DISCLOSED.c.place >= len(self._told)).order_by(DISCLOSED.c.place)
            )
            for place, _, cohort, first, until, losses in rows.all():
                if place != len(self._told):
                    raise JournalError(f"{self._database.name}: disclosed row {len(self._told)} is missing")
                homes = self._homes(connection, cohort)
                self._told.append(DisclosedRow(homes, RoundSpan(first, until), losses_read(losses)))
            return tuple(self._told)

    def charge(self, allowed: AllowedQuestion, cap: BudgetCap) -> Overdraft | None:
        """Entry and rows, or neither. DecidedTooEarlyError, and nothing is written, where others were charged since."""
        with self._database.writing() as connection:
            told = next_place(connection, DISCLOSED)
            if told != allowed.told_before:
                raise DecidedTooEarlyError(f"{told} rows are disclosed, not {allowed.told_before}")
            place = next_place(connection, CHARGES)
            overdraft = write_charge(connection, allowed.entry, cap, place)
            if overdraft is not None:
                return overdraft
            rows = [
                {
                    "place": told + at, "charge": place, "cohort": write_cohort(connection, row.homes),
                    "first_round": row.span.first, "until_round": row.span.until, "losses": losses_written(row.losses),
                }
                for at, row in enumerate(allowed.disclosed)
            ]  # fmt: skip
            connection.execute(insert(DISCLOSED), rows)
            return None

    def take_in(self, sums: Iterable[RecoveredSum]) -> int:
        """All of them, or none; how many were new. ConflictingSumError where another sum of that rule and window is kept."""
        new = 0
        with self._database.writing() as connection:
            for each in sums:
                kept = self._sum_of(connection, each.rule, each.span)
                if kept is None:
                    new += 1
                    connection.execute(
                        insert(SUMS).values(
                            rule=each.rule, first_round=each.span.first, until_round=each.span.until,
                            cohort=write_cohort(connection, each.cohort), watt_hours=each.watt_hours,
                            included=each.included, contributors=each.contributors,
                        )
                    )  # fmt: skip
                elif kept != each:
                    raise ConflictingSumError(
                        f"{self._database.name}: another sum of rule {each.rule}, rounds {each.span.first} to "
                        f"{each.span.until - 1}, is kept already"
                    )
        return new

    def settled_before(self) -> int:
        """The first round behind all sums that are kept; 0 where there is none."""
        with self._database.reading() as connection:
            return connection.scalar(select(func.max(SUMS.c.until_round))) or 0

    def sums_within(self, span: RoundSpan) -> list[RecoveredSum]:
        """The recovered sums whose rounds lie in this span."""
        inside = (SUMS.c.first_round >= span.first, SUMS.c.until_round <= span.until)
        order = (SUMS.c.rule, SUMS.c.first_round, SUMS.c.until_round)
        with self._lock, self._database.reading() as connection:
            return [
                self._sum(connection, row)
                for row in connection.execute(select(SUMS).where(*inside).order_by(*order)).all()
            ]

    def _sum_of(self, connection: Connection, rule: int, span: RoundSpan) -> RecoveredSum | None:
        which = (SUMS.c.rule == rule, SUMS.c.first_round == span.first, SUMS.c.until_round == span.until)
        row = connection.execute(select(SUMS).where(*which)).one_or_none()
        with self._lock:
            return None if row is None else self._sum(connection, row)

    def _sum(self, connection: Connection, row: Sequence[object]) -> RecoveredSum:
        rule, first, until, cohort, watt_hours, included, contributors = row
        try:
            return RecoveredSum(
                rule, self._homes(connection, str(cohort)), RoundSpan(first, until), watt_hours, included, contributors  # type: ignore[arg-type]
            )  # fmt: skip
        except ValueError as error:
            raise JournalError(f"{self._database.name}: {error}") from None

    def _homes(self, connection: Connection, cohort: str) -> frozenset[str]:
        if cohort not in self._cohorts:
            written = connection.scalar(select(COHORTS.c.homes).where(COHORTS.c.cohort == cohort))
            self._cohorts[cohort] = homes_read(written or "")
        return self._cohorts[cohort]

    def close(self) -> None:
        """Let go of all connections."""
        self._database.close()


def _question_of(digest: str) -> Select[tuple[str]]:
    return select(QUESTIONS.c.question).where(QUESTIONS.c.question == digest)
