"""The model played many times with random disturbances: what the closed forms are held against. Simulated, from a seed."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.demand.control import FREE, ControlLimits, baseline_shares, order, printed_shares, share_out
from grid_operator.demand.model import FlexibleLoads, offsets


class ShareRule(enum.StrEnum):
    """Who is to carry which part of the target: as printed in eq. 36, or in proportion to the baselines."""

    PRINTED = "printed"
    BASELINES = "baselines"


@dataclass(frozen=True, slots=True)
class Programme:
    """One demand-response programme: the target total Y*, how often loads are seen (None: never), who carries what."""

    target: float
    interval: int | None
    shares: ShareRule = ShareRule.BASELINES
    limits: ControlLimits = FREE


@dataclass(frozen=True, slots=True)
class Trajectories:
    """totals: (rounds, runs), of each round after the first. negative_fraction: of all (round, load) values; largest: of all |y|.

    due: the places on the first axis at which the loads are seen again, the k + N of the closed forms. idle_fraction: of orders to
    loads that answer, those that are 0.
    """

    totals: Floats
    due: tuple[int, ...]
    negative_fraction: float
    largest: float
    idle_fraction: float


def simulate(
    loads: FlexibleLoads, habit: Floats, programme: Programme, runs: int, rng: np.random.Generator
) -> Trajectories:
    """Play the rounds of `habit`, (rounds + 1, loads), that often; all runs begin at its first row, and the loads are seen there.

    The loads follow eq. 33. Between two samples the estimate is the conditional mean (eq. 35), one round after the other. The
    offsets mu follow from the habit. ValueError where an interval does not fit into the rounds.
    """
    rounds, users = len(habit) - 1, len(loads.alpha)
    interval = programme.interval
    if interval is not None and not 1 <= interval <= rounds:
        raise ValueError(f"{rounds} rounds hold no sampling interval of {interval}")
    mu, alpha, beta = offsets(loads, habit), loads.alphas[:, None], loads.betas[:, None]
    fixed = baseline_shares(habit)[:, None]
    y = np.repeat(habit[0][:, None], runs, axis=1)
    estimate = y.copy()
    totals = np.empty((rounds, runs))
    negative = idle = 0
    answer = [place for place in range(users) if place not in programme.limits.silent]
    largest = 0.0
    for k in range(rounds):
        if interval is not None and k % interval == 0:
            estimate = y.copy()
        shares = printed_shares(estimate) if programme.shares is ShareRule.PRINTED else fixed
        targets = share_out(loads, programme.target, shares, estimate, mu[k], programme.limits.silent)
        told = order(loads, targets, estimate, mu[k], programme.limits)
        expected = alpha * estimate + beta * told + mu[k][:, None]
        disturbance = loads.deviations[:, None] * rng.standard_normal((users, runs))
        y = alpha * y + beta * told + mu[k][:, None] + disturbance
        estimate = expected
        totals[k] = y.sum(axis=0)
        negative += int((y < 0).sum())
        idle += int((told[answer] == 0).sum())
        largest = max(largest, float(np.abs(y).max()))
    due = tuple(range(interval - 1, rounds, interval)) if interval is not None else (rounds - 1,)
    orders = rounds * len(answer) * runs
    return Trajectories(totals, due, negative / (rounds * users * runs), largest, idle / orders)
