"""Records whose memory is a database, and processes that charge, are killed, or do both at once."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, event, select

from privacy_gateway.deciding.answer import GatewayAnswer
from privacy_gateway.deciding.answering import reply
from privacy_gateway.deciding.memory import MemoryRecords
from privacy_gateway.ledger.balance import HomeBalance
from privacy_gateway.ledger.book import ChargeEntry, HomePeriod
from privacy_gateway.ledger.price import PrivacyPrice
from privacy_gateway.store.gateway_store import GatewayStore
from privacy_gateway.store.tables import BALANCES, CHARGES, COHORTS
from privacy_gateway.store.written import homes_read
from support.gateway import HOMES, POLICY, SETTLED, Silent, ask
from support.gateway.accountant import CAP

#: Each may be asked of `hourly` beside the others.
QUESTIONS = [
    ask("sum", "m00..m05", epsilon="0.25"), ask("load-curve", "all", 1, 5, step_rounds=1, epsilon="0.25"),
    ask("count", "all", 6, 8), ask("mean", "all", 8, 12, epsilon="0.5"), ask("sum", "all", 12, 20, epsilon="0.25"),
]  # fmt: skip


class StoredRecords(MemoryRecords):
    """Who may ask, and who consents, in memory; all that must not be forgotten in a store."""

    def __init__(self, store: GatewayStore) -> None:
        super().__init__(HOMES, [], SETTLED)
        self.store = store
        for name in ("answer_to", "sums_within", "disclosed", "attempts", "charge"):
            setattr(self, name, getattr(store, name))

    def audited(self, asker, question, outcome):
        self.log.append((asker, question, outcome))
        if isinstance(outcome, GatewayAnswer):
            self.store.keep_answer(outcome)
        return outcome


def put_all(store: GatewayStore, told: Callable[[GatewayAnswer], None]) -> None:
    for question in QUESTIONS:
        outcome = reply("party-1", question, StoredRecords(store), POLICY, Silent())
        assert isinstance(outcome, GatewayAnswer)
        told(outcome)


def charged(store: GatewayStore) -> list[ChargeEntry]:
    """Every charge, and that balances are their sums, no more and no less."""
    with store.ledger.database.reading() as connection:
        cohorts = {cohort: homes_read(homes) for cohort, homes in connection.execute(select(COHORTS))}
        rows = connection.execute(select(CHARGES).order_by(CHARGES.c.place)).all()
        kept = {(row.home, row.period): row for row in connection.execute(select(BALANCES))}
    assert [row.place for row in rows] == list(range(len(rows)))
    entries = [
        ChargeEntry(
            row.question, row.attempt, tuple(sorted(cohorts[row.cohort])),
            tuple(map(int, row.periods.strip("[]").split(","))), PrivacyPrice(row.epsilon_micro, row.rho_pico),
        )
        for row in rows
    ]  # fmt: skip
    added: defaultdict[HomePeriod, HomeBalance] = defaultdict(HomeBalance)
    for entry in entries:
        for each in entry.debited:
            added[each] = added[each].plus(entry.price)
    assert {
        each: HomeBalance(row.epsilon_micro, row.epsilon_squares, row.rho_pico) for each, row in kept.items()
    } == added
    return entries


def forked(work: Callable[[], None]) -> int:
    """A process that does it and ends; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001  # whatever it is, it must not reach pytest a second time
            os._exit(1)
        os._exit(0)
    return pid


class Instants:
    """Counts what a process does to its database; at one of these instants it is killed, as by kill -9."""

    def __init__(self, last: int | None = None) -> None:
        self.seen, self._last = 0, last
        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(Engine, name, self.tick)

    def tick(self, *_: object) -> None:
        self.seen += 1
        if self.seen == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def close(self) -> None:
        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.remove(Engine, name, self.tick)


def answer_until_killed(url: str, said: Path, last: int) -> None:
    """Answers everything, and writes down what it answered, but for the kill."""
    store = GatewayStore(url)
    instants = Instants(last)

    def told(answer: GatewayAnswer) -> None:
        with said.open("a") as file:
            file.write(f"{answer.question} {','.join(map(str, answer.values))}\n")
        instants.tick()

    put_all(store, told)


def charge_many(url: str, who: str, times: int) -> None:
    """As one of several processes."""
    store = GatewayStore(url)
    for at in range(times):
        homes = tuple(f"h{(at + step) % 5}" for step in range(3))
        entry = ChargeEntry(f"{who}-{at}", 0, tuple(sorted(homes)), (0,), PrivacyPrice(epsilon_micro=150_000 + at))
        store.ledger.charge(entry, CAP)
    store.close()


def two_at_once(url: str, times: int) -> None:
    """Two processes on one store, opened by both at once: one ledger, all within the cap, and everything that fits was charged."""
    pids = [forked(lambda who=who: charge_many(url, who, times)) for who in ("one", "other")]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    store = GatewayStore(url)
    entries = charged(store)
    assert {entry.question.split("-")[0] for entry in entries} == {"one", "other"}
    paid = store.ledger.balances([(f"h{at}", 0) for at in range(5)])
    assert all(CAP.holds(balance) for balance in paid.values())
    assert len(entries) < 2 * times
    store.close()
