"""A meter that counts by a factor: behind current transformers, or in another unit than its kind's. Pure but for passing on."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from decimal import ROUND_FLOOR, Decimal

from meter_agent.sources.guard import Device, guarded
from meter_agent.sources.sample import Sample, SampleRefusedError


def scaled(sample: Sample, factor: Decimal) -> Sample:
    """What was really counted; SampleRefusedError as `Sample`. Another factor is another register."""
    imported, exported = (
        int((watt_hours * factor).to_integral_value(ROUND_FLOOR))
        for watt_hours in (sample.import_watt_hours, sample.export_watt_hours)
    )
    step = max(1, math.ceil(sample.step_watt_hours * factor))
    return Sample(imported, exported, f"{sample.device} x {factor}".strip(), sample.device_seconds, step)


class ScaledDevice:
    """See the module. device: whose registers are multiplied."""

    def __init__(self, device: Device, factor: Decimal) -> None:
        self.label = f"{device.label}, registers times {factor}"
        self.device = device
        self._factor = factor

    async def samples(self) -> AsyncGenerator[Sample | SampleRefusedError, None]:
        """Those of the device."""
        async for sample in guarded(self.device):
            if isinstance(sample, SampleRefusedError):
                yield sample
                continue
            try:
                multiplied = scaled(sample, self._factor)
            except SampleRefusedError as error:
                yield error
            else:
                yield multiplied
