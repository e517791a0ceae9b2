"""What a meter (or the concentrator of several) has said and not yet been acknowledged for.

A round's sealed shares are on disk before they are published, with the fact that the round is stated: it is stated once, for
ever. They stay, as the same bytes, until the PPN's own receipt (a broker's acknowledgement is not durability).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hushgrid.core.bitmap import Bitmap
from hushgrid.shell.database import Database
from hushgrid.wire.shares import Closing, Envelope, Receipt, RepairRequest

MIGRATIONS = (
    """
    CREATE TABLE stated (meter TEXT PRIMARY KEY, through_round INTEGER NOT NULL);
    CREATE TABLE envelope (
        round INTEGER NOT NULL, point INTEGER NOT NULL, sequence INTEGER NOT NULL, frame BLOB NOT NULL,
        held BLOB NOT NULL, refused BLOB NOT NULL, PRIMARY KEY (round, point, sequence)
    );
    CREATE TABLE tally (
        round INTEGER PRIMARY KEY, shares INTEGER NOT NULL, lost INTEGER NOT NULL, envelopes INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE again (one INTEGER PRIMARY KEY CHECK (one = 1), repaired INTEGER NOT NULL, repeated INTEGER NOT NULL);
    INSERT INTO again VALUES (1, 0, 0)
    """,
    """
    CREATE TABLE said (round INTEGER PRIMARY KEY, shares INTEGER NOT NULL, envelopes INTEGER NOT NULL);
    INSERT INTO said SELECT round, shares, envelopes FROM tally;
    DROP TABLE tally
    """,
)


@dataclass(frozen=True, slots=True)
class Outstanding:
    """An envelope with what its PPN has said of it. Positions in neither set are to be sent again.

    attempts: by position, the last repair request that asked for it; 0 for all others.
    """

    envelope: Envelope
    held: Bitmap
    refused: Bitmap
    attempts: Mapping[int, int] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, int, int]:
        """(round, point, sequence)."""
        return self.envelope.round, self.envelope.point, self.envelope.sequence

    @property
    def open_positions(self) -> Bitmap:
        """Positions that still wait for an answer."""
        return Bitmap.full(self.envelope.size) - self.held - self.refused

    def still_open(self) -> list[Envelope]:
        """The shares that wait for an answer, at the same positions, as the same bytes: one envelope for each attempt."""
        return self.carrying(self.open_positions)

    def carrying(self, positions: Iterable[int]) -> list[Envelope]:
        """The envelope with only these positions, one for each attempt."""
        by_attempt: dict[int, dict[int, tuple[int, bytes]]] = {}
        for at in positions:
            if at in self.envelope.shares:
                by_attempt.setdefault(self.attempts.get(at, 0), {})[at] = self.envelope.shares[at]
        return [replace(self.envelope, attempt=n, shares=shares) for n, shares in sorted(by_attempt.items())]


class Outbox:
    """Durable; what is outstanding is also in memory."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, MIGRATIONS)
        self._stated: dict[str, int] = dict(self._database.query("SELECT meter, through_round FROM stated"))
        self._outstanding: dict[tuple[int, int, int], Outstanding] = {}
        for frame, held, refused in self._database.query("SELECT frame, held, refused FROM envelope"):
            envelope = Envelope.from_bytes(frame)
            size = envelope.size
            entry = Outstanding(envelope, Bitmap.from_bytes(size, held), Bitmap.from_bytes(size, refused))
            self._outstanding[entry.key] = entry

    def stated_through(self, meter: str) -> int | None:
        """The last round this meter has said anything about; None before the first."""
        return self._stated.get(meter)

    def has_stated(self, meter: str, round_number: int) -> bool:
        """Whether this meter has said all it will ever say about a round: rounds rise, so that it has for every earlier one."""
        through = self._stated.get(meter)
        return through is not None and round_number <= through

    def state(self, round_number: int, meters: Iterable[str], envelopes: Iterable[Envelope]) -> list[Outstanding]:
        """Put one round's envelopes on disk together with the word that these meters are stated through it.

        Rounds rise for every meter: ValueError.
        """
        stated = dict.fromkeys(meters, round_number)
        for meter in stated:
            if self.has_stated(meter, round_number):
                raise ValueError(f"round {round_number} of {meter} is stated already")
        fresh = [Outstanding(e, Bitmap(e.size), Bitmap(e.size)) for e in envelopes]
        with self._database.transaction():
            self._database.execute_many(
                "INSERT INTO stated VALUES (?, ?) ON CONFLICT (meter) DO UPDATE SET through_round = excluded.through_round",
                list(stated.items()),
            )
            rows = [(*o.key, o.envelope.to_bytes(), o.held.to_bytes(), o.refused.to_bytes()) for o in fresh]
            self._database.execute_many("INSERT INTO envelope VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._database.execute(
                "INSERT INTO said VALUES (?, ?, ?) ON CONFLICT (round) DO UPDATE SET shares = shares + excluded.shares, "
                "envelopes = envelopes + excluded.envelopes",
                round_number,
                sum(len(o.envelope.shares) for o in fresh),
                len(fresh),
            )
        self._stated.update(stated)
        self._outstanding.update({o.key: o for o in fresh})
        return fresh

    def next_sequence(self, round_number: int) -> int:
        """The number of the next envelope of this round, to whichever PPN; none is ever used twice."""
        rows = self._database.query("SELECT envelopes FROM said WHERE round = ?", round_number)
        number: int = rows[0][0] if rows else 0
        return number

    def acknowledge(self, receipt: Receipt) -> bool:
        """Take in a PPN's receipt; True when it changed something. A receipt of another size is ignored."""
        key = (receipt.round, receipt.point, receipt.sequence)
        entry = self._outstanding.get(key)
        if entry is None or entry.envelope.size != receipt.held.size:
            return False
        return self._settle(replace(entry, held=entry.held | receipt.held, refused=entry.refused | receipt.refused))

    def close_round(self, closing: Closing) -> bool:
        """The PPN takes nothing more of this round: whatever still waits there is not counted."""
        changed = False
        for entry in [o for k, o in self._outstanding.items() if k[:2] == (closing.round, closing.point)]:
            changed |= self._settle(replace(entry, refused=entry.refused | entry.open_positions))
        return changed

    def _settle(self, entry: Outstanding) -> bool:
        before = self._outstanding[entry.key]
        if entry == before:
            return False
        if len(entry.open_positions):
            self._outstanding[entry.key] = entry
            self._database.execute(
                "UPDATE envelope SET held = ?, refused = ? WHERE round = ? AND point = ? AND sequence = ?",
                entry.held.to_bytes(),
                entry.refused.to_bytes(),
                *entry.key,
            )
        else:
            del self._outstanding[entry.key]
            self._database.execute("DELETE FROM envelope WHERE round = ? AND point = ? AND sequence = ?", *entry.key)
        return True

    def asked_again(self, request: RepairRequest) -> list[Envelope]:
        """A PPN lacks shares: those of them that still wait for its receipt, as envelopes of this attempt."""
        found, numbers = [], set(request.numbers)
        for key, entry in list(self._outstanding.items()):
            if key[:2] == (request.round, request.point):
                wanted = {at for at, (number, _) in entry.envelope.shares.items() if number in numbers}
                positions = sorted(wanted & set(entry.open_positions))
                again = replace(entry, attempts={**entry.attempts, **dict.fromkeys(positions, request.attempt)})
                self._outstanding[key] = again
                found += again.carrying(positions)
        return found

    def count_again(self, *, repaired: int = 0, repeated: int = 0) -> None:
        """Shares were sent once more: because a PPN asked for them, or because no answer came."""
        self._database.execute("UPDATE again SET repaired = repaired + ?, repeated = repeated + ?", repaired, repeated)

    def sent_again(self) -> tuple[int, int]:
        """(repaired, repeated) over all rounds, in shares."""
        repaired, repeated = self._database.query("SELECT repaired, repeated FROM again")[0]
        return repaired, repeated

    def outstanding(self) -> list[Outstanding]:
        """Envelopes that wait for an answer, oldest round first."""
        return [self._outstanding[key] for key in sorted(self._outstanding)]

    def shares_stated(self) -> int:
        """Shares over all rounds, each once, however often it was sent."""
        shares: int = self._database.query("SELECT coalesce(sum(shares), 0) FROM said")[0][0]
        return shares

    def close(self) -> None:
        """Close the store."""
        self._database.close()
