"""Charging: all homes of a question in all periods it touches, or none of them.

A store implements `LedgerBook` by loading balances, asking `judge`, and writing the entry in one transaction that is on
disk before `charge` returns. Nothing is ever given back: neither for a failed computation nor for a lost answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from privacy_gateway.ledger.balance import BudgetCap, HomeBalance
from privacy_gateway.ledger.price import PrivacyPrice
from privacy_gateway.questions.recovered import RoundSpan

#: A home in a period.
HomePeriod = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ChargeEntry:
    """What one question costs. question: its digest; attempt: 0, or one more after a charge that brought no answer."""

    question: str
    attempt: int
    homes: tuple[str, ...]
    periods: tuple[int, ...]
    price: PrivacyPrice

    @property
    def debited(self) -> list[HomePeriod]:
        """Who pays, each the whole price: homes do not share one, and a question that touches two periods is paid in
        both.
        """
        return [(home, period) for home in self.homes for period in self.periods]


@dataclass(frozen=True, slots=True)
class Overdraft:
    """Why nothing was charged. short: homes whose cap would not hold; left_micro: the epsilon that all could still
    pay.
    """

    short: tuple[str, ...]
    left_micro: int


class LedgerBook(Protocol):
    """Where charges are kept. Two processes that charge at once must see one ledger."""

    def balances(self, wanted: Collection[HomePeriod]) -> Mapping[HomePeriod, HomeBalance]:
        """What was paid; whoever paid nothing may be left out."""
        ...

    def attempts(self, question: str) -> int:
        """How often a question was charged for."""
        ...

    def charge(self, entry: ChargeEntry, cap: BudgetCap) -> Overdraft | None:
        """Load, judge and write at once; None: it is charged, and on disk. ValueError where that attempt is charged
        already.
        """
        ...


def periods_of(span: RoundSpan, period_rounds: int) -> tuple[int, ...]:
    """The periods, counted from round 0, that a span touches."""
    return tuple(range(span.first // period_rounds, (span.until - 1) // period_rounds + 1))


def judge(entry: ChargeEntry, balances: Mapping[HomePeriod, HomeBalance], cap: BudgetCap) -> Overdraft | None:
    """Whether the cap of everybody who pays still holds afterwards; else who is short, and what all could pay."""
    found = {each: balances.get(each, HomeBalance()) for each in entry.debited}
    fits = {balance: cap.holds(balance.plus(entry.price)) for balance in set(found.values())}
    if entry.price.is_free or all(fits.values()):
        return None
    short = sorted({home for (home, _), balance in found.items() if not fits[balance]})
    return Overdraft(tuple(short), min(cap.left_micro(balance) for balance in fits))


class MemoryLedger(LedgerBook):
    """A ledger in memory: for tests, and to play in a prompt."""

    def __init__(self) -> None:
        self.entries: list[ChargeEntry] = []
        self._balances: dict[HomePeriod, HomeBalance] = {}

    def balances(self, wanted: Collection[HomePeriod]) -> Mapping[HomePeriod, HomeBalance]:
        """What was paid."""
        return {each: self._balances[each] for each in wanted if each in self._balances}

    def attempts(self, question: str) -> int:
        """How often a question was charged for."""
        return sum(entry.question == question for entry in self.entries)

    def charge(self, entry: ChargeEntry, cap: BudgetCap) -> Overdraft | None:
        """All or nothing."""
        if entry.attempt != self.attempts(entry.question):
            raise ValueError(f"attempt {entry.attempt} of question {entry.question} is not the next one")
        overdraft = judge(entry, self.balances(entry.debited), cap)
        if overdraft is None:
            self.entries.append(entry)
            for each in entry.debited:
                self._balances[each] = self._balances.get(each, HomeBalance()).plus(entry.price)
        return overdraft
