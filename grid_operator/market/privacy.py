"""What a home's privacy costs it, whether it accepts an offer, and which noise an offer means (paper 000, eqs. 3 to 7)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from grid_operator import noise
from grid_operator.arrays import Floats
from grid_operator.market.errors import MarketError


@dataclass(frozen=True, slots=True)
class Attitude:
    """How a home, or the operator's picture of a home, values privacy.

    loss_aversion: lambda, in money. risk_aversion: beta, in [0, 1]. Both as the paper's eq. 5 has them.
    steepness: c1, per unit of money. hesitation: c2, in money. Both as its eq. 7 has them.
    MarketError for what is out of range.
    """

    loss_aversion: float = 500.0
    risk_aversion: float = 0.5
    steepness: float = 0.1
    hesitation: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.loss_aversion < math.inf:
            raise MarketError(f"lambda {self.loss_aversion} is no amount of money")
        if not 0 <= self.risk_aversion <= 1:
            raise MarketError(f"beta {self.risk_aversion} is not within 0 to 1")
        if not 0 < self.steepness < math.inf:
            raise MarketError(f"c1 {self.steepness} is not above 0")
        if not math.isfinite(self.hesitation):
            raise MarketError(f"c2 {self.hesitation} is no amount of money")

    def privacy_cost(self, epsilon: float) -> float:
        """lambda eps^beta, in money (eq. 5). Nothing given away costs nothing. MarketError for an epsilon below 0."""
        if not 0 <= epsilon < math.inf:
            raise MarketError(f"epsilon {epsilon} is not a number from 0 on")
        return self.loss_aversion * epsilon**self.risk_aversion if epsilon else 0.0

    def payoff(self, epsilon: float, compensation: float) -> float:
        """What a home has of accepting, in money (eq. 6)."""
        return compensation - self.privacy_cost(epsilon)

    def acceptance(self, epsilon: float, compensation: float) -> float:
        """The probability that the home accepts (eq. 7)."""
        exponent = self.steepness * (self.payoff(epsilon, compensation) - self.hesitation)
        if exponent >= 0:
            return 1 / (1 + math.exp(-exponent))
        return math.exp(exponent) / (1 + math.exp(exponent))  # no overflow however bad the offer is

    def compensation(self, epsilon: float, acceptance: float) -> float:
        """What has to be offered for a probability of acceptance, in money: eqs. 5 to 7 solved for it.

        It is below 0 where even an offer of nothing is accepted more often. MarketError for an acceptance outside (0, 1).
        """
        if not 0 < acceptance < 1:
            raise MarketError(
                f"an acceptance of {acceptance} cannot be bought: it lies within 0 and 1, without its ends"
            )
        logit = math.log(acceptance / (1 - acceptance))
        return self.privacy_cost(epsilon) + self.hesitation + logit / self.steepness


def laplace_scale(sensitivity: float, epsilon: float) -> float:
    """Eq. 4, mended: `noise.laplace_scale` of a bound that comes from the contract and not from the data. MarketError."""
    try:
        return noise.laplace_scale(sensitivity, epsilon)
    except ValueError as error:
        raise MarketError(str(error)) from None


def nodes_factor(contributions: int, minimum: int, threshold: int) -> float:
    """`noise.nodes_factor`. MarketError where they do not fit."""
    try:
        return noise.nodes_factor(contributions, minimum, threshold)
    except ValueError as error:
        raise MarketError(str(error)) from None


@dataclass(frozen=True, slots=True)
class PrintedNoise:
    """The noise of eq. 4 as printed: unsafe, for reproduction only.

    scales: per slot, from the data's own range divided by (eps |I|). guarantee: what it is worth to one home, |I| eps.
    """

    scales: Floats
    guarantee: float


def printed_noise(readings: Floats, epsilon: float) -> PrintedNoise:
    """readings: slots x homes. MarketError where there are none, or an epsilon is not above 0."""
    found = np.asarray(readings, dtype=float)
    if found.ndim != 2 or 0 in found.shape or not np.isfinite(found).all():
        raise MarketError("the printed noise needs finite readings of slots x homes")
    homes = found.shape[1]
    if not 0 < epsilon < math.inf:
        raise MarketError(f"an epsilon of {epsilon} is not above 0: that would need noise without end")
    return PrintedNoise((found.max(axis=1) - found.min(axis=1)) / (epsilon * homes), homes * epsilon)
