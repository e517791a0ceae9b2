"""What ends when: calendar months, to the second, and sums never."""

from __future__ import annotations

import calendar
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy_gateway.vault.retention import Kept, ends_at, is_over, last_epoch_over, months_later


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("instant", "months", "later"),
    [
        (utc(2026, 1, 1), 18, utc(2027, 7, 1)),
        (utc(2024, 8, 31, 23, 59, 59), 18, utc(2026, 2, 28, 23, 59, 59)),
        (utc(2026, 8, 31), 18, utc(2028, 2, 29)),
        (utc(2024, 2, 29), 12, utc(2025, 2, 28)),
        (utc(2026, 12, 31), 2, utc(2027, 2, 28)),
        (utc(2026, 12, 1), 0, utc(2026, 12, 1)),
    ],
)
def test_months_are_those_of_the_calendar(instant, months, later):
    assert months_later(instant, months) == later


instants = st.integers(0, 29_000_000_000).map(lambda seconds: dt.datetime.fromtimestamp(seconds, tz=dt.UTC))


@given(instants, st.integers(0, 600))
def test_so_many_months_later_is_that_month_at_that_time_and_the_day_as_far_as_it_goes(instant, months):
    later = months_later(instant, months)
    assert (later.year * 12 + later.month) - (instant.year * 12 + instant.month) == months
    assert later.day == min(instant.day, calendar.monthrange(later.year, later.month)[1])
    assert (later.timetz(), later.microsecond) == (instant.timetz(), instant.microsecond)


@given(instants, instants, st.integers(0, 60))
def test_what_ended_later_is_never_over_sooner(one, other, months):
    first, second = sorted([one, other])
    assert months_later(first, months) <= months_later(second, months)


def test_records_of_single_homes_end_and_sums_consents_and_the_log_stay():
    end = utc(2026, 2, 1)
    assert {kept for kept in Kept if ends_at(kept, end) is not None} == {Kept.BILL, Kept.PSEUDONYM_KEY}
    assert ends_at(Kept.BILL, end) == utc(2027, 8, 1)
    assert ends_at(Kept.BILL, end, months=1) == utc(2026, 3, 1)
    assert not is_over(Kept.BILL, end, utc(2027, 7, 31, 23, 59, 59))
    assert is_over(Kept.BILL, end, utc(2027, 8, 1))
    assert not is_over(Kept.SUM, end, utc(9999, 1, 1))


@given(instants, st.sampled_from([(900, 96), (1800, 1440), (3600, 720), (86_400, 30), (60, 7)]), st.integers(0, 40))
def test_the_last_epoch_that_is_over_is_over_and_the_next_one_is_not(now, grid, months):
    interval, rounds = grid
    epoch = last_epoch_over(now, interval_seconds=interval, period_rounds=rounds, months=months)
    end = dt.datetime.fromtimestamp((epoch + 1) * interval * rounds, tz=dt.UTC)
    following = dt.datetime.fromtimestamp((epoch + 2) * interval * rounds, tz=dt.UTC)
    assert epoch == -1 or months_later(end, months) <= now
    assert months_later(following, months) > now


def test_what_is_no_time_is_refused():
    with pytest.raises(ValueError, match="not in UTC"):
        months_later(dt.datetime(2026, 1, 1), 18)  # noqa: DTZ001
    with pytest.raises(ValueError, match="not in UTC"):
        months_later(dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), 18)
    with pytest.raises(ValueError, match="-1 months"):
        months_later(utc(2026, 1, 1), -1)
    with pytest.raises(ValueError, match="there are no dates"):
        months_later(utc(9999, 1, 1), 12)
    with pytest.raises(ValueError, match="no billing period"):
        last_epoch_over(utc(2026, 1, 1), interval_seconds=900, period_rounds=0)
