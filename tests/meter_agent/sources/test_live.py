"""A device behind a clock that a test holds, its memory on disk, and the readings it answers."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushgrid.errors import ConfigurationError, JournalError
from hushgrid.shell.membership import Member
from hushgrid.testing.memory_broker import MemoryBroker
from hushgrid.wire.role import Role
from meter_agent.config import MeterConfig
from meter_agent.service import MeterStation
from meter_agent.sources import LIVE_KINDS
from meter_agent.sources.guard import guarded
from meter_agent.sources.live import LiveSource
from meter_agent.sources.register import Crossing, OpeningSample
from meter_agent.sources.register_memory import RegisterMemory
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError
from meter_agent.sources.sections import RegistersSection
from meter_agent.sources.wall_clock import Instant

INTERVAL = 900
FIRST = 1_888_888


class HeldDevice:
    """Says what a test hands it, and lets the test wait until that was taken in."""

    label = "held"

    def __init__(self) -> None:
        self._said: asyncio.Queue[Sample | SampleRefusedError] = asyncio.Queue()

    async def samples(self):
        while True:
            said = await self._said.get()
            yield said
            self._said.task_done()

    async def say(self, said: Sample | SampleRefusedError) -> None:
        await self._said.put(said)
        await self._said.join()


class Bench:
    """A source with its device and clock. Rounds and seconds are counted from round FIRST."""

    def __init__(self, directory: Path, **section) -> None:
        self.device = HeldDevice()
        self.unix_seconds = float(FIRST * INTERVAL)
        self.uptime_seconds = 100.0
        self.clock_is_set = True
        self.source = LiveSource(
            self.device,
            RegistersSection(**section),
            directory / "register.sqlite",
            now=lambda: Instant(self.unix_seconds, self.uptime_seconds),
            clock_is_set=lambda: self.clock_is_set,
        )

    async def at(self, seconds: float, imported: int | SampleRefusedError) -> None:
        """Let time pass up to this second, then the device speaks."""
        self.pass_to(seconds)
        await self.device.say(imported if isinstance(imported, SampleRefusedError) else Sample(imported, 0, "E1"))

    def pass_to(self, seconds: float) -> None:
        passed = FIRST * INTERVAL + seconds - self.unix_seconds
        self.unix_seconds += passed
        self.uptime_seconds += passed

    async def reading(self, number: int) -> int | None:
        return (await asyncio.wait_for(self.source.read(FIRST + number), 10)).watt_hours


@contextlib.asynccontextmanager
async def bench(directory: Path, **section) -> AsyncIterator[Bench]:
    made = Bench(directory, **section)
    made.source.begin(INTERVAL)
    running = asyncio.create_task(made.source.run())
    try:
        yield made
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_a_reading_is_given_as_soon_as_the_next_round_s_first_sample_is_there(tmp_path):
    async with bench(tmp_path) as b:
        await b.at(0, 1000)
        await b.at(890, 1099)
        b.pass_to(900)
        asked = asyncio.create_task(b.reading(0))
        await asyncio.sleep(0)
        assert not asked.done()
        await b.at(901, 1100)
        assert await asked == 100


async def test_what_was_answered_stays_answered_after_a_power_cut(tmp_path):
    async with bench(tmp_path) as b:
        for at, wh in ((0, 1000), (900, 1100), (2000, 1150)):
            await b.at(at, wh)
        b.pass_to(3000)
        assert [await b.reading(number) for number in (0, 1, 2)] == [100, None, None]
    async with bench(tmp_path) as b:
        b.pass_to(3100)
        assert [await b.reading(number) for number in (0, 1, 2)] == [100, None, None]
        await b.at(3600, 1300)
        await b.at(4500, 1310)
        assert [await b.reading(number) for number in (0, 1, 2, 3, 4)] == [100, None, None, None, 10]


async def test_a_power_cut_within_a_round_loses_nothing_when_both_boundaries_are_seen(tmp_path):
    async with bench(tmp_path) as b:
        await b.at(0, 1000)
    async with bench(tmp_path) as b:
        await b.at(905, 1200)
        assert await b.reading(0) == 200


async def test_days_without_a_network_are_remembered_round_by_round_under_their_own_numbers(tmp_path):
    async with bench(tmp_path) as b:
        days = 5 * 96
        for number in range(days + 1):
            await b.at(number * INTERVAL + 3, 1000 + number * (number + 1) // 2)
        assert [await b.reading(number) for number in range(days)] == [number + 1 for number in range(days)]


async def test_nothing_is_believed_before_the_clock_is_set(tmp_path):
    async with bench(tmp_path) as b:
        b.clock_is_set = False
        await b.at(0, 1000)
        assert b.source.doubts == {Doubt.CLOCK: 1}
        b.clock_is_set = True
        await b.at(900, 1100)
        await b.at(1800, 1107)
        assert [await b.reading(number) for number in (0, 1)] == [None, 7]


async def test_a_step_of_the_clock_is_noticed_and_its_round_stays_a_gap_after_a_restart(tmp_path):
    async with bench(tmp_path) as b:
        await b.at(0, 1000)
        b.unix_seconds += 300  # set, while the machine itself did not live through them
        await b.at(500, 1010)
    async with bench(tmp_path) as b:
        b.pass_to(899)
        await b.at(901, 1100)
        await b.at(1800, 1101)
        assert [await b.reading(number) for number in (0, 1)] == [None, 1]


async def test_a_clock_that_drifts_as_time_services_make_it_is_no_step(tmp_path):
    async with bench(tmp_path) as b:
        await b.at(0, 1000)
        b.uptime_seconds += 1.5
        await b.at(900, 1100)
        assert await b.reading(0) == 100


async def test_refused_samples_are_counted_by_reason(tmp_path):
    async with bench(tmp_path) as b:
        await b.at(0, 1000)
        await b.at(10, SampleRefusedError(Doubt.CHECKSUM))
        await b.at(20, SampleRefusedError(Doubt.CHECKSUM))
        await b.at(30, 7)
        assert b.source.doubts == {Doubt.CHECKSUM: 2, Doubt.BACKWARD: 1}


async def test_a_full_card_stops_the_meter_and_what_was_remembered_is_whole(tmp_path):
    made = Bench(tmp_path)
    made.source.begin(INTERVAL)
    running = asyncio.create_task(made.source.run())
    await made.at(0, 1000)
    memory = made.source._memory._database
    (pages,) = memory.query("PRAGMA page_count")[0]
    memory.execute("CREATE TABLE filler (content BLOB)")
    memory.query(f"PRAGMA max_page_count={pages + 1}")  # SQLite says of a full disk what it says of this
    with contextlib.suppress(JournalError):
        while True:
            memory.execute("INSERT INTO filler VALUES (zeroblob(300))")
    made.pass_to(900)
    for number in range(1, 400):
        made.pass_to(number * INTERVAL)
        saying = asyncio.create_task(made.device.say(Sample(1000 + number, 0, "E1")))
        await asyncio.wait({saying, running}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            saying.cancel()
            break
    with pytest.raises(JournalError, match="full"):
        await running
    with sqlite3.connect(tmp_path / "register.sqlite") as disk:
        assert disk.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        disk.execute("DROP TABLE filler")
    async with bench(tmp_path) as b:  # space again
        b.pass_to(400 * INTERVAL)
        await b.at(401 * INTERVAL, 2000)
        await b.at(402 * INTERVAL, 2005)
        readings = [await b.reading(at) for at in range(402)]
    assert readings[-1] == 5
    assert set(readings[:-1]) == {None, 1}
    assert readings.index(None) + 1 == number  # the round whose end could not be written, and no earlier one


def test_a_round_is_closed_once_for_ever(tmp_path):
    memory = RegisterMemory(tmp_path / "r.sqlite", INTERVAL, 100)
    memory.cross(Crossing(None, None, OpeningSample(7, Sample(1, 2, "E"))))
    assert memory.opening() == OpeningSample(7, Sample(1, 2, "E"))
    assert memory.close_as_gap(7).watt_hours is None
    memory.cross(Crossing(7, 55, OpeningSample(8, Sample(3, 4, "E"))))
    assert memory.closed(7).watt_hours is None
    memory.cross(Crossing(8, 66, OpeningSample(9, Sample(5, 6, "E"))))
    assert memory.close_as_gap(8).watt_hours == 66
    memory.close()


def test_only_so_many_rounds_are_remembered(tmp_path):
    memory = RegisterMemory(tmp_path / "r.sqlite", INTERVAL, keep_rounds=10)
    for number in range(50):
        memory.cross(Crossing(number - 1, 1, OpeningSample(number, Sample(number, 0))))
    assert [closed.round for closed in memory.rounds()] == list(range(39, 49))


def test_a_memory_of_other_rounds_is_refused(tmp_path):
    RegisterMemory(tmp_path / "r.sqlite", INTERVAL, 10).close()
    with pytest.raises(ConfigurationError, match="900 s"):
        RegisterMemory(tmp_path / "r.sqlite", 1800, 10)


def test_the_memory_is_for_its_owner_only(tmp_path):
    RegisterMemory(tmp_path / "r.sqlite", INTERVAL, 10).close()
    assert (tmp_path / "r.sqlite").stat().st_mode & 0o077 == 0


def test_a_device_is_one_meter_s(tmp_path):
    config = MeterConfig.model_validate({
        "agent": {"id": "c", "state_directory": tmp_path},
        "configurator": {"identity": "00" * 32},
        "source": {"kind": "p1", "port": "/dev/ttyUSB0"},
    })  # fmt: skip
    members = [Member(name, Role.METER, None) for name in ("a", "b")]
    with pytest.raises(ConfigurationError, match="reads one meter"):
        MeterStation(config, members, None, MemoryBroker().transport("c"))


@pytest.mark.parametrize("kind", sorted(LIVE_KINDS))
def test_a_device_needs_the_clock_on_the_wall(tmp_path, kind):
    fields = {
        "port": "/dev/x", "modbus": {"profile": "sdm120"}, "pulses": {"pin": 1}, "topic": {"url": "mqtt://h:1", "topic": "t"}
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"needs pace\.mode utc"):
        MeterConfig.model_validate({
            "agent": {"id": "c", "state_directory": tmp_path},
            "configurator": {"identity": "00" * 32},
            "pace": {"mode": "conducted", "conductor": "00" * 32, "conductor_agreement": "00" * 32},
            "source": {"kind": kind, **fields},
        })  # fmt: skip


class FaultyDevice:
    """Fails in ways that its reader did not foresee, and goes on when it is begun anew."""

    label = "faulty"

    def __init__(self) -> None:
        self.begun = 0

    async def samples(self):
        self.begun += 1
        if self.begun == 1:
            yield Sample(1003, 0)
            raise KeyError("value")
        if self.begun == 2:
            yield Sample(int(9.7e36), 0)
        yield Sample(1004, 0)


async def test_whatever_a_device_does_is_a_sample_that_is_not_believed_and_it_goes_on(monkeypatch):
    monkeypatch.setattr("meter_agent.sources.guard._PAUSE_SECONDS", 0.0)
    async with contextlib.aclosing(guarded(FaultyDevice())) as said:
        found = [sample async for sample in said]
    told = [one.doubt if isinstance(one, SampleRefusedError) else one.import_watt_hours for one in found]
    assert told == [1003, Doubt.MALFORMED, Doubt.MALFORMED, 1004]


async def test_a_configuration_that_cannot_work_still_ends_the_agent():
    class Unconfigured(FaultyDevice):
        async def samples(self):
            raise ConfigurationError("no such port")
            yield

    with pytest.raises(ConfigurationError):
        await anext(guarded(Unconfigured()))


async def test_a_device_that_speaks_too_seldom_is_told_with_numbers(tmp_path, caplog):
    """A plug that reports every 300 s, 150 s after each round began: never a reading, and not without a word."""
    async with bench(tmp_path) as b:
        for at in range(4):
            await b.at(at * INTERVAL + 150, 5003 + at)
    assert "first sample 150 s after a round began, 30 are allowed" in caplog.text


async def test_why_a_round_has_no_reading_is_counted_and_said_once_per_reason(tmp_path, caplog):
    async with bench(tmp_path) as b:
        await b.at(0, 1000)
        await b.at(905, SampleRefusedError(Doubt.CHECKSUM))
        await b.at(950, 1100)
        for at, wh in ((1801, 1200), (2701, 1300)):
            await b.at(at, wh)
        b.pass_to(3600 + 60)
        assert [await b.reading(number) for number in range(4)] == [None, None, 100, None]
        for at in (4600, 5500, 6400):
            await b.at(at, at)
        assert {gap.name: count for gap, count in b.source.gaps.items()} == {"NOT_BELIEVED": 2, "SILENT": 1}
    said = [record.message for record in caplog.records if "has no reading" in record.message]
    assert len(said) == 3
    assert "what was heard in time was not believed when it ended: checksum, 1 samples" in said[0]
    assert "rounds so far: 2 because what was heard in time was not believed" in said[1]
    assert "nothing was heard in time when it ended" in said[2]
    assert not any(str(wh) in line for wh in (1000, 1100, 1200, 1300) for line in said)
