"""What a thief's meter reports instead of what was used: one policy for each way of stealing a fraction.

tilt is the paper's; zeroing, subtract, cap and flat are what others do; scale and night-zero are for meters that run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from grid_operator.arrays import Floats
from grid_operator.theft.densities import Density
from grid_operator.theft.errors import TheftError
from grid_operator.theft.tilt import check_theft, tilted

#: Hours from midnight on in which night-zero may report nothing.
_NIGHT_HOURS = 6


@dataclass(frozen=True, slots=True)
class Theft:
    """honest: the law of what the home uses; fraction: of its expected use that goes unbilled; slots_per_day from midnight on."""

    honest: Density
    fraction: float
    slots_per_day: int

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise TheftError(f"a theft of the fraction {self.fraction} is not between 0 and 1")
        if self.honest.mean <= 0:
            raise TheftError("a home that uses nothing on average has nothing to steal")


#: (theft, readings of runs x slots, rng) -> what is reported, of the same shape.
Policy = Callable[[Theft, Floats, np.random.Generator], Floats]


def _tilt(theft: Theft, readings: Floats, rng: np.random.Generator) -> Floats:
    """Draws from f1*: nothing of what was used enters."""
    return tilted(theft.honest, 1, theft.fraction * theft.honest.mean).stolen.sample(rng, readings.shape)


def _zeroing(theft: Theft, readings: Floats, rng: np.random.Generator) -> Floats:
    """Some slots report 0: so many that the fraction is reached."""
    count = math.ceil(theft.fraction * readings.shape[1] - 1e-9)
    order = rng.permuted(np.tile(np.arange(readings.shape[1]), (len(readings), 1)), axis=1)
    return np.where(order < count, 0.0, readings)


def _subtract(theft: Theft, readings: Floats, rng: np.random.Generator) -> Floats:
    """The same amount less in every slot; not below 0 where the home never feeds in."""
    del rng
    less = theft.fraction * theft.honest.mean
    if theft.honest.least < 0:
        return readings - less
    amount = float(brentq(lambda c: theft.honest.mean_over(c) - theft.honest.mean + less, 0, _top(theft.honest)))
    return np.maximum(readings - amount, 0)


def _cap(theft: Theft, readings: Floats, rng: np.random.Generator) -> Floats:
    """No slot reports more than a cap."""
    del rng
    less = theft.fraction * theft.honest.mean
    low = min(0.0, theft.honest.least) if math.isfinite(theft.honest.least) else -_top(theft.honest)
    return np.minimum(readings, float(brentq(lambda c: theft.honest.mean_over(c) - less, low, _top(theft.honest))))


def _flat(theft: Theft, readings: Floats, rng: np.random.Generator) -> Floats:
    """Every slot reports the same."""
    del rng
    return np.full_like(readings, (1 - theft.fraction) * theft.honest.mean)


def _scale(theft: Theft, readings: Floats, rng: np.random.Generator) -> Floats:
    """Every slot reports the same fraction of what was used."""
    del rng
    return (1 - theft.fraction) * readings


def _night_zero(theft: Theft, readings: Floats, rng: np.random.Generator) -> Floats:
    """Every night the first slots from midnight on report 0. TheftError where the night is too short for the fraction."""
    del rng
    day = theft.slots_per_day
    count = math.ceil(theft.fraction * day - 1e-9)
    if count * 24 > _NIGHT_HOURS * day:
        raise TheftError(f"a night of {_NIGHT_HOURS} h holds less than the fraction {theft.fraction} of a day's slots")
    return np.where(np.arange(readings.shape[1]) % day < count, 0.0, readings)


ATTACKS: Mapping[str, Policy] = {
    "tilt": _tilt,
    "zeroing": _zeroing,
    "subtract": _subtract,
    "cap": _cap,
    "flat": _flat,
    "scale": _scale,
    "night-zero": _night_zero,
}


def reported(attack: str, theft: Theft, readings: Floats, rng: np.random.Generator) -> Floats:
    """What the thief's meter says. readings: runs x slots, what was used, from midnight on; a gap (NaN) stays one.

    TheftError for an unknown attack, or a theft that this home, or this attack, does not allow.
    """
    if attack not in ATTACKS:
        raise TheftError(f"there is no attack {attack!r}: {', '.join(ATTACKS)}")
    check_theft(theft.honest, readings.shape[1], theft.fraction * theft.honest.mean * readings.shape[1])
    return np.where(np.isfinite(readings), ATTACKS[attack](theft, readings, rng), np.nan)


def _top(honest: Density) -> float:
    """An energy that practically no reading exceeds."""
    return float(honest.most if math.isfinite(honest.most) else honest.quantile(1 - 1e-15))
