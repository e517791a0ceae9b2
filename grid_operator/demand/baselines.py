"""A feeder's habit, from its past or from a whole stretch, and how quickly it comes back to it: alpha, fitted.

Flows are mean powers per round, (rounds,). NaN is refused: whoever has gaps has to say first what is to stand there.
"""

from __future__ import annotations

import enum

import numpy as np

from grid_operator.arrays import Floats


class Habit(enum.StrEnum):
    """week: the mean of the same round of the 7 days before. profile: of weekdays or weekends over all days, known in hindsight."""

    WEEK = "week"
    PROFILE = "profile"


def habit_of(flow: Floats, kind: Habit, rounds_per_day: int, first_round: int) -> Floats:
    """ybar for every round from the second week on (`habit_begins`). first_round: rounds since 1970-01-01, a Thursday. ValueError."""
    begin = habit_begins(rounds_per_day)
    if not np.isfinite(flow).all():
        raise ValueError("a flow with gaps has no baseline")
    if len(flow) <= begin:
        raise ValueError(f"a baseline needs more than 7 days; there are {len(flow) / rounds_per_day:g}")
    if kind is Habit.WEEK:
        before = [flow[begin - day * rounds_per_day : len(flow) - day * rounds_per_day] for day in range(1, 8)]
        return np.asarray(np.mean(before, axis=0))
    day, of_day = np.divmod(first_round + np.arange(len(flow)), rounds_per_day)
    weekend = (day + 3) % 7 >= 5
    groups = of_day + rounds_per_day * weekend
    sums, counts = np.bincount(groups, flow), np.bincount(groups)
    return np.asarray(sums[groups] / counts[groups])[begin:]


def habit_begins(rounds_per_day: int) -> int:
    """The first round that has a baseline."""
    return 7 * rounds_per_day


def fit_alpha(deviation: Floats) -> tuple[float, float]:
    """alpha and the disturbance's variance by least squares on e_{k+1} = alpha e_k + w. ValueError where it is unstable or flat."""
    before, after = deviation[:-1], deviation[1:]
    power = float(before @ before)
    if len(before) < 2 or not power > 0:
        raise ValueError("deviations that never change tell no alpha")
    alpha = float(before @ after) / power
    if not abs(alpha) < 1:
        raise ValueError(f"these deviations grow: alpha {alpha:g}")
    return alpha, float(np.mean((after - alpha * before) ** 2))
