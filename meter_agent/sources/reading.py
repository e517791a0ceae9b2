"""What a source answers, and what every source can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reading:
    """The energy of one round. watt_hours: signed, feed-in negative; None when the source says that there is no reading:
    a gap, which is sent as such, and never a zero.
    """

    round: int
    watt_hours: int | None


class Source(Protocol):
    """The readings of one meter. Rounds are floor(unix / interval), by the START of the interval in UTC.

    A live source (P1, SML, pulses, an MQTT topic) fits in like this: it is made without touching the device, and
    `async with` opens and closes it where the device needs that. It listens on its own, keeps the cumulative register in
    whole Wh at each round's boundary on disk, and `read(r)` waits until the first sound sample at or after the end of r,
    then gives register(end) - register(start), import minus export. After a restart or an outage it answers past rounds
    from what it kept, with None where a boundary was not seen. The caller may ask for a round again, and gets the same
    answer: what was once said, None included, does not change.
    """

    @property
    def label(self) -> str:
        """What a person is shown about the origin; "constructed" wherever nothing was measured."""
        ...

    async def read(self, round_number: int) -> Reading:
        """The round's reading, as soon as the source knows it. ConfigurationError never comes from here."""
        ...


class ReplaySource(Source, Protocol):
    """A source that knows every round beforehand: pure, hence the same after a restart."""

    def reading(self, round_number: int) -> Reading:
        """What `read` gives, without waiting. LookupError for a round outside what the source was opened for."""
        ...
