"""One guard round every device: whatever it says or does, the agent goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Protocol

from hushgrid.errors import HushgridError
from meter_agent.sources.sample import Doubt, Sample, SampleRefusedError

log = logging.getLogger("hushgrid.meter")

#: How long after a device's own fault it is begun anew.
_PAUSE_SECONDS = 1.0


class Device(Protocol):
    """What can be read. label: shown to a person."""

    @property
    def label(self) -> str: ...

    def samples(self) -> AsyncGenerator[Sample | SampleRefusedError, None]:
        """What the device says, as it says it, for ever; an error where that is not believed."""
        ...


async def guarded(device: Device) -> AsyncGenerator[Sample | SampleRefusedError, None]:
    """The samples of a device, for ever. What its reader did not foresee is a sample that is not believed.

    The project's own errors, such as a configuration that cannot work, come through.
    """
    while True:
        try:
            async with contextlib.aclosing(device.samples()) as said:
                async for sample in said:
                    yield sample
            return
        except SampleRefusedError as error:
            refused = error
        except HushgridError:
            raise
        except Exception as error:  # a meter must not be able to end the agent
            log.debug("%s", device.label, exc_info=True)
            refused = SampleRefusedError(Doubt.MALFORMED, f"{type(error).__name__} while it was read")
        yield refused
        await asyncio.sleep(_PAUSE_SECONDS)
