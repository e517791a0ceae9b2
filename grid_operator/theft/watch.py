"""CUSUM on the innovations of a balance: that something is missing, since when, and how much.

A theft that begins moves the missing share by a step. The tracked gain takes the step for drift and follows it, so the innovations carry a
signature that fades. The statistic is the largest log-likelihood ratio over all days on which such a step may have begun (Lai 1998: a CUSUM
within a window of days), for a step of stated size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grid_operator.theft.balance import Innovations
from grid_operator.theft.densities import Floats
from grid_operator.theft.errors import TheftError

#: A theft that began longer ago is either found or has become the gain.
_MOST_DAYS_BACK = 28


@dataclass(frozen=True, slots=True)
class BalanceWatch:
    """statistic: of each day, below 0 where nothing speaks for a theft; begun: the day since which it most likely goes on.

    share: how much is missing since, as estimated.
    """

    statistic: Floats
    begun: Floats
    share: Floats

    def alarm(self, limit: float, since: int = 0) -> int | None:
        """The first day from `since` on, counted from there, on which the statistic reaches the limit."""
        over = np.flatnonzero(self.statistic[since:] >= limit)
        return int(over[0]) if over.size else None


def watch(found: Innovations, step: float) -> BalanceWatch:
    """The statistic of every day. step: the missing share that the watch is set for."""
    check_step(step)
    days = found.error.size
    begin, day = np.ogrid[:days, :days]
    left = np.concatenate([[1.0], 1 - found.taken[:-1]])  # what the gain has not followed of a step, by one day
    signature = np.where(day >= begin, np.cumprod(np.where(day > begin, left, 1.0), axis=1), 0.0)  # of a step of size 1
    weight = signature / found.variance
    score, information = np.cumsum(weight * found.error, axis=1), np.cumsum(weight * signature, axis=1)
    may = (day >= begin) & (day - begin < _MOST_DAYS_BACK)
    ratio = np.where(may, step * score - step**2 * information / 2, -np.inf)
    best, each = np.argmax(ratio, axis=0), np.arange(days)
    return BalanceWatch(ratio[best, each], best.astype(float), score[best, each] / information[best, each])


def limit_of(honest: list[Floats], days: int, rate: float, draws: int, rng: np.random.Generator) -> float:
    """The limit that so many days without theft reach with probability `rate`.

    honest: statistics day by day of honest stretches, each as long as `days` at least. Stretches are cut into blocks of `days` days, at
    random beginnings: days in a row stay together, as what they say is not independent.
    """
    if not 0 < rate < 1:
        raise TheftError(f"a rate of {rate} is not between 0 and 1")
    if not honest or min(stretch.size for stretch in honest) < days:
        raise TheftError(f"a limit for {days} days needs honest stretches of {days} days")
    if rate * draws < 10 or rate * len(honest) < 1:
        raise TheftError(f"{len(honest)} honest stretches are too few for a rate of {rate}")
    which = rng.integers(len(honest), size=draws)
    largest = []
    for at in which:
        begin = int(rng.integers(honest[at].size - days + 1))
        largest.append(honest[at][begin : begin + days].max())
    return float(np.quantile(largest, 1 - rate))


def check_step(step: float) -> None:
    """TheftError unless it is a fraction between 0 and 1."""
    if not 0 < step < 1:
        raise TheftError(f"a missing share of {step} is not between 0 and 1")
