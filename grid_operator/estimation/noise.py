"""How sure bought readings and sums are: the noise that protects homes, beside the meter's own error."""

from __future__ import annotations

import math

from grid_operator import noise
from grid_operator.estimation.errors import EstimationError


def reading_sigma(epsilon: float, sensitivity: float) -> float:
    """The noise on one reading by its meter: Laplace(sensitivity / epsilon). In the unit of the sensitivity."""
    try:
        return math.sqrt(noise.variance(noise.laplace_scale(sensitivity, epsilon)))
    except ValueError as error:
        raise EstimationError(str(error)) from None


def group_sigma(epsilon: float, sensitivity: float, *, counted: int, fewest: int, threshold: int) -> float:
    """The noise on a sum by its nodes, of which `fewest` - (threshold - 1) honest ones alone protect it, and `counted` added some.

    Variance counted / (fewest - threshold + 1) times one curator's: each of these adds that part of one law.
    """
    try:
        factor = noise.nodes_factor(counted, fewest, threshold)
    except ValueError as error:
        raise EstimationError(str(error)) from None
    return reading_sigma(epsilon, sensitivity) * math.sqrt(factor)
