"""What a balance meter notices: real or constructed homes, with a constructed meter and constructed losses (labelled so).

Losses are not a power flow here but a + b S^2; the meter is of class 0.5 and drifts. Four weeks are honest and fitted, then come five
that are watched; a theft begins a week into these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.theft.homes import SLOTS_PER_DAY, HomeHistories
from grid_operator.arrays import Floats
from grid_operator.theft.balance import BalanceMeter, Days, HonestFit, Losses, fit_honest, track
from grid_operator.theft.watch import BalanceWatch, limit_of, watch
from hushgrid.errors import ConfigurationError

FITTED_DAYS, WATCHED_DAYS, BEGIN_DAY = 28, 35, 7
#: The last of the fitted days, on which the tracked gain settles.
_SETTLING_DAYS = 7
#: The false alarms that are allowed: one month in twenty. A month has as many days as are fitted.
RATE, _MONTH = 0.05, 28
#: A watch is set for a home of average use that steals this.
_WATCHED_FRACTION = 0.2
#: Constructed losses: so many Wh in every slot for each home, and this share of the flow at the largest flow.
_IRON_WH_PER_HOME, _COPPER_SHARE = 0.9, 0.03
_LIMIT_DRAWS = 4000
#: Delays are simulated for these missing shares, with the noise of so many honest runs.
_SHARES, _HONEST_RUNS = np.geomspace(0.0005, 0.05, 9), 20


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """false_alarms: months with an alarm, of honest months that calibrated nothing; fixed_false_alarms: the same for a gain that is not
    tracked. found: thefts with an alarm within four weeks; delay_days: the median; before_95: alarms no later than 95 % of simulated ones;
    estimate: what is said to be missing, by what is, at the alarm (median).
    """

    groups: int
    theft_fraction: float
    runs: int
    rate: float
    false_alarms: float
    fixed_false_alarms: float
    missing_share: float
    found: float
    alarms: int
    delay_days: float | None
    before_95: float | None
    estimate: float | None


@dataclass(frozen=True, slots=True)
class _Run:
    watched: BalanceWatch
    fit: HonestFit
    variance: Floats
    share: float


class Trial:
    """The meters of one grouping. Every run draws a group, days, and the meter's error; rng: of all of them."""

    def __init__(self, homes: HomeHistories, groups: Sequence[Sequence[int]], rng: np.random.Generator) -> None:
        """ConfigurationError for a history that is too short."""
        self._readings = homes.watt_hours.reshape(len(homes.names), -1, SLOTS_PER_DAY)
        self._groups, self._rng, self._days = groups, rng, self._readings.shape[1]
        if self._days < FITTED_DAYS + WATCHED_DAYS:
            raise ConfigurationError(
                f"a balance is tried on {FITTED_DAYS + WATCHED_DAYS} days, and the history has {self._days}"
            )
        sums = [np.nansum(self._readings[list(group)], axis=0) for group in groups]
        self._losses = [
            Losses(_IRON_WH_PER_HOME * len(group), _COPPER_SHARE / float(flow.max()))
            for group, flow in zip(groups, sums, strict=True)
        ]

    def run(self, true: BalanceMeter, believed: BalanceMeter, fraction: float | None = None) -> _Run:
        """One stretch of days. true: how the meter errs; believed: what the tracker takes it for; fraction: stolen by one home, if any."""
        at = int(self._rng.integers(len(self._groups)))
        first = int(self._rng.integers(self._days - FITTED_DAYS - WATCHED_DAYS + 1))
        group = list(self._groups[at])
        used = self._readings[group, first : first + FITTED_DAYS + WATCHED_DAYS]
        sums = np.nansum(used, axis=0)
        flow = sums + self._losses[at].lost(sums)
        balance, reported, begin = true.measured(flow, self._rng), used.sum(axis=0), FITTED_DAYS + BEGIN_DAY
        stolen = 0.0
        if fraction is not None:
            taken = fraction * np.nan_to_num(used[int(self._rng.integers(len(group))), begin:])
            reported[begin:] -= taken
            stolen = float(taken.sum() / flow[begin:].sum())
        fit = fit_honest(balance[:FITTED_DAYS], reported[:FITTED_DAYS], believed)
        settled = FITTED_DAYS - _SETTLING_DAYS
        days = Days.of(balance[settled:], reported[settled:], fit.losses, believed)
        return _Run(_watched(days, believed, fit, len(group)), fit, days.variance, stolen)

    def limit(self, true: BalanceMeter, believed: BalanceMeter, runs: int) -> float:
        """Calibrated on so many honest stretches, in blocks of a month."""
        honest = [self.run(true, believed).watched.statistic for _ in range(runs)]
        return limit_of(honest, _MONTH, RATE, _LIMIT_DRAWS, self._rng)

    def false_alarms(self, true: BalanceMeter, believed: BalanceMeter, limit: float, runs: int) -> float:
        """The share of other honest months that alarm."""
        return float(
            np.mean([(self.run(true, believed).watched.statistic[:_MONTH] >= limit).any() for _ in range(runs)])
        )

    def simulated_delays(self, meter: BalanceMeter, limit: float, runs: int) -> Floats:
        """The 95 % quantile of the delay, in days, for each missing share of `_SHARES`: noise and drift of the meter, no losses.

        How much white noise a day has, and how well a gain is fitted, is that of honest runs. What is missing varies from day to day
        as one home's use does.
        """
        size = float(np.mean([len(group) for group in self._groups]))
        honest, found = [self.run(meter, meter) for _ in range(_HONEST_RUNS)], []
        for share in _SHARES:
            delays = []
            for at in range(runs):
                kind = honest[at % _HONEST_RUNS]
                white, fit = kind.variance, HonestFit(kind.fit.losses, 0.0, kind.fit.gain_variance)
                start, steps = np.sqrt(fit.gain_variance) * self._rng.normal(), self._rng.normal(size=white.size)
                seen = (
                    start
                    + meter.drift_per_root_day * np.cumsum(steps)
                    + np.sqrt(white) * self._rng.normal(size=white.size)
                )
                seen[_SETTLING_DAYS + BEGIN_DAY :] += share * self._pattern()
                delay = _watched(Days(seen, white, np.ones_like(white)), meter, fit, size).alarm(limit, BEGIN_DAY)
                if delay is not None:
                    delays.append(delay)
            found.append(float(np.quantile(delays, 0.95, method="higher")) if delays else float(WATCHED_DAYS))
        return np.array(found)

    def _pattern(self) -> Floats:
        """The days of one home, about 1."""
        home, first = (
            int(self._rng.integers(len(self._readings))),
            int(self._rng.integers(self._days - WATCHED_DAYS + 1)),
        )
        days = np.nansum(self._readings[home, first + BEGIN_DAY : first + WATCHED_DAYS], axis=1)
        mean = float(days.mean())
        return days / mean if mean > 0 else np.ones_like(days)


