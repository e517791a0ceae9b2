"""How old a sample is, by the meter's own time."""

from __future__ import annotations

import pytest

from meter_agent.sources.device_clock import DeviceClock
from meter_agent.sources.register import Limits, Register
from meter_agent.sources.register_memory import RegisterMemory
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError

YEARS_WRONG = -300_000_000.0
START = 1_700_000_100 // 900
LIMITS = Limits(900, 30.0, 25_000, 600.0)


def told(device_seconds: float, watt_hours: int) -> Sample:
    return Sample(watt_hours, 0, "E1", device_seconds)


def heard(clock: DeviceClock, *samples: tuple[float, float]) -> list[float | Doubt]:
    """(arrival, the meter's own time) of samples whose registers move: how late, or why not believed."""
    found: list[float | Doubt] = []
    for number, (at, device) in enumerate(samples):
        try:
            found.append(round(clock.late_seconds(told(device, 1000 + number), at), 1))
        except SampleRefusedError as error:
            found.append(error.doubt)
    return found


def test_a_clock_that_is_wrong_by_years_is_as_good_as_any():
    assert heard(DeviceClock(30), *((at, at + YEARS_WRONG) for at in range(0, 100, 10))) == [0.0] * 10


def test_the_same_time_from_a_clock_that_goes_is_no_new_sample():
    clock = DeviceClock(30)
    heard(clock, (0, 0), (10, 10))
    with pytest.raises(SampleRefusedError) as refusal:
        clock.late_seconds(told(10, 1001), 20)
    assert refusal.value.doubt is Doubt.REPEATED
    assert heard(clock, (30, 30)) == [0.0]


def test_a_clock_that_never_goes_says_nothing():
    clock = DeviceClock(30)
    for at in range(0, 100, 10):
        assert clock.late_seconds(told(7.0, 1000 + at // 20), at) == 0.0


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
    register, start, closed = Register(LIMITS), START * 900, {}
    for second in range(1801):
        arrival = max(second, 910) if 890 <= second < 910 else second
        sample = Sample(1_000_003 + second // 3, 0, "E1", second + YEARS_WRONG)
        crossing = register.take(sample, start + arrival)
        if crossing is not None and crossing.closed is not None:
            closed[crossing.closed - start // 900] = crossing.watt_hours
    assert closed == {0: 300, 1: 300}


def test_beyond_the_tolerance_a_stalled_stream_gives_gaps_and_no_guess():
    register, start, closed = Register(LIMITS), START * 900, {}
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


def test_a_sample_that_came_late_and_is_repeated_is_no_new_one():
    """Its registers differ from those of the last that was believed: that does not make it news."""
    clock = DeviceClock(30)
    late = heard(clock, (0, 0), (10, 10), (70, 20))
    assert late == [0.0, 0.0, Doubt.LATE]
    for at in range(80, 800, 10):
        with pytest.raises(SampleRefusedError) as refusal:
            clock.late_seconds(told(20, 1002), at)
        assert refusal.value.doubt is Doubt.REPEATED


def test_another_device_has_another_clock():
    clock = DeviceClock(30)
    heard(clock, (0, 0), (10, 10))
    assert clock.late_seconds(Sample(5, 0, "E2", 10.0), 500) == 0.0
    assert clock.late_seconds(Sample(5, 0, "E2", 20.0), 510) == 0.0


def closed_rounds(register, memory, samples) -> dict[int, int | None]:
    found = {}
    for at, sample in samples:
        try:
            crossing = register.take(sample, START * 900 + at)
        except SampleRefusedError:
            continue
        if crossing is not None:
            memory.cross(crossing)
            if crossing.closed is not None:
                found[crossing.closed - START] = crossing.watt_hours
    return found


@pytest.mark.parametrize("known", [True, False], ids=["the round is open", "the round was closed as a gap"])
def test_a_restart_does_not_make_news_of_what_a_gateway_repeats(tmp_path, known):
    """It repeats the telegram of second 940 until 8,000; the agent starts anew at 4,000. No round of it is a zero."""

    def stream(first, last):
        for at in range(first, last, 10):
            device = 940 if 940 <= at < 8000 else at
            yield at, told(device + YEARS_WRONG, 1_000_000 + device // 3)

    memory = RegisterMemory(tmp_path / "register.sqlite", 900, 1000)
    closed = closed_rounds(Register(LIMITS), memory, stream(0, 4000))
    if not known:
        memory.close_as_gap(START + 1)
    memory.close()
    memory = RegisterMemory(tmp_path / "register.sqlite", 900, 1000)
    register = Register(LIMITS, memory.opening(), memory.heard())
    closed |= closed_rounds(register, memory, stream(4000, 10_900))
    memory.close()
    assert closed.pop(1, None) is None
    assert closed == {0: 300, 9: 300, 10: 300, 11: 300}


def test_setting_the_machines_clock_does_not_make_news_of_what_a_gateway_repeats():
    register = Register(LIMITS)
    for at in range(0, 60, 10):
        register.take(told(at, 1000 + at), START * 900 + at)
    register.clock_stepped()
    for at in range(60, 3600, 10):
        with pytest.raises(SampleRefusedError, match="repeated"):
            register.take(told(50, 1050), START * 900 + 300 + at)
    assert register.take(told(3600, 1100), START * 900 + 3900) is None
