"""How old a sample is, by the meter's own time."""

from __future__ import annotations

import pytest

from meter_agent.sources.device_clock import DeviceClock
from meter_agent.sources.register import Limits, Register
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError

YEARS_WRONG = -300_000_000.0


def heard(clock: DeviceClock, *samples: tuple[float, float]) -> list[float | Doubt]:
    """(arrival, the meter's own time) of samples whose registers move: how late, or why not believed."""
    found: list[float | Doubt] = []
    for at, device in samples:
        try:
            found.append(round(clock.late_seconds(device, at, moved=True), 1))
        except SampleRefusedError as error:
            found.append(error.doubt)
    return found


def test_a_clock_that_is_wrong_by_years_is_as_good_as_any():
    assert heard(DeviceClock(30), *((at, at + YEARS_WRONG) for at in range(0, 100, 10))) == [0.0] * 10


def test_the_same_time_from_a_clock_that_goes_is_no_new_sample():
    clock = DeviceClock(30)
    heard(clock, (0, 0), (10, 10))
    with pytest.raises(SampleRefusedError) as refusal:
        clock.late_seconds(10, 20, moved=False)
    assert refusal.value.doubt is Doubt.REPEATED
    assert heard(clock, (30, 30)) == [0.0]


def test_a_clock_that_never_goes_says_nothing():
    clock = DeviceClock(30)
    for at in range(0, 100, 10):
        assert clock.late_seconds(7.0, at, moved=bool(at % 20)) == 0.0


def test_what_waited_on_its_way_is_late_until_it_has_caught_up():
    late = heard(DeviceClock(30), (0, 0), (10, 10), (130, 20), (130, 30), (130, 115), (131, 131))
    assert late == [0.0, 0.0, Doubt.LATE, Doubt.LATE, 14.9, 0.0]


@pytest.mark.parametrize("by", [-3600.0, -40.0, 40.0, 3600.0])
def test_a_clock_that_is_set_is_taken_as_it_is_then(by):
    found = heard(DeviceClock(30), *((at, at if at < 500 else at + by) for at in range(0, 3000, 10)))
    assert found[-1] == 0.0
    assert sum(isinstance(one, Doubt) for one in found) <= 61


def test_a_slow_crystal_is_never_late():
    found = heard(DeviceClock(30), *((at, at * 0.9995) for at in range(0, 30 * 86_400, 3600)))
    assert set(found) == {0.0}


def test_a_stalled_stream_gives_each_round_its_own():
    """Two rounds of 300 Wh; around their boundary the stream stalls for 20 s and then delivers what it held."""
    register, start, closed = Register(Limits(900, 30.0, 25_000, 600.0)), 1_700_000_100 // 900 * 900, {}
    for second in range(1801):
        arrival = max(second, 910) if 890 <= second < 910 else second
        sample = Sample(1_000_003 + second // 3, 0, "E1", second + YEARS_WRONG)
        crossing = register.take(sample, start + arrival)
        if crossing is not None and crossing.closed is not None:
            closed[crossing.closed - start // 900] = crossing.watt_hours
    assert closed == {0: 300, 1: 300}


def test_beyond_the_tolerance_a_stalled_stream_gives_gaps_and_no_guess():
    register, start, closed = Register(Limits(900, 30.0, 25_000, 600.0)), 1_700_000_100 // 900 * 900, {}
    for second in range(2701):
        arrival = max(second, 1190) if 600 <= second < 1190 else second
        sample = Sample(1_000_003 + second // 3, 0, "E1", second + YEARS_WRONG)
        try:
            crossing = register.take(sample, start + arrival)
        except SampleRefusedError:
            continue
        if crossing is not None and crossing.closed is not None:
            closed[crossing.closed - start // 900] = crossing.watt_hours
    assert closed == {0: None, 2: 300}
