"""What a meter (or the concentrator of several) has said and not yet been acknowledged for.

A round's sealed shares are on disk before they are published, with the fact that the round is stated: it is stated once, for
ever. They stay, as the same bytes, until the PPN's own receipt (a broker's acknowledgement is not durability).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from hushgrid.bitmap import Bitmap
from hushgrid.database import Database
from hushgrid.messages import Closing, Envelope, Receipt

_MIGRATIONS = (
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
)


@dataclass(frozen=True, slots=True)
class Outstanding:
    """An envelope with what its PPN has said of it. Positions in neither set are to be sent again."""

    envelope: Envelope
    held: Bitmap
    refused: Bitmap

    @property
    def key(self) -> tuple[int, int, int]:
        """(round, point, sequence)."""
        return self.envelope.round, self.envelope.point, self.envelope.sequence

    @property
    def open_positions(self) -> Bitmap:
        """Positions that still wait for an answer."""
        return Bitmap.full(self.envelope.size) - self.held - self.refused

    def still_open(self) -> Envelope:
        """The envelope with only the shares that wait for an answer: same positions, same bytes."""
        positions = self.open_positions
        shares = {at: share for at, share in self.envelope.shares.items() if at in positions}
        return replace(self.envelope, shares=shares)


class Outbox:
    """Durable; what is outstanding is also in memory."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _MIGRATIONS)
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

    def state(
        self, round_number: int, meters: Iterable[str], envelopes: Iterable[Envelope], *, shares: int, lost: int
    ) -> list[Outstanding]:
        """Put one round's envelopes on disk together with the word that these meters are stated through it.

        shares: attempts this makes; lost: how many of them the injected link loses. Rounds rise for every meter: ValueError.
        """
        stated = dict.fromkeys(meters, round_number)
        for meter in stated:
            if round_number <= self._stated.get(meter, -1):
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
                "INSERT INTO tally VALUES (?, ?, ?, ?) ON CONFLICT (round) DO UPDATE SET shares = shares + excluded.shares, "
                "lost = lost + excluded.lost, envelopes = envelopes + excluded.envelopes",
                round_number,
                shares,
                lost,
                len(fresh),
            )
        self._stated.update(stated)
        self._outstanding.update({o.key: o for o in fresh})
        return fresh

    def next_sequence(self, round_number: int) -> int:
        """The number of the next envelope of this round, to whichever PPN; none is ever used twice."""
        rows = self._database.query("SELECT envelopes FROM tally WHERE round = ?", round_number)
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

    def outstanding(self) -> list[Outstanding]:
        """Envelopes that wait for an answer, oldest round first."""
        return [self._outstanding[key] for key in sorted(self._outstanding)]

    def tallies(self) -> tuple[int, int]:
        """(shares, lost) over all rounds: attempts made, and how many of them the injected link lost."""
        rows = self._database.query("SELECT coalesce(sum(shares), 0), coalesce(sum(lost), 0) FROM tally")
        shares, lost = rows[0]
        return shares, lost

    def close(self) -> None:
        """Close the store."""
        self._database.close()
