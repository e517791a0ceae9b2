"""What a meter (or the concentrator of several) must not forget about its masked readings. SQLite, on disk before it is said.

A (meter, stream, round) is stated once, for ever, as the same bytes until the consumer's receipt. What is owed (`carry`), what
was disclosed (`disclosure`) and what pairs have agreed on survive kill -9 with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Self

from hushgrid.core.schedule import Window
from hushgrid.shell.database import Database
from meter_agent.masked.carry import Carry
from meter_agent.masked.disclosure import Opening, Openings
from meter_agent.masked.values import Key, PairPeriod, PairTexts, Stated

MIGRATIONS = (
    """
    CREATE TABLE stated (meter TEXT NOT NULL, stream INTEGER NOT NULL, through_round INTEGER NOT NULL,
        PRIMARY KEY (meter, stream)) WITHOUT ROWID;
    CREATE TABLE outstanding (stream INTEGER NOT NULL, round INTEGER NOT NULL, number INTEGER NOT NULL,
        meter TEXT NOT NULL, plan_version INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (stream, round, number));
    CREATE TABLE owed (meter TEXT NOT NULL, stream INTEGER NOT NULL, watt_hours INTEGER NOT NULL,
        PRIMARY KEY (meter, stream)) WITHOUT ROWID;
    CREATE TABLE sent (meter TEXT NOT NULL, stream INTEGER NOT NULL, round INTEGER NOT NULL, watt_hours INTEGER NOT NULL,
        excluded INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (meter, stream, round)) WITHOUT ROWID;
    CREATE TABLE opening (meter TEXT NOT NULL, stream INTEGER NOT NULL, about INTEGER NOT NULL, round INTEGER NOT NULL,
        opening TEXT NOT NULL, PRIMARY KEY (meter, stream, about, round)) WITHOUT ROWID;
    CREATE TABLE answer (meter TEXT NOT NULL, stream INTEGER NOT NULL, round INTEGER NOT NULL, sealed BLOB NOT NULL,
        PRIMARY KEY (meter, stream, round)) WITHOUT ROWID;
    CREATE TABLE taken_up (meter TEXT NOT NULL, stream INTEGER NOT NULL, round INTEGER NOT NULL, watt_hours INTEGER NOT NULL,
        PRIMARY KEY (meter, stream, round)) WITHOUT ROWID;
    CREATE TABLE self_secret (meter TEXT NOT NULL, stream INTEGER NOT NULL, graph BLOB NOT NULL, secret BLOB NOT NULL,
        PRIMARY KEY (meter, stream, graph)) WITHOUT ROWID;
    CREATE TABLE setup (meter TEXT NOT NULL, stream INTEGER NOT NULL, graph BLOB NOT NULL, first_round INTEGER NOT NULL,
        peer INTEGER NOT NULL, said BLOB NOT NULL, heard BLOB, answered INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (meter, stream, graph, first_round, peer)) WITHOUT ROWID;
    CREATE TABLE drawn (meter TEXT NOT NULL, stream INTEGER NOT NULL, graph BLOB NOT NULL, first_round INTEGER NOT NULL,
        terms TEXT NOT NULL, PRIMARY KEY (meter, stream, graph, first_round)) WITHOUT ROWID;
    CREATE TABLE tally (one INTEGER PRIMARY KEY CHECK (one = 1), masked INTEGER NOT NULL, lost INTEGER NOT NULL);
    CREATE TABLE floor (one INTEGER PRIMARY KEY CHECK (one = 1), round INTEGER NOT NULL)
    """,
    """
    CREATE TABLE said (one INTEGER PRIMARY KEY CHECK (one = 1), readings INTEGER NOT NULL);
    INSERT INTO said SELECT one, masked FROM tally;
    DROP TABLE tally
    """,
)


class MaskingJournal:
    """See the module. Readable by its owner only; what is deleted is overwritten."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._database = Database(path, MIGRATIONS, secrets=True, read_only=read_only)
        self._stated: dict[tuple[str, int], int] = {
            (meter, stream): through
            for meter, stream, through in self._database.query("SELECT meter, stream, through_round FROM stated")
        }
        query = "SELECT stream, round, number, meter, plan_version, sealed FROM outstanding"
        self._outstanding = {one.key: one for one in (Stated(*row) for row in self._database.query(query))}
        #: Rounds before this one are done with: nothing of them is opened any more.
        self.floor: int = next((r for (r,) in self._database.query("SELECT round FROM floor")), 0)

    @classmethod
    def read_only(cls, path: Path) -> Self:
        """Another program's look at it: nothing can be changed. JournalError when it is not there."""
        return cls(path, read_only=True)

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing over several calls, and one wait for the disk."""
        return self._database.transaction()

    # Masked readings

    def stated_through(self, meter: str, stream: int) -> int | None:
        """The last round this meter has masked for the stream; None before the first."""
        return self._stated.get((meter, stream))

    def has_stated(self, meter: str, stream: int, round_number: int) -> bool:
        """Whether this meter has masked a round for the stream, or one after it."""
        through = self._stated.get((meter, stream))
        return through is not None and round_number <= through

    def outstanding(self) -> list[Stated]:
        """What waits for a receipt, oldest round first."""
        return sorted(self._outstanding.values(), key=lambda one: (one.round, one.stream, one.number))

    def state(
        self,
        round_number: int,
        fresh: Sequence[Stated],
        carries: Iterable[tuple[str, int, Carry, int]] = (),
    ) -> None:
        """Put one round's masked readings on disk, with what their meters owe from now on. ValueError when one is stated.

        carries: (meter, stream, what it owes, Wh of earlier rounds that went into this one).
        """
        for one in fresh:
            if round_number <= self._stated.get((one.meter, one.stream), -1):
                raise ValueError(f"round {round_number} of {one.meter} is stated already")
        with self._database.transaction():
            self._database.execute_many(
                "INSERT INTO stated VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET through_round = excluded.through_round",
                [(one.meter, one.stream, round_number) for one in fresh],
            )
            self._database.execute(
                "INSERT INTO said VALUES (1, ?) ON CONFLICT DO UPDATE SET readings = readings + excluded.readings",
                len(fresh),
            )
            rows = [(o.stream, o.round, o.number, o.meter, o.plan_version, o.sealed) for o in fresh]
            self._database.execute_many("INSERT INTO outstanding VALUES (?, ?, ?, ?, ?, ?)", rows)
            for meter, stream, carry, taken_up in carries:
                self._keep_carry(meter, stream, carry)
                if taken_up:
                    row = (meter, stream, round_number, taken_up)
                    self._database.execute("INSERT INTO taken_up VALUES (?, ?, ?, ?)", *row)
        self._stated.update({(one.meter, one.stream): round_number for one in fresh})
        self._outstanding.update({one.key: one for one in fresh})

    def receipted(self, keys: Iterable[Key]) -> list[Key]:
        """Let go of what the consumer has on its disk or will never count; returns what was still kept."""
        known = [key for key in keys if key in self._outstanding]
        if known:
            with self._database.transaction():
                statement = "DELETE FROM outstanding WHERE stream = ? AND round = ? AND number = ?"
                self._database.execute_many(statement, known)
            for key in known:
                del self._outstanding[key]
        return known

    def readings_stated(self) -> int:
        """Masked readings over all rounds, each once, however often it was sent."""
        return next((readings for (readings,) in self._database.query("SELECT readings FROM said")), 0)

    # What is owed to bills

    def carry(self, meter: str, stream: int, bound_watt_hours: int) -> Carry:
        """What the meter owes and what it put into each round that is not forgotten."""
        owed = self._database.query("SELECT watt_hours FROM owed WHERE meter = ? AND stream = ?", meter, stream)
        query = "SELECT round, watt_hours, excluded FROM sent WHERE meter = ? AND stream = ?"
        rows = self._database.query(query, meter, stream)
        sent = MappingProxyType({round_number: watt_hours for round_number, watt_hours, _ in rows})
        return Carry(bound_watt_hours, owed[0][0] if owed else 0, sent, frozenset(r for r, _, out in rows if out))

    def taken_up(self, meter: str, stream: int) -> dict[int, int]:
        """Wh of earlier rounds, by the round they went into."""
        return dict(
            self._database.query("SELECT round, watt_hours FROM taken_up WHERE meter = ? AND stream = ?", meter, stream)
        )

    def unheard(self, meter: str, stream: int) -> set[int]:
        """Rounds of whose closing the meter has not heard: it still sends what it masked, or has not been asked to open."""
        query = (
            "SELECT round FROM sent s WHERE meter = ? AND stream = ? AND NOT excluded AND ("
            "EXISTS (SELECT 1 FROM outstanding o WHERE o.meter = s.meter AND o.stream = s.stream AND o.round = s.round) "
            "OR NOT EXISTS (SELECT 1 FROM answer a WHERE a.meter = s.meter AND a.stream = s.stream AND a.round = s.round))"
        )
        return {round_number for (round_number,) in self._database.query(query, meter, stream)}

    def exclude(self, meter: str, stream: int, round_number: int, bound_watt_hours: int) -> None:
        """A round was closed without this meter: its Wh travel in a later one. Repeating it changes nothing."""
        carry = self.carry(meter, stream, bound_watt_hours)
        if round_number in carry.sent:
            with self._database.transaction():
                self._keep_carry(meter, stream, carry.exclude(round_number))

    def _keep_carry(self, meter: str, stream: int, carry: Carry) -> None:
        self._database.execute(
            "INSERT INTO owed VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET watt_hours = excluded.watt_hours",
            meter, stream, carry.pending_watt_hours,
        )  # fmt: skip
        self._database.execute_many(
            "INSERT INTO sent VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET excluded = excluded.excluded",
            [(meter, stream, r, put, r in carry.excluded) for r, put in carry.sent.items()],
        )

    # What was disclosed

    def openings(self, meter: str, stream: int, about: int, round_number: int) -> Openings:
        """What this meter has answered about one (meter number, round)."""
        query = "SELECT opening FROM opening WHERE meter = ? AND stream = ? AND about = ? AND round = ?"
        rows = self._database.query(query, meter, stream, about, round_number)
        return Openings.restored((str(about), round_number, Opening(opening)) for (opening,) in rows)

    def rows_opened(self, meter: str, stream: int, rounds: Window) -> dict[int, tuple[int, int]]:
        """Meter number -> (rounds of the window it is in, rounds it is left out of), as this meter has answered."""
        query = (
            "SELECT about, sum(opening = ?), sum(opening = ?) FROM opening WHERE meter = ? AND stream = ? "
            "AND round BETWEEN ? AND ? GROUP BY about"
        )
        place = (meter, stream, rounds.first, rounds.last)
        rows = self._database.query(query, Opening.SELF.value, Opening.PAIRS.value, *place)
        return {about: (included, left_out) for about, included, left_out in rows}

    def answer(self, meter: str, stream: int, round_number: int) -> bytes | None:
        """The sealed openings this meter has given of a round; None before."""
        query = "SELECT sealed FROM answer WHERE meter = ? AND stream = ? AND round = ?"
        return next((sealed for (sealed,) in self._database.query(query, meter, stream, round_number)), None)

    def commit_answer(
        self, meter: str, stream: int, round_number: int, openings: Iterable[tuple[int, Opening]], sealed: bytes
    ) -> None:
        """Put an answer on disk before it is given, with what it opens about each (meter number); there is one for ever."""
        with self._database.transaction():
            rows = [(meter, stream, about, round_number, opening.value) for about, opening in openings]
            self._database.execute_many("INSERT OR IGNORE INTO opening VALUES (?, ?, ?, ?, ?)", rows)
            self._database.execute("INSERT INTO answer VALUES (?, ?, ?, ?)", meter, stream, round_number, sealed)

    # What pairs agree on

    def self_secret(self, meter: str, stream: int, graph: bytes, fresh: bytes) -> bytes:
        """The secret of the meter's self-masks under a graph: `fresh` when there was none, on disk from now on."""
        self._database.execute("INSERT OR IGNORE INTO self_secret VALUES (?, ?, ?, ?)", meter, stream, graph, fresh)
        query = "SELECT secret FROM self_secret WHERE meter = ? AND stream = ? AND graph = ?"
        secret: bytes = self._database.query(query, meter, stream, graph)[0][0]
        return secret

    def setups(self, where: PairPeriod) -> dict[int, PairTexts]:
        """Neighbour number -> texts; empty before `say`."""
        query = "SELECT peer, said, heard, answered FROM setup WHERE meter = ? AND stream = ? AND graph = ? AND first_round = ?"
        rows = self._database.query(query, where.meter, where.stream, where.graph, where.first_round)
        return {peer: PairTexts(said, heard, bool(answered)) for peer, said, heard, answered in rows}

    def say(self, where: PairPeriod, texts: dict[int, bytes]) -> None:
        """Keep what will be said to each neighbour; what was said before stays as it is."""
        rows = [(where.meter, where.stream, where.graph, where.first_round, peer, text) for peer, text in texts.items()]
        statement = (
            "INSERT OR IGNORE INTO setup (meter, stream, graph, first_round, peer, said) VALUES (?, ?, ?, ?, ?, ?)"
        )
        with self._database.transaction():
            self._database.execute_many(statement, rows)

    def hear(self, rows: Iterable[tuple[PairPeriod, int, bytes]]) -> None:
        """Keep what neighbours said, the first text of each; an answer may follow."""
        statement = (
            "UPDATE setup SET heard = coalesce(heard, ?) WHERE meter = ? AND stream = ? AND graph = ? "
            "AND first_round = ? AND peer = ?"
        )
        with self._database.transaction():
            self._database.execute_many(
                statement, [(text, w.meter, w.stream, w.graph, w.first_round, peer) for w, peer, text in rows]
            )

    def answered(self, rows: Iterable[tuple[PairPeriod, int]]) -> None:
        """These neighbours have what was said to them."""
        statement = "UPDATE setup SET answered = 1 WHERE meter = ? AND stream = ? AND graph = ? AND first_round = ? AND peer = ?"
        with self._database.transaction():
            self._database.execute_many(
                statement, [(w.meter, w.stream, w.graph, w.first_round, peer) for w, peer in rows]
            )

    def drawn(self, where: PairPeriod, fresh: Sequence[int]) -> tuple[int, ...]:
        """An isolated meter's noise of one period: `fresh` when there was none, on disk from now on."""
        key = (where.meter, where.stream, where.graph, where.first_round)
        text = ",".join(map(str, fresh))
        self._database.execute("INSERT OR IGNORE INTO drawn VALUES (?, ?, ?, ?, ?)", *key, text)
        query = "SELECT terms FROM drawn WHERE meter = ? AND stream = ? AND graph = ? AND first_round = ?"
        kept: str = self._database.query(query, *key)[0][0]
        return tuple(int(term) for term in kept.split(",") if term)

    def forget_before(self, round_number: int) -> None:
        """Let go of what rounds before this one were masked with; what is owed, stated and not receipted stays."""
        if round_number <= self.floor:
            return
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO floor VALUES (1, ?) ON CONFLICT DO UPDATE SET round = excluded.round", round_number
            )
            self._database.execute("DELETE FROM setup WHERE first_round < ?", round_number)
            self._database.execute("DELETE FROM drawn WHERE first_round < ?", round_number)
            self._database.execute(
                "DELETE FROM sent WHERE round < ? AND NOT EXISTS (SELECT 1 FROM outstanding o "
                "WHERE o.stream = sent.stream AND o.round = sent.round AND o.meter = sent.meter)",
                round_number,
            )
            self._database.execute("DELETE FROM opening WHERE round < ?", round_number)
            self._database.execute("DELETE FROM answer WHERE round < ?", round_number)
        self.floor = round_number

    def close(self) -> None:
        """Close the store."""
        self._database.close()
