"""From registers to rounds."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter_agent.sources.register import Limits, OpeningSample, Register
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError, whole_watt_hours

LIMITS = Limits(interval_seconds=900, tolerance_seconds=30, largest_watts=20_000, exchange_seconds=600)
START = 1_700_000_100 // 900 * 900


def sample(imported: int, exported: int = 0, device: str = "E1") -> Sample:
    return Sample(imported, exported, device)


def closed(register: Register, *samples: tuple[float, Sample]) -> dict[int, int | None]:
    """What the samples close: rounds counted from START."""
    found = {}
    for seconds, seen in samples:
        crossing = register.take(seen, START + seconds)
        if crossing is not None and crossing.closed is not None:
            found[crossing.closed - START // 900] = crossing.watt_hours
    return found


def doubt(register: Register, seconds: float, seen: Sample) -> Doubt:
    with pytest.raises(SampleRefusedError) as refusal:
        register.take(seen, START + seconds)
    return refusal.value.doubt


def test_a_round_is_the_difference_of_its_boundaries_import_minus_export():
    register = Register(LIMITS)
    assert closed(
        register, (1, sample(1000, 50)), (450, sample(1100, 50)), (901, sample(1300, 450)), (1801, sample(1310, 480))
    ) == {0: 300 - 400, 1: 10 - 30}


def test_registers_are_floored_before_they_are_differenced_so_that_rounds_add_up():
    readings = [Decimal("1.0009"), Decimal("1.0019"), Decimal("1.0020"), Decimal("1.0031")]
    floored = [whole_watt_hours(kwh) for kwh in readings]
    assert floored == [1000, 1001, 1002, 1003]
    register = Register(LIMITS)
    found = closed(register, *((900 * at, sample(wh)) for at, wh in enumerate(floored)))
    assert sum(found.values()) == floored[-1] - floored[0]
    assert whole_watt_hours(Decimal("52185.7825309")) == 52_185_782


@pytest.mark.parametrize("late", [31, 400, 899])
def test_a_boundary_that_was_not_seen_in_time_makes_gaps_on_both_sides_and_never_a_guess(late):
    register = Register(LIMITS)
    found = closed(register, (0, sample(1000)), (900 + late, sample(1100)), (1800, sample(1200)), (2700, sample(1300)))
    assert found == {0: None, 2: 100}


def test_rounds_that_passed_without_a_sample_have_no_reading():
    register = Register(LIMITS)
    assert closed(register, (0, sample(1000)), (9000, sample(2000)), (9900, sample(2005))) == {0: None, 10: 5}


def test_a_start_in_the_middle_of_a_round_gives_nothing_for_that_round():
    register = Register(LIMITS)
    assert closed(register, (100, sample(1000)), (900, sample(1001)), (1800, sample(1003))) == {1: 2}


@pytest.mark.parametrize(
    ("seen", "because"),
    [
        (sample(0, 0), Doubt.ZERO),
        (sample(-1, 5), Doubt.NEGATIVE),
        (sample(999, 0), Doubt.BACKWARD),
        (sample(1000, 0), None),
        (sample(1001, -1), Doubt.NEGATIVE),
        (sample(1_000_000, 0), Doubt.LEAP),
    ],
)
def test_what_no_meter_says_is_refused(seen, because):
    register = Register(LIMITS)
    register.take(sample(1000), START)
    if because is None:
        register.take(seen, START + 10)
    else:
        assert doubt(register, 10, seen) is because
        register.take(sample(1001), START + 20)  # and what was sound goes on


def test_export_may_not_run_backward_either():
    register = Register(LIMITS)
    register.take(sample(1000, 500), START)
    assert doubt(register, 10, sample(1000, 499)) is Doubt.BACKWARD


def test_a_refused_sample_at_the_boundary_is_not_the_boundary():
    register = Register(LIMITS)
    register.take(sample(1000), START)
    assert doubt(register, 900, sample(3)) is Doubt.BACKWARD
    assert closed(register, (905, sample(1020))) == {0: 20}


def test_a_meter_with_another_serial_number_spoils_the_round_under_way_and_then_counts():
    register = Register(LIMITS)
    found = closed(
        register,
        (0, sample(900_000)),
        (300, sample(5, device="E2")),
        (900, sample(15, device="E2")),
        (1800, sample(40, device="E2")),
    )
    assert found == {1: 25}


def test_a_meter_that_tells_no_serial_number_is_another_one_when_it_goes_on_contradicting_the_past():
    register = Register(LIMITS)
    register.take(sample(900_000, device=""), START)
    for seconds in range(10, 600, 10):
        assert doubt(register, seconds, sample(100 + seconds, device="")) is Doubt.BACKWARD
    for seconds in range(610, 700, 10):
        register.take(sample(100 + seconds, device=""), START + seconds)
    assert closed(register, (900, sample(1000, device="")), (1800, sample(1100, device=""))) == {1: 100}


def exchanged(register: Register, before: int, after: list[int]) -> dict[int, int | None]:
    """Samples every 10 s over three rounds: `before` until 950 s, and from 960 s on what `after` says, one each."""
    found: dict[int, int | None] = {}
    for at in range(0, 2800, 10):
        wh = before if at < 960 else after[(at - 960) // 10]
        try:
            found |= closed(register, (at, sample(wh, device="")))
        except SampleRefusedError:
            continue
    return found


@pytest.mark.parametrize(
    "after",
    [
        pytest.param([102_500] * 200, id="the-allowance-would-reach-it"),
        pytest.param([102_500 + step for step in range(200)], id="and-it-goes-on-counting"),
        pytest.param([99_800 + 20 * step for step in range(200)], id="it-counts-past-the-meter-before"),
    ],
)
def test_a_meter_without_a_serial_number_is_never_taken_for_the_one_before_however_long_it_waits(after):
    found = exchanged(Register(LIMITS), 100_003, after)  # a register that tells single Wh
    assert found.get(1) is None
    assert found[2] == after[174] - after[84]


def test_after_an_outage_without_samples_a_larger_register_is_the_same_meter():
    register = Register(LIMITS)
    before = ((at, sample(100_000, device="")) for at in range(0, 960, 10))
    assert closed(register, *before, (1800, sample(102_500, device=""))) == {0: 0, 1: 2500}


def test_one_damaged_sample_delays_the_next_sound_one_by_nothing():
    register = Register(LIMITS)
    register.take(sample(1003), START)
    assert doubt(register, 10, sample(990)) is Doubt.BACKWARD
    register.take(sample(1003), START + 20)
    assert doubt(register, 30, sample(1300)) is Doubt.LEAP
    register.take(sample(1004), START + 40)


def test_noise_never_becomes_a_new_meter():
    register = Register(LIMITS)
    register.take(sample(900_000, device=""), START)
    for seconds in range(10, 3000, 10):  # every sample contradicts the one before
        doubt(register, seconds, sample(5 if seconds % 20 else 700, device=""))


def test_an_outage_of_days_leaves_room_for_what_was_used_meanwhile():
    register = Register(LIMITS)
    days = 5 * 86_400
    assert closed(register, (0, sample(1000)), (days, sample(101_000)), (days + 900, sample(101_100))) == {
        0: None,
        days // 900: 100,
    }


def test_a_clock_that_was_set_spoils_the_round_under_way_only():
    register = Register(LIMITS)
    assert closed(register, (0, sample(1000)), (900, sample(1010))) == {0: 10}
    assert register.clock_stepped() == START // 900 + 1
    assert closed(register, (1801, sample(1030)), (2700, sample(1060))) == {2: 30}


@pytest.mark.parametrize("step", [-86_400, -900, -40, 40, 900, 86_400])
def test_whatever_a_clock_is_set_to_no_energy_is_counted_twice(step):
    register = Register(LIMITS)
    found: list[int] = []
    offset, wh = 0, 1000
    for at in range(0, 9000, 10):
        if at == 4000:
            offset = step
            register.clock_stepped()
        wh += 1
        crossing = register.take(sample(wh), START + at + offset)
        if crossing is not None and crossing.watt_hours is not None:
            found.append(crossing.watt_hours)
    assert set(found) == {90}
    assert sum(found) <= wh - 1000


def test_after_a_restart_the_register_goes_on_where_its_memory_ends():
    opening = OpeningSample(START // 900, sample(1000))
    assert closed(Register(LIMITS, opening), (905, sample(1025))) == {0: 25}
    assert doubt(Register(LIMITS, opening), 300, sample(999)) is Doubt.BACKWARD


@pytest.mark.parametrize("day", [dt.date(2026, 3, 29), dt.date(2026, 10, 25)])
def test_days_of_23_and_25_hours_have_92_and_100_rounds_and_lose_nothing(day):
    zone = ZoneInfo("Europe/Amsterdam")
    begin = dt.datetime.combine(day, dt.time(), zone).timestamp()
    end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), zone).timestamp()
    register, found = Register(LIMITS), []
    for at in range(int(begin), int(end) + 1, 10):
        crossing = register.take(sample(1000 + (at - int(begin)) // 10), at)
        if crossing is not None and crossing.closed is not None:
            found.append(crossing.watt_hours)
    assert len(found) == (92 if day.month == 3 else 100)
    assert set(found) == {90}


@given(
    st.lists(
        st.tuples(st.integers(1, 2500), st.integers(0, 300), st.integers(0, 300), st.booleans()),
        min_size=1,
        max_size=60,
    )
)
def test_every_reading_is_the_truth_between_two_boundaries_that_were_seen_in_time(steps):
    """Whatever samples are missed and whatever rubbish lies between, a reading equals what the meter counted."""
    register, at, seen = Register(replace(LIMITS, largest_watts=10_000_000)), 0, sample(1, 1)
    first_of_round: dict[int, tuple[float, Sample]] = {}
    for pause, imported, exported, rubbish in steps:
        at += pause
        seen = sample(seen.import_watt_hours + imported, seen.export_watt_hours + exported)
        if rubbish:
            doubt(register, at, sample(0, 0))
            continue
        number = (START + at) // 900
        first_of_round.setdefault(number, (at % 900, seen))
        crossing = register.take(seen, START + at)
        if crossing is not None and crossing.watt_hours is not None:
            begin, end = first_of_round[crossing.closed], first_of_round[crossing.closed + 1]
            assert max(begin[0], end[0]) <= LIMITS.tolerance_seconds
            assert crossing.watt_hours == end[1].net_watt_hours - begin[1].net_watt_hours
