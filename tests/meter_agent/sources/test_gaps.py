"""Why a round has no reading: each reason told apart, by itself and through a live source."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter_agent.sources.gaps import Gap, GapWatch
from meter_agent.sources.sample import Doubt

INTERVAL, TOLERANCE = 900, 30.0
FIRST = 1_888_888


def watch(*events: tuple[float, Doubt | None], began: float = -100.0) -> GapWatch:
    """Seconds are counted from round FIRST."""
    made = GapWatch(INTERVAL, TOLERANCE, FIRST * INTERVAL + began)
    for at, doubt in events:
        made.heard(FIRST * INTERVAL + at, doubt)
    return made


@pytest.mark.parametrize(
    ("made", "gap", "says"),
    [
        (watch(), Gap.SILENT, "when it began"),
        (watch((5, None)), Gap.SILENT, "when it ended"),
        (watch((5, None), (450, None)), Gap.SILENT, "when it ended"),
        (watch((5, Doubt.CHECKSUM), (9, Doubt.CHECKSUM), (905, None)), Gap.NOT_BELIEVED, "began: checksum, 2 samples"),
        (watch((5, Doubt.LEAP), (6, None), (1100, None)), Gap.LATE, "200 s after it ended, 30 are allowed"),
        (watch((150, None)), Gap.LATE, "150 s after it began"),
        (watch((905, None), began=450), Gap.NOT_RUNNING, "when it began"),
        (watch(began=5000), Gap.NOT_RUNNING, "when it began"),
        (watch((5, Doubt.CLOCK), (905, Doubt.CLOCK)), Gap.CLOCK, "clock, 1 samples"),
        (watch((5, None), (905, None)), Gap.EXCHANGED, "another meter"),
    ],
)
def test_each_reason_is_told_apart(made, gap, says):
    found, text = made.closed(FIRST)
    assert found is gap
    assert says in text
    assert made.counts == {gap: 1}
    assert made.closed(FIRST) is None
    assert made.counts == {gap: 1}


def test_a_clock_that_was_set_is_the_reason_whatever_was_heard():
    made = watch((5, Doubt.CHECKSUM))
    made.clock_set(FIRST * INTERVAL + 300)
    assert made.closed(FIRST)[0] is Gap.CLOCK


@given(st.lists(st.tuples(st.floats(0, 20_000), st.none() | st.sampled_from(Doubt)), max_size=50), st.integers(0, 25))
def test_every_gap_has_one_reason_and_little_is_remembered(events, number):
    made = watch(*sorted(events, key=lambda event: event[0]))
    made.closed(FIRST + number)
    assert sum(made.counts.values()) == 1
    assert len(made._boundaries) <= 5
