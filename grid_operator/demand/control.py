"""What the loads are told: eq. 36, its share rule as it is printed and mended, and what limits an order in practice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.demand.model import FlexibleLoads


@dataclass(frozen=True, slots=True)
class ControlLimits:
    """What holds an order back; the paper names all three as wishes.

    least, most: of one load's u. price: of one unit of |u|, in units of squared power: the order minimises
    (target - y)^2 + price |u|, so that small deviations are left alone. silent: places of loads that do not answer.
    """

    least: float = -math.inf
    most: float = math.inf
    price: float = 0.0
    silent: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not self.least <= 0 <= self.most:
            raise ValueError(f"bounds of control have to hold 0 between them, not {self.least:g} to {self.most:g}")
        if not (self.price >= 0 and math.isfinite(self.price)):
            raise ValueError(f"a price of control is at least 0, not {self.price:g}")


#: The paper's own controller: nothing holds it back.
FREE = ControlLimits()


def printed_shares(estimate: Floats) -> Floats:
    """y_i / Y of eq. 36 as printed, loads on the first axis. Repeated, it is a random walk of the shares: they drift without end."""
    return np.asarray(estimate / estimate.sum(axis=0))


def baseline_shares(habit: Floats) -> Floats:
    """Each load's part of all habits over time: shares that do not drift, (loads,). ValueError where the habits add up to nothing."""
    total = habit.sum()
    if not total > 0:
        raise ValueError("share factors come from baselines, and these add up to nothing")
    return np.asarray(habit.sum(axis=0) / total)


def share_out(
    loads: FlexibleLoads, target: float, shares: Floats, estimate: Floats, mu: Floats, silent: frozenset[int]
) -> Floats:
    """y*_i of all loads, (loads, runs): each its share of the target; what silent loads do unasked is left to the others to make up.

    shares: (loads, 1) or (loads, runs). mu: (loads,). ValueError where nobody answers.
    """
    if not silent:
        return shares * target * np.ones_like(estimate)
    mute = np.array([place in silent for place in range(len(loads.alpha))])
    if mute.all():
        raise ValueError("no load answers: there is nothing to control")
    unasked = loads.alphas[:, None] * estimate + mu[:, None]
    rest = target - unasked[mute].sum(axis=0)
    found = shares / shares[~mute].sum(axis=0) * rest
    found[mute] = unasked[mute]
    return np.asarray(found)


def order(loads: FlexibleLoads, targets: Floats, estimate: Floats, mu: Floats, limits: ControlLimits = FREE) -> Floats:
    """u_i = (y*_i - alpha_i yhat_i - mu_i) / beta_i (eq. 36), held back by `limits`. Loads on the first axis of all but mu, (loads,).

    Silent loads do nothing. With a price, the deviation is first shortened by what control costs: the least of
    (deviation - beta u)^2 + price |u| is at |beta u| = max(0, |deviation| - price / (2 |beta|)).
    """
    column = (slice(None), *(None,) * (targets.ndim - 1))
    alpha, beta = loads.alphas[column], loads.betas[column]
    gap = targets - alpha * estimate - mu[column]
    if limits.price:
        gap = np.sign(gap) * np.maximum(0, np.abs(gap) - limits.price / (2 * np.abs(beta)))
    found = np.clip(gap / beta, limits.least, limits.most)
    for place in limits.silent:
        found[place] = 0.0
    return np.asarray(found)