def balance_rows(trial: Trial, groups: int, fractions: Sequence[float], runs: int) -> list[BalanceRow]:
    """One row for each fraction; what is honest is the same in all of them."""
    meter = BalanceMeter()
    still = BalanceMeter(drift_per_root_day=0.0)
    limit = trial.limit(meter, meter, runs)
    false = trial.false_alarms(meter, meter, limit, runs)
    fixed = trial.false_alarms(meter, still, trial.limit(still, still, runs), runs)
    quantiles = trial.simulated_delays(meter, limit, max(100, runs // 2))
    rows = []
    for fraction in fractions:
        delays, shares, within, estimates = [], [], [], []
        for _ in range(runs):
            run = trial.run(meter, meter, fraction)
            shares.append(run.share)
            delay = run.watched.alarm(limit, BEGIN_DAY)
            if delay is None or run.share <= 0:
                continue
            delays.append(delay)
            within.append(delay <= np.interp(np.log(run.share), np.log(_SHARES), quantiles))
            estimates.append(run.watched.share[BEGIN_DAY + delay] / run.share)
        rows.append(
            BalanceRow(
                groups, fraction, runs, RATE, false, fixed, float(np.mean(shares)), len(delays) / runs, len(delays),
                float(np.median(delays)) if delays else None, float(np.mean(within)) if within else None,
                float(np.median(estimates)) if estimates else None,
            )
        )  # fmt: skip
    return rows


def _watched(days: Days, meter: BalanceMeter, fit: HonestFit, homes: float) -> BalanceWatch:
    return watch(track(days, meter, fit).since(_SETTLING_DAYS), _WATCHED_FRACTION / homes)
