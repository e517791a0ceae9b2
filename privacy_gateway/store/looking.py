"""What a store holds, all of it, for whoever checks or shows it. Nothing is changed here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import select

from hushgrid.errors import JournalError
from hushgrid.relational.opening import RelationalDatabase
from privacy_gateway.ledger.balance import HomeBalance
from privacy_gateway.ledger.book import ChargeEntry, HomePeriod
from privacy_gateway.ledger.price import PrivacyPrice
from privacy_gateway.questions.recovered import RoundSpan
from privacy_gateway.store.tables import ANSWERS, BALANCES, CHARGES, COHORTS, DISCLOSED, SUMS
from privacy_gateway.store.written import answer_read, homes_read


@dataclass(frozen=True, slots=True)
class ToldOf:
    """How many homes and which rounds something in the store is about."""

    homes: int
    span: RoundSpan


def charges(
    database: RelationalDatabase, *, after: int = -1, most: int | None = None
) -> Iterator[tuple[int, ChargeEntry]]:
    """Places and charges, in order, behind a place. JournalError for a row that is not understood."""
    query = select(CHARGES, COHORTS.c.homes).join(COHORTS, CHARGES.c.cohort == COHORTS.c.cohort)
    query = query.where(CHARGES.c.place > after).order_by(CHARGES.c.place).limit(most)
    with database.reading() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        price = PrivacyPrice(row.epsilon_micro, row.rho_pico)
        homes = tuple(sorted(homes_read(row.homes)))
        yield row.place, ChargeEntry(row.question, row.attempt, homes, _periods(row.periods), price)


def balances(database: RelationalDatabase, home: str | None = None) -> Mapping[HomePeriod, HomeBalance]:
    """What was paid, by everybody or by one home; whoever paid nothing is left out."""
    query = select(BALANCES) if home is None else select(BALANCES).where(BALANCES.c.home == home)
    with database.reading() as connection:
        return {
            (row.home, row.period): HomeBalance(row.epsilon_micro, row.epsilon_squares, row.rho_pico)
            for row in connection.execute(query).all()
        }


def answered(database: RelationalDatabase) -> set[str]:
    """Digests of all questions whose answer is kept. JournalError for an answer that is not understood."""
    with database.reading() as connection:
        rows = connection.execute(select(ANSWERS)).all()
    return {answer_read(row.question, row.answer).question for row in rows}


def told_of(database: RelationalDatabase) -> list[ToldOf]:
    """Every number that was charged for."""
    query = select(DISCLOSED.c.first_round, DISCLOSED.c.until_round, COHORTS.c.homes).join(
        COHORTS, DISCLOSED.c.cohort == COHORTS.c.cohort
    )
    return _told(database, query)


def summed(database: RelationalDatabase) -> list[ToldOf]:
    """Every sum that is kept."""
    query = select(SUMS.c.first_round, SUMS.c.until_round, COHORTS.c.homes).join(
        COHORTS, SUMS.c.cohort == COHORTS.c.cohort
    )
    return _told(database, query)


def _told(database: RelationalDatabase, query: object) -> list[ToldOf]:
    with database.reading() as connection:
        rows = connection.execute(query).all()  # type: ignore[call-overload]
    sizes: dict[str, int] = {}
    try:
        return [
            ToldOf(sizes.setdefault(homes, len(homes_read(homes))), RoundSpan(first, until))
            for first, until, homes in rows
        ]
    except ValueError:
        raise JournalError(f"{database.name}: rounds that there are not") from None


def _periods(written: str) -> tuple[int, ...]:
    try:
        read = json.loads(written)
        return tuple(int(period) for period in read)
    except (TypeError, ValueError):
        raise JournalError("the gateway's store: the periods of a charge are not understood") from None
