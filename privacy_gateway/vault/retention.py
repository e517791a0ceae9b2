"""What ends when. Records of single homes end some calendar months after the billing period they are of; sums stay, and so does the log.

Everything here is UTC, and a function of instants that are given: nothing asks what time it is.
"""

from __future__ import annotations

import calendar
import datetime as dt
import enum

from hushgrid.search import least

#: If nothing else is set.
RETENTION_MONTHS = 18
_MONTHS = 12


class Kept(enum.Enum):
    """What a gateway keeps. The value says whether it is about a single home, and ends."""

    BILL = ("bill", True)
    PSEUDONYM_KEY = ("pseudonym-key", True)
    CONSENT = ("consent", False)  # whether a home is covered, as long as there are questions
    SUM = ("sum", False)
    AUDIT_ENTRY = ("audit-entry", False)  # under pseudonyms, which end with their keys

    @property
    def ends(self) -> bool:
        """Whether it is kept for a time only."""
        return self.value[1]


def months_later(instant: dt.datetime, months: int) -> dt.datetime:
    """The same day and time so many calendar months later; the month's last day where it has no such day.

    ValueError for an instant without UTC, less than no month, or a year beyond 9999.
    """
    if instant.utcoffset() != dt.timedelta():
        raise ValueError(f"{instant.isoformat()} is not in UTC")
    if months < 0:
        raise ValueError(f"{months} months")
    years, month = divmod(instant.month - 1 + months, _MONTHS)
    year = instant.year + years
    if year > dt.MAXYEAR:
        raise ValueError(f"{months} months after {instant.isoformat()} there are no dates")
    last = calendar.monthrange(year, month + 1)[1]
    return instant.replace(year=year, month=month + 1, day=min(instant.day, last))


def ends_at(kept: Kept, period_end: dt.datetime, months: int = RETENTION_MONTHS) -> dt.datetime | None:
    """From when on it is not kept any more; None for what stays. period_end: of the billing period it is of."""
    return months_later(period_end, months) if kept.ends else None


def is_over(kept: Kept, period_end: dt.datetime, now: dt.datetime, months: int = RETENTION_MONTHS) -> bool:
    """Whether it is to be destroyed now."""
    end = ends_at(kept, period_end, months)
    return end is not None and now >= end


def last_epoch_over(
    now: dt.datetime, *, interval_seconds: int, period_rounds: int, months: int = RETENTION_MONTHS
) -> int:
    """The last billing epoch whose pseudonyms are to be destroyed now, and all before it; -1 for none.

    interval_seconds: of a round; period_rounds: of a billing period, numbered as `privacy_gateway.vault.pseudonyms.billing_epoch` does.
    """
    seconds = interval_seconds * period_rounds
    if seconds < 1:
        raise ValueError(f"no billing period has {seconds} seconds")

    def stays(epoch: int) -> bool:
        end = dt.datetime.fromtimestamp((epoch + 1) * seconds, tz=dt.UTC)
        return not is_over(Kept.PSEUDONYM_KEY, end, now, months)

    return least(stays, -1, int(now.timestamp()) // seconds + 1) - 1
