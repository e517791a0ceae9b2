"""What is assumed of homes that are not read: their year's energy, spread as their class uses it.

The shape and how far homes stray from it come from a sample of the class in the 28 days before, never from what is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from grid_operator.arrays import Floats
from grid_operator.estimation.errors import EstimationError

#: How long before the estimated slots a class is looked at.
DAYS_BEFORE = 28


@dataclass(frozen=True, eq=False)
class ClassShape:
    """Power over the mean power of the year, by kind of day (weekday, weekend) and slot of the day: (2, slots a day).

    spread: the root of the mean squared residual of homes about the mean, in the same unit.
    """

    mean: Floats
    spread: Floats


def class_shape(
    power: npt.ArrayLike,
    annual_mean: npt.ArrayLike,
    slot_of_day: npt.ArrayLike,
    weekend: npt.ArrayLike,
    slots_a_day: int,
) -> ClassShape:
    """power: (slots, homes) of the sample, nan where a home was not read; annual_mean: (homes,), same unit, above 0.

    slot_of_day, weekend: (slots,) of each. EstimationError where a part of the day has too little to say how far homes stray.
    """
    means = np.asarray(annual_mean, dtype=np.float64)
    if not (np.isfinite(means).all() and (means > 0).all()):
        raise EstimationError(
            f"home {int(np.argmin(means > 0))} of the sample: a year's mean of {means.min():g}, not above 0"
        )
    relative = np.asarray(power, dtype=np.float64) / means
    at, kind = np.asarray(slot_of_day), np.asarray(weekend).astype(int)
    mean, spread = np.empty((2, slots_a_day)), np.empty((2, slots_a_day))
    for day in range(2):
        for slot in range(slots_a_day):
            taken = relative[(at == slot) & (kind == day)]
            taken = taken[np.isfinite(taken)]
            if len(taken) < 2 or not np.ptp(taken) > 0:
                word = "weekends" if day else "weekdays"
                raise EstimationError(f"the sample says nothing of slot {slot} on {word}")
            mean[day, slot], spread[day, slot] = taken.mean(), taken.std(ddof=1)
    return ClassShape(mean, spread)


def assumed(
    shape: ClassShape, annual_mean: npt.ArrayLike, slot_of_day: npt.ArrayLike, weekend: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Values and sigmas (slots, homes) of homes of which only the year's mean power is known, in its unit."""
    means = np.asarray(annual_mean, dtype=np.float64)
    if not (np.isfinite(means).all() and (means > 0).all()):
        raise EstimationError(f"home {int(np.argmin(means > 0))}: a year's mean of {means.min():g}, not above 0")
    chosen = (np.asarray(weekend).astype(int), np.asarray(slot_of_day))
    return shape.mean[chosen][:, None] * means, shape.spread[chosen][:, None] * means
