"""CUSUM on the innovations of a balance: that something is missing, since when, and how much.

A theft that begins moves the missing share by a step. The tracked gain takes the step for drift and follows it, so the innovations carry a
signature that fades. The statistic is the largest log-likelihood ratio over all days on which such a step may have begun (Lai 1998: a CUSUM
within a window of days), for a step of stated size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.theft.balance import Days, Innovations
from grid_operator.theft.errors import TheftError

#: A theft that began longer ago is either found or has become the gain.
_MOST_DAYS_BACK = 28


@dataclass(frozen=True, slots=True)
class BalanceWatch:
    """statistic: of each day, below 0 where nothing speaks for a theft; begun: the day since which it most likely goes on.

    share: how much is missing since, as estimated. Of one run (days,), or of several (days, runs).
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
    days = len(found.error)
    of_day = (slice(None), *[None] * (found.error.ndim - 1))
    signature, information = np.ones(days), np.zeros(days)  # of a step of size 1, by the day on which it began
    score, begun, share = (np.zeros_like(found.error) for _ in range(3))
    largest = np.full_like(found.error, -np.inf)
    for age in range(min(days, _MOST_DAYS_BACK)):
        begins, now = slice(days - age), slice(age, days)
        if age:
            signature[begins] *= (
                1 - found.taken[age - 1 : -1]
            )  # what the gain has not followed of a step, by one day more
        weight = signature[begins] / found.variance[now]
        score[begins] += weight[of_day] * found.error[now]
        information[begins] += weight * signature[begins]
        ratio = step * score[begins] - (step**2 / 2 * information[begins])[of_day]
        larger = ratio > largest[now]
        np.copyto(largest[now], ratio, where=larger)
        np.copyto(begun[now], np.arange(days - age)[of_day], where=larger)
        np.copyto(share[now], score[begins] / information[begins][of_day], where=larger)
    return BalanceWatch(largest, begun, share)


def missing_from_alarm(days: Days, found: Innovations, watched: BalanceWatch, limit: float) -> Floats:
    """From each run's first alarm on, what is missing on average since it most likely began; 0 before. (days, runs)

    The gain is then no longer tracked, as it would follow the theft: it stays what it was when that began.
    """
    alarmed = np.maximum.accumulate(watched.statistic >= limit, axis=0)
    each = np.arange(alarmed.shape[1])
    begun = watched.begun[np.argmax(alarmed, axis=0), each].astype(np.intp)
    gain = (days.share - found.error)[begun, each]
    total = np.cumsum(days.share - gain, axis=0)
    before = np.where(begun > 0, total[begun - 1, each], 0.0)
    length = np.arange(1, len(total) + 1)[:, None] - begun
    return np.where(alarmed, (total - before) / np.maximum(length, 1), 0.0)


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
