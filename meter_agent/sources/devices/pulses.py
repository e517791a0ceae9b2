"""A pulse counter: a meter's S0 output on a pin, counted by gpiozero. Pulses are missed while the agent is not running, so every
start is a new register, and the round of a start has no reading.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator

from gpiozero import DigitalInputDevice
from gpiozero.exc import GPIOZeroError

from hushgrid.errors import ConfigurationError
from meter_agent.sources.sample import Sample, SampleRefusedError
from meter_agent.sources.sections import PulsesSection

_TICK_SECONDS = 1.0
_WATT_HOURS_PER_KWH = 1000
#: Where counting starts: anything but zero, which would be taken for a failure. Only differences are ever used.
_START_WATT_HOURS = 1000


class PulsesDevice:
    """See the module."""

    def __init__(self, section: PulsesSection) -> None:
        self.label = f"pulses on pin {section.pin}"
        self.pulses = 0
        self._section = section
        self._register = f"since {secrets.token_hex(4)}"

    def sample(self) -> Sample:
        """The pulses so far as registers."""
        counted = _START_WATT_HOURS + self.pulses * _WATT_HOURS_PER_KWH // self._section.pulses_per_kwh
        if self._section.exports:
            return Sample(0, counted, self._register)
        return Sample(counted, 0, self._register)

    async def samples(self) -> AsyncGenerator[Sample | SampleRefusedError, None]:
        """One a second, whether or not there were pulses. ConfigurationError when there is no such pin here."""
        try:
            pin = DigitalInputDevice(self._section.pin, pull_up=True)
        except (GPIOZeroError, OSError) as error:
            raise ConfigurationError(f"source.pulses.pin {self._section.pin}: {error}") from None
        try:
            pin.when_activated = self._count
            while True:
                yield self.sample()
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            pin.close()

    def _count(self) -> None:
        self.pulses += 1  # called by one thread only, gpiozero's
