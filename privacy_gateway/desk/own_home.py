"""What a customer sees of their own home: bills, what was disclosed, questions that covered it. Every look is logged before it leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hushgrid.errors import ConfigurationError, HushgridError, JournalError, MessageError, RefusedError
from hushgrid.wire.purpose import Purpose
from privacy_gateway.audit.chain import followed
from privacy_gateway.audit.entries import AnyEntry, LoggedAnswer, LoggedDisclosure, read_entry
from privacy_gateway.audit.log_file import AuditLog, lines_of
from privacy_gateway.export.bills import PeriodTotal, read_bills
from privacy_gateway.export.green_button import green_button
from privacy_gateway.vault.pseudonym_keys import PseudonymKeys
from privacy_gateway.vault.pseudonyms import billing_epoch, keyed_digest, pseudonym_of

#: As whom the log names a customer who sees their own: no id, and nobody else.
_CUSTOMER = "customer"


class BillsNotUnderstoodError(HushgridError):
    """What a consumer wrote of a home's bills cannot be handed on. The text names the file and no value."""


@dataclass(frozen=True, slots=True)
class OwnView:
    """disclosures: what left of this home under names whose keys are kept. answers: that covered it."""

    disclosures: tuple[LoggedDisclosure, ...]
    answers: tuple[LoggedAnswer, ...]


class OwnHomes:
    """See the module."""

    def __init__(
        self,
        *,
        bills: Path | None,
        interval_seconds: int,
        period_rounds: int,
        keys: PseudonymKeys,
        audit: AuditLog,
        log_path: Path,
        now: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """bills: a consumer's bills.jsonl. period_rounds: of a billing period, in which a home has one name."""
        self._bills, self._interval, self._period = bills, interval_seconds, period_rounds
        self._keys, self._audit, self._log_path, self._now = keys, audit, log_path, now

    def bills(self, meter: str) -> tuple[PeriodTotal, ...]:
        """Of this meter only. BillsNotUnderstoodError where its rows are not understood, or cannot be read."""
        try:
            return read_bills(self._rows(meter), meter, self._interval)
        except (MessageError, RefusedError):
            raise BillsNotUnderstoodError(f"{self._bills}: a home's bills are not understood") from None

    def green_button(self, meter: str, *, grid: str, author: str) -> bytes:
        """The same as a file. BillsNotUnderstoodError also for what such a file has no room for."""
        try:
            return green_button(meter, self.bills(meter), grid=grid, author=author, updated_seconds=self._now())
        except (ConfigurationError, OverflowError):
            raise BillsNotUnderstoodError(
                f"{self._bills}: a home's bills do not fit into a Green Button file"
            ) from None

    def _rows(self, meter: str) -> Iterator[bytes]:
        if self._bills is None:
            return
        try:
            content = self._bills.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise BillsNotUnderstoodError(f"{self._bills}: {error.strerror or error}") from None
        for line in content.split(b"\n")[:-1]:
            if meter.encode() in line and _meter_of(line) == meter:
                yield line

    def told(self, meter: str, what: str, content: bytes) -> None:
        """In the log, on disk, before it leaves: that this was handed to the customer."""
        now = self._now()
        key = self._keys.key(billing_epoch(now // self._interval, self._period))
        self._audit.append(
            LoggedDisclosure(
                at_seconds=now, home=pseudonym_of(key, meter), recipient=_CUSTOMER, purpose=Purpose.BILLING, what=what,
                content=keyed_digest(key, content),
            )
        )  # fmt: skip

    def view(self, meter: str, charged: set[str]) -> OwnView:
        """What the log says of this home. charged: digests of questions that covered it."""
        names = {pseudonym_of(self._keys.key(epoch), meter) for epoch in self._keys.epochs}
        disclosures, answers = [], []
        for entry in entries_of(self._log_path):
            if isinstance(entry, LoggedDisclosure) and entry.home in names:
                disclosures.append(entry)
            elif isinstance(entry, LoggedAnswer) and entry.question.hex() in charged:
                answers.append(entry)
        return OwnView(tuple(disclosures), tuple(answers))


def entries_of(path: Path) -> list[AnyEntry]:
    """The entries of an audit log, whose chain is followed; a last line that is being written is left out."""
    try:
        with path.open("rb") as file:
            return [
                read_entry(content) for _, content in followed(line for line in lines_of(file) if line.endswith(b"\n"))
            ]
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror or error}") from None
    except MessageError:
        raise JournalError(f"{path}: holds an entry that says nothing that is known here") from None


def _meter_of(line: bytes) -> object:
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return read.get("meter") if isinstance(read, dict) else None
