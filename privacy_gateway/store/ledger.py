"""The ledger in tables: loaded, judged and written in one transaction, on disk before `charge` returns."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Table, bindparam, func, insert, select, update

from hushgrid.relational.opening import RelationalDatabase
from privacy_gateway.ledger.balance import BudgetCap, HomeBalance
from privacy_gateway.ledger.book import ChargeEntry, HomePeriod, LedgerBook, Overdraft, judge
from privacy_gateway.store.tables import BALANCES, CHARGES, COHORTS
from privacy_gateway.store.written import homes_written, numbers_written

#: Homes asked for in one statement: databases bound how many values one may have.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StoredLedger(LedgerBook):
    """`LedgerBook` in a database. Processes that share the database share the ledger."""

    database: RelationalDatabase

    def balances(self, wanted: Collection[HomePeriod]) -> Mapping[HomePeriod, HomeBalance]:
        """What was paid."""
        with self.database.reading() as connection:
            return load_balances(connection, wanted)

    def attempts(self, question: str) -> int:
        """How often a question was charged for."""
        with self.database.reading() as connection:
            return count_attempts(connection, question)

    def charge(self, entry: ChargeEntry, cap: BudgetCap) -> Overdraft | None:
        """All or nothing."""
        with self.database.writing() as connection:
            return write_charge(connection, entry, cap, next_place(connection, CHARGES))


def load_balances(connection: Connection, wanted: Collection[HomePeriod]) -> dict[HomePeriod, HomeBalance]:
    """What was paid; whoever paid nothing is left out."""
    asked, periods = set(wanted), sorted({period for _, period in wanted})
    found = {}
    for homes in _portions(sorted({home for home, _ in wanted})):
        rows = connection.execute(
            select(BALANCES).where(BALANCES.c.home.in_(homes), BALANCES.c.period.in_(periods)),
        )
        for home, period, epsilon, squares, rho in rows:
            if (home, period) in asked:
                found[home, period] = HomeBalance(epsilon, squares, rho)
    return found


def count_attempts(connection: Connection, question: str) -> int:
    """How often a question was charged for."""
    return connection.scalar(select(func.count()).where(CHARGES.c.question == question)) or 0


def write_charge(connection: Connection, entry: ChargeEntry, cap: BudgetCap, place: int) -> Overdraft | None:
    """Within a transaction that writes, at the next place; nothing is written where a cap does not hold.

    ValueError as `LedgerBook.charge` says.
    """
    if entry.attempt != count_attempts(connection, entry.question):
        raise ValueError(f"attempt {entry.attempt} of question {entry.question} is not the next one")
    found = load_balances(connection, entry.debited)
    overdraft = judge(entry, found, cap)
    if overdraft is not None:
        return overdraft
    connection.execute(
        insert(CHARGES).values(
            place=place, question=entry.question, attempt=entry.attempt,
            cohort=write_cohort(connection, entry.homes), periods=numbers_written(entry.periods),
            epsilon_micro=entry.price.epsilon_micro, rho_pico=entry.price.rho_pico,
        )
    )  # fmt: skip
    _debit(connection, entry, found)
    return None


def next_place(connection: Connection, table: Table) -> int:
    """How many rows a table has whose rows are never taken out: the last one's place, and one."""
    last = connection.scalar(select(func.max(table.c.place)))
    return 0 if last is None else int(last) + 1


def write_cohort(connection: Connection, homes: Collection[str]) -> str:
    """The digest of a set of homes, which is then in the table."""
    digest, written = homes_written(homes)
    if connection.scalar(select(COHORTS.c.cohort).where(COHORTS.c.cohort == digest)) is None:
        connection.execute(insert(COHORTS).values(cohort=digest, homes=written))
    return digest


def _debit(connection: Connection, entry: ChargeEntry, found: Mapping[HomePeriod, HomeBalance]) -> None:
    new, changed = [], []
    for home, period in entry.debited:
        after = found.get((home, period), HomeBalance()).plus(entry.price)
        row = {
            "home": home, "period": period, "epsilon_micro": after.epsilon_micro,
            "epsilon_squares": after.epsilon_squares, "rho_pico": after.rho_pico,
        }  # fmt: skip
        if (home, period) in found:
            changed.append({"paying": row.pop("home"), "paying_in": row.pop("period"), **row})
        else:
            new.append(row)
    if new:
        connection.execute(insert(BALANCES), new)
    if changed:
        which = (BALANCES.c.home == bindparam("paying"), BALANCES.c.period == bindparam("paying_in"))
        connection.execute(update(BALANCES).where(*which), changed)


def _portions(homes: list[str]) -> Iterator[list[str]]:
    rest = iter(homes)
    while portion := list(itertools.islice(rest, _AT_ONCE)):
        yield portion
