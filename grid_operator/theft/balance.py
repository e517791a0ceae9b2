"""What a balance meter sees that homes do not report: its own error, losses, and theft, told apart day by day.

A day's missing share is (balance - reported - losses) / balance. The balance meter's gain is off by some parts in a thousand and drifts,
so the gain is tracked by a Kalman filter of one state; what it does not explain are innovations, white while everybody is honest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.theft.errors import TheftError


@dataclass(frozen=True, slots=True)
class BalanceMeter:
    """A meter of class 0.5 at a transformer or a group. All are fractions of what it measures.

    gain: how far it may be off for good (one standard deviation); white: the error of one slot by itself; drift_per_root_day: how far the
    gain moves in a day.
    """

    gain: float = 0.0025
    white: float = 0.0025
    drift_per_root_day: float = 0.0003

    def __post_init__(self) -> None:
        if not all(0 <= part < 0.1 for part in (self.gain, self.white, self.drift_per_root_day)) or self.white == 0:
            raise TheftError(f"{self}: errors are fractions below a tenth, and some of the error is white")

    def per(self, days: float) -> BalanceMeter:
        """The same where what is called a day is so many days: a window of some slots."""
        return replace(self, drift_per_root_day=self.drift_per_root_day * days**0.5)

    def measured(self, flow: Floats, rng: np.random.Generator) -> Floats:
        """What it says of a true flow. flow: Wh, days x slots. Simulated."""
        days, slots = flow.shape
        gain = self.gain * rng.normal() + self.drift_per_root_day * np.cumsum(rng.normal(size=days))
        return flow * (1 + gain[:, None] + self.white * rng.normal(size=(days, slots)))


@dataclass(frozen=True, slots=True)
class Losses:
    """Wh lost in a slot in which S Wh flow: a + b S^2. a: the transformer's iron and the meters themselves; b: lines and windings."""

    constant_wh: float
    per_squared_wh: float

    def lost(self, flow: Floats) -> Floats:
        """Of the flow at the balance meter."""
        return self.constant_wh + self.per_squared_wh * flow**2


@dataclass(frozen=True, slots=True)
class HonestFit:
    """What honest days say: losses, the balance meter's gain at their end, and how uncertain that is (a variance)."""

    losses: Losses
    gain: float
    gain_variance: float


def fit_honest(balance: Floats, reported: Floats, meter: BalanceMeter) -> HonestFit:
    """Weighted least squares of balance - reported on 1, S and S^2 over honest days; the factor of S is the meter's gain.

    balance, reported: Wh, days x slots; NaN (no reading) leaves its slot out. Losses below 0 are no losses: then a or b is 0. What the
    gain may have drifted since it was on average so is part of its variance.
    """
    known = np.isfinite(balance) & np.isfinite(reported) & (balance > 0)
    flow, missing = balance[known], (balance - reported)[known]
    if flow.size < 2 * balance.shape[1] or np.ptp(flow) == 0:
        raise TheftError("losses are fitted on two days at least, whose slots are not all alike")
    deviation = meter.white * flow
    columns = np.stack([np.ones_like(flow), flow, flow**2], axis=1) / deviation[:, None]
    scale = np.abs(columns).max(axis=0)
    chosen = [0, 1, 2]
    while True:
        part = columns[:, chosen] / scale[chosen]
        found, covariance = np.zeros(3), np.linalg.pinv(part.T @ part)
        found[chosen] = covariance @ (part.T @ (missing / deviation)) / scale[chosen]
        below = [at for at in (0, 2) if found[at] < 0]
        if not below:
            of_gain = float(covariance[chosen.index(1), chosen.index(1)] / scale[1] ** 2)
            drifted = meter.drift_per_root_day**2 * len(balance) / 3
            return HonestFit(Losses(float(found[0]), float(found[2])), float(found[1]), of_gain + drifted)
        chosen = [at for at in chosen if at not in below]


@dataclass(frozen=True, slots=True)
class Days:
    """A day each. share: what is missing, of what flowed, after losses; variance: of the balance meter's white error in it; flow: Wh.

    share may be of several runs of one meter, (days, runs).
    """

    share: Floats
    variance: Floats
    flow: Floats

    @classmethod
    def of(cls, balance: Floats, reported: Floats, losses: Losses, meter: BalanceMeter) -> Days:
        """days x slots, in Wh. A slot without a reading (NaN) of either leaves the day's share, and widens its variance.

        TheftError for a day with no slot that is known, or that feeds back as a whole.
        """
        known = np.isfinite(balance) & np.isfinite(reported)
        flow = np.where(known, balance, 0.0)
        total = flow.sum(axis=1)
        if (total <= 0).any():
            raise TheftError("a day without a known slot, or that feeds back as a whole, has no missing share")
        missing = np.where(known, balance - reported - losses.lost(flow), 0.0).sum(axis=1)
        return cls(missing / total, meter.white**2 * (flow**2).sum(axis=1) / total**2, total)


@dataclass(frozen=True, slots=True)
class Innovations:
    """What the tracked gain does not explain. error: of each day, or (days, runs); variance: its own; taken: how much of it the tracker
    believes.
    """

    error: Floats
    variance: Floats
    taken: Floats

    def since(self, day: int) -> Innovations:
        """Those of later days only: the first days after a fit settle the gain, and are not watched."""
        return Innovations(self.error[day:], self.variance[day:], self.taken[day:])


def track(days: Days, meter: BalanceMeter, fit: HonestFit) -> Innovations:
    """A Kalman filter: the gain is a random walk with the meter's drift, from the fitted one on; each day's share measures it."""
    error, variance, taken = np.zeros_like(days.share), np.zeros(len(days.share)), np.zeros(len(days.share))
    gain, spread = np.full(days.share.shape[1:], fit.gain), fit.gain_variance
    for day, (share, white) in enumerate(zip(days.share, days.variance, strict=True)):
        spread += meter.drift_per_root_day**2
        variance[day] = spread + white
        error[day] = share - gain
        taken[day] = spread / variance[day]
        gain = gain + taken[day] * error[day]
        spread *= 1 - taken[day]
    return Innovations(error, variance, taken)
