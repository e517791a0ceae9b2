"""A real meter as a source: what its device says, followed through the rounds, remembered, answered.

`run` listens, whether or not the broker can be reached, so that an outage of the network leaves no gap. `read` waits for the
round's end to be seen, at most until it is too late for it.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from meter_agent.sources.gaps import Gap, GapWatch
from meter_agent.sources.guard import Device, guarded
from meter_agent.sources.reading import Reading
from meter_agent.sources.register import Crossing, Limits, Register
from meter_agent.sources.register_memory import Closed, RegisterMemory
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError
from meter_agent.sources.sections import RegistersSection, SourceSection
from meter_agent.sources.wall_clock import Instant, synchronised

log = logging.getLogger("hushgrid.meter")

_CLOCK_CHECK_SECONDS = 10.0
_SECONDS_PER_DAY = 86_400


def open_live(source: SourceSection, registers: RegistersSection, memory_file: Path) -> LiveSource:
    """The source of a configuration that names a real meter; ConfigurationError when it cannot be used."""
    from meter_agent.sources.devices.opening import open_device  # noqa: PLC0415 - it needs this module's names

    return LiveSource(open_device(source), registers, memory_file)


class LiveSource:
    """One real meter. now, clock_is_set: the machine's clock, arguments for tests."""

    def __init__(
        self,
        device: Device,
        section: RegistersSection,
        memory_file: Path,
        *,
        now: Callable[[], Instant] = Instant.now,
        clock_is_set: Callable[[], bool] = synchronised,
    ) -> None:
        self.label = device.label
        self.doubts: collections.Counter[Doubt] = collections.Counter()
        self._device = device
        self._section = section
        self._memory_file = memory_file
        self._now = now
        self._clock_is_set = clock_is_set
        self._clock_checked_seconds = float("-inf")
        self._before: Instant | None = None
        self._interval_seconds = 0
        self._missed = 0
        self._watch: GapWatch | None = None
        self._memory: RegisterMemory | None = None
        self._register: Register | None = None
        self._begun = asyncio.Event()
        self._moved = asyncio.Condition()

    def begin(self, interval_seconds: int) -> None:
        """The length of rounds is known. JournalError, ConfigurationError when the memory cannot be used."""
        if self._memory is not None:
            return
        section = self._section
        keep_rounds = section.keep_days * _SECONDS_PER_DAY // interval_seconds
        limits = Limits(interval_seconds, section.tolerance_seconds, section.largest_watts, section.exchange_seconds)
        self._memory = RegisterMemory(self._memory_file, interval_seconds, keep_rounds)
        self._register = Register(limits, self._memory.opening(), self._memory.heard())
        self._interval_seconds = interval_seconds
        self._watch = GapWatch(interval_seconds, section.tolerance_seconds, self._now().unix_seconds)
        self._begun.set()

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            await self._begun.wait()
            async with contextlib.aclosing(guarded(self._device)) as samples:
                async for sample in samples:
                    try:
                        await self._take(sample)
                    except SampleRefusedError as error:
                        self._refuse(error)
        finally:
            if self._memory is not None:
                self._memory.close()

    async def read(self, round_number: int) -> Reading:
        """The round's reading once its end was seen; a gap once it is too late for that. The same whenever it is asked."""
        await self._begun.wait()
        late_seconds = (round_number + 1) * self._interval_seconds + self._section.tolerance_seconds + 1
        while (settled := self._settled(round_number)) is None:
            patience = late_seconds - self._now().unix_seconds
            if patience <= 0:
                closed = self._opened_memory().close_as_gap(round_number)
                if closed.watt_hours is None:
                    self._tell_gap(round_number)
                return Reading(round_number, closed.watt_hours)
            # Never long: the clock may be set meanwhile.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(patience, 5.0)), self._moved:
                    await self._moved.wait()
        return Reading(round_number, settled.watt_hours)

    @property
    def gaps(self) -> Mapping[Gap, int]:
        """Rounds without a reading since the start, by why."""
        return {} if self._watch is None else self._watch.counts

    def _opened_memory(self) -> RegisterMemory:
        if self._memory is None:
            raise RuntimeError("the source has not begun")
        return self._memory

    def _settled(self, round_number: int) -> Closed | None:
        return self._opened_memory().closed(round_number)

    async def _take(self, sample: Sample | SampleRefusedError) -> None:
        if isinstance(sample, SampleRefusedError):
            raise sample
        now = self._now()
        self._watch_clock(now)
        if self._register is None:
            raise RuntimeError("the source has not begun")
        crossing = self._register.take(sample, now.unix_seconds)
        if self._watch is not None:
            self._watch.heard(now.unix_seconds, None)
        if crossing is not None:
            self._opened_memory().cross(crossing)
            self._tell(crossing)
            async with self._moved:
                self._moved.notify_all()

    def _watch_clock(self, now: Instant) -> None:
        """SampleRefusedError while the clock is not set; a clock that was set spoils the round under way."""
        step_seconds = 0.0 if self._before is None else now.step_seconds(self._before)
        self._before = now
        if step_seconds and self._register is not None:
            spoilt = self._register.clock_stepped()
            if self._watch is not None:
                self._watch.clock_set(now.unix_seconds)
            log.warning("the clock was set by %+.0f s: the round under way is stated as no reading", step_seconds)
            if spoilt is not None:
                if self._watch is not None:
                    self._watch.clock_set(spoilt * self._interval_seconds)
                self._opened_memory().close_as_gap(spoilt)
                self._tell_gap(spoilt)
            self._clock_checked_seconds = float("-inf")
        if not self._section.require_synchronised_clock:
            return
        if now.uptime_seconds - self._clock_checked_seconds > _CLOCK_CHECK_SECONDS:
            if not self._clock_is_set():
                raise SampleRefusedError(Doubt.CLOCK, "no time service has set the clock yet")
            self._clock_checked_seconds = now.uptime_seconds

    def _tell(self, crossing: Crossing) -> None:
        if crossing.late_seconds is not None:
            self._missed += 1
            if self._missed.bit_count() == 1:  # the 1st, 2nd, 4th, 8th ...
                log.warning(
                    "first sample %.0f s after a round began, %.0f are allowed: the rounds beside have no reading (%d times so far)",
                    crossing.late_seconds,
                    self._section.tolerance_seconds,
                    self._missed,
                )
        if crossing.closed is not None and crossing.watt_hours is None:
            self._tell_gap(crossing.closed)

    def _tell_gap(self, round_number: int) -> None:
        """One line for each round without a reading, but not for each of many alike."""
        told = self._watch.closed(round_number) if self._watch is not None else None
        if self._watch is None or told is None:
            return
        gap, text = told
        if self._watch.counts[gap].bit_count() == 1:
            so_far = ", ".join(f"{count} because {each.value}" for each, count in sorted(self._watch.counts.items()))
            log.warning("round %d has no reading: %s (rounds so far: %s)", round_number, text, so_far)

    def _refuse(self, error: SampleRefusedError) -> None:
        if self._watch is not None:
            self._watch.heard(self._now().unix_seconds, error.doubt)
        self.doubts[error.doubt] += 1
        if self.doubts[error.doubt].bit_count() == 1:  # the 1st, 2nd, 4th, 8th ...: a lasting fault fills no log
            log.warning("%d samples not believed: %s", self.doubts[error.doubt], error)
