"""Recovered sums from a consumer's `results.jsonl`, read again when the file has changed.

The one place that knows that file. A line without its end is waited for: the consumer is still writing it. A line that is not
understood, or cannot be of its rule, is refused by its number and rule, never with its values; the others are taken in.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import ConfigDict, Field, StrictInt

from hushgrid.errors import ConfigurationError, MessageError
from hushgrid.wire.model import Model
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan

log = logging.getLogger("hushgrid")

_Count = Annotated[StrictInt, Field(ge=0, lt=2**63)]
_RELEASED = "released"


@dataclass(frozen=True, slots=True)
class ReadResults:
    """What is new. refused: why lines were not taken. settled_before: every round below it is over, as far as the file says."""

    sums: tuple[RecoveredSum, ...]
    refused: tuple[str, ...]
    settled_before: int


class RecoveredSums(Protocol):
    """Where the gateway's sums come from."""

    def read(self) -> ReadResults:
        """What has come since the last time; ConfigurationError when it cannot be read."""
        ...


class _Row(Model):
    """One result as a consumer writes it; fields that are not needed here are passed over."""

    model_config = ConfigDict(extra="ignore")

    rule: Annotated[str, Field(max_length=200)]
    number: Annotated[StrictInt, Field(ge=0, lt=2**24)]
    first_round: _Count
    last_round: _Count
    status: str
    watt_hours: StrictInt | None
    expected: _Count
    included: _Count
    meters: _Count


class ResultsFile:
    """See the module. Its lines are only ever added to; a file that begins otherwise than before is read from its beginning."""

    def __init__(self, path: Path, cohorts: Mapping[str, Sequence[str]]) -> None:
        """cohorts: the homes of each rule, by the rule's name. Rules that are not named are passed over."""
        self._path = path
        self._cohorts = {name: frozenset(homes) for name, homes in cohorts.items()}
        self._lines, self._settled = 0, 0
        self._digest = hashlib.sha256()
        self._size = 0
        self._looked: tuple[int, int, int] | None = None

    def read(self) -> ReadResults:
        """What has come since the last time."""
        sums, refused = [], []
        for number, line in self._fresh():
            try:
                found = self._sum(line)
            except (MessageError, ValueError) as error:
                refused.append(f"{self._path}: line {number}: {error}")
            else:
                sums += [] if found is None else [found]
        return ReadResults(tuple(sums), tuple(refused), self._settled)

    def _fresh(self) -> list[tuple[int, bytes]]:
        try:
            found = self._path.stat()
            looks = (found.st_ino, found.st_size, found.st_mtime_ns)
            if looks == self._looked:
                return []
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []  # the consumer has not begun
        except OSError as error:
            raise ConfigurationError(f"{self._path}: {error.strerror or error}") from None
        self._looked = looks
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < self._size or hashlib.sha256(whole[: self._size]).digest() != self._digest.digest():
            log.info("%s: begins otherwise than before, and is read from its beginning", self._path)
            self._size, self._lines, self._digest = 0, 0, hashlib.sha256()
        fresh = whole[self._size :]
        numbered = list(enumerate(fresh.splitlines(), start=self._lines + 1))
        self._digest.update(fresh)
        self._size, self._lines = len(whole), self._lines + len(numbered)
        return numbered

    def _sum(self, line: bytes) -> RecoveredSum | None:
        """None for a rule that is passed over, and for a window without a number. ValueError where it cannot be of its rule."""
        row = _Row.from_json(line)
        homes = self._cohorts.get(row.rule)
        if homes is None:
            return None
        if row.last_round < row.first_round:
            raise ValueError(f"rule {row.rule!a}: its last round is before its first")
        self._settled = max(self._settled, row.last_round + 1)
        if row.status != _RELEASED:
            return None
        if row.watt_hours is None:
            raise ValueError(f"rule {row.rule!a}: released, and no number")
        span = RoundSpan(row.first_round, row.last_round + 1)
        if len(homes) < 2:
            raise ValueError(f"rule {row.rule!a}: a sum of one home is a reading, and none is kept here")
        if row.expected > len(homes) * span.rounds:
            raise ValueError(f"rule {row.rule!a}: it speaks of more homes than the {len(homes)} of its cohort")
        return RecoveredSum(row.number, homes, span, row.watt_hours, row.included, row.meters)
