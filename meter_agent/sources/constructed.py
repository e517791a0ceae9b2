"""Constructed households: plausible, seeded, and nobody's. Shown as "constructed" wherever they are shown.

Every value is a function of (seed, meter, round) alone, in plain arithmetic without the platform's mathematics library, so
that a Raspberry Pi, a test and the testbed's truth agree to the watt-hour.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from meter_agent.sources.reading import Reading

LABEL = "constructed"

_SECONDS_PER_HOUR = 3600
_SECONDS_PER_DAY = 86400
_DAYS_PER_YEAR = 365.25
_MIDSUMMER = 171  # day of the year on which the sun stands highest
_SOLAR_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class _Profile:
    """What sets one household apart. Powers in W, hours of the day in UTC."""

    base_watts: float
    morning_watts: float
    morning_hour: float
    evening_watts: float
    evening_hour: float
    appliance_watts: float
    solar_peak_watts: float


class ConstructedHouseholds:
    """A neighbourhood of any size; about a fifth feeds in at midday (negative readings). There are no gaps."""

    label = LABEL

    def __init__(self, seed: int, interval_seconds: int) -> None:
        self.seed = seed
        self.interval_seconds = interval_seconds
        self._profiles: dict[str, _Profile] = {}
        self._clearness: dict[int, float] = {}

    def household(self, meter: str) -> ConstructedHousehold:
        """One household as a source."""
        return ConstructedHousehold(self, meter)

    def watt_hours(self, meter: str, round_number: int) -> int:
        """The energy of one round: consumption positive, feed-in negative."""
        profile = self._profiles.get(meter) or self._profiles.setdefault(meter, _profile(self.seed, meter))
        start_seconds = round_number * self.interval_seconds
        day = start_seconds // _SECONDS_PER_DAY
        hour = (start_seconds % _SECONDS_PER_DAY + self.interval_seconds / 2) / _SECONDS_PER_HOUR % 24
        wobble, burst, length, fridge = _units((self.seed, meter, round_number), 4)
        activity = profile.morning_watts * _bump(hour, profile.morning_hour, 2.0)
        activity += profile.evening_watts * _bump(hour, profile.evening_hour, 4.0)
        watts = profile.base_watts * (0.8 + 0.4 * fridge) + activity * (0.5 + wobble)
        if burst < 0.03 + 0.12 * (activity > 200):  # a kettle, an oven, a washing machine
            watts += profile.appliance_watts * (0.2 + 0.8 * length)
        if profile.solar_peak_watts:
            sun = _bump(hour, 12.0, 8.0) * _season(day) * self._clear_sky(day)
            watts -= profile.solar_peak_watts * sun * (0.9 + 0.1 * wobble)
        return round(watts * self.interval_seconds / _SECONDS_PER_HOUR)

    def feeds_in(self, meter: str) -> bool:
        """Whether the household has panels on its roof."""
        return _profile(self.seed, meter).solar_peak_watts > 0

    def _clear_sky(self, day: int) -> float:
        """The weather of a day, the same for the whole neighbourhood."""
        if day not in self._clearness:
            self._clearness[day] = 0.6 + 0.4 * _units((self.seed, "sky", day), 1)[0]
        return self._clearness[day]


@dataclass(frozen=True, slots=True)
class ConstructedHousehold:
    """One constructed household."""

    households: ConstructedHouseholds
    meter: str

    @property
    def label(self) -> str:
        """Always "constructed"."""
        return LABEL

    def reading(self, round_number: int) -> Reading:
        """The round's reading; every round has one."""
        return Reading(round_number, self.households.watt_hours(self.meter, round_number))

    async def read(self, round_number: int) -> Reading:
        """The same; a construction never waits."""
        return self.reading(round_number)


def _profile(seed: int, meter: str) -> _Profile:
    base, morning, morning_at, evening, evening_at, appliance, roof, peak = _units((seed, meter), 8)
    return _Profile(
        base_watts=60 + 180 * base,
        morning_watts=150 + 500 * morning,
        morning_hour=6.0 + 2.5 * morning_at,
        evening_watts=250 + 900 * evening,
        evening_hour=17.5 + 3.0 * evening_at,
        appliance_watts=600 + 1800 * appliance,
        solar_peak_watts=2500 + 2500 * peak if roof < _SOLAR_SHARE else 0.0,
    )


def _units(key: tuple[object, ...], count: int) -> list[float]:
    """`count` independent numbers in [0, 1), a function of the key alone. Simulated randomness: it protects nothing."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=4 * count).digest()
    return [int.from_bytes(digest[at : at + 4], "big") / 2**32 for at in range(0, 4 * count, 4)]


def _bump(hour: float, centre: float, reach: float) -> float:
    """1 at `centre`, falling smoothly to 0 at `reach` hours from it."""
    across = (hour - centre) / reach
    return (1 - across * across) ** 2 if -1 < across < 1 else 0.0


def _season(day: int) -> float:
    """How high the sun stands at noon: 1 at midsummer, 0.5 at midwinter."""
    from_midsummer = abs((day - _MIDSUMMER) % _DAYS_PER_YEAR - _DAYS_PER_YEAR / 2)
    return 0.5 + from_midsummer / _DAYS_PER_YEAR
