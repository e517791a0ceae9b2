"""From an epsilon, or from the error wanted, to a law and its price; from a sensitivity to a scale.

Laplace for one number: scale = sensitivity / epsilon, pure epsilon. Gaussian for a stream of numbers: variance = (L2
sensitivity)^2 / (2 rho) for every one of them, rho of zCDP for all together. Sensitivity: how far one home can move
the exact numbers, by contract. Prices are whole units, and scales follow from prices: what is charged is what
protects. A scale is rounded up to 26 significant bits, so that every sampler can hold it, and its square, exactly.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from hushgrid.search import least
from privacy_gateway.ledger.price import MICRO, PICO, FailureDelta, PrivacyPrice
from privacy_gateway.noise.laws import GaussianLaw, LaplaceLaw

#: A float has 53: the square of a number of half as many is a float too.
_SIGNIFICANT_BITS = 26


class MechanismKind(enum.StrEnum):
    """How an answer is protected."""

    DISCRETE_LAPLACE = "discrete-laplace"
    DISCRETE_GAUSSIAN = "discrete-gaussian"


@dataclass(frozen=True)
class NoiseMechanism:
    """A law for each number of an answer, and what all of them together cost a home."""

    kind: MechanismKind
    law: LaplaceLaw | GaussianLaw
    price: PrivacyPrice

    @property
    def half_width(self) -> int:
        """95 % of the noise of each number lies within so many Wh."""
        return self.law.half_width


def laplace(sensitivity: int, epsilon_micro: int) -> NoiseMechanism:
    """sensitivity: Wh, L1. ValueError unless both are above 0."""
    if sensitivity < 1 or epsilon_micro < 1:
        raise ValueError("sensitivity and epsilon are above 0")
    law = LaplaceLaw(rounded_up(Fraction(sensitivity * MICRO, epsilon_micro)))
    return NoiseMechanism(MechanismKind.DISCRETE_LAPLACE, law, PrivacyPrice(epsilon_micro=epsilon_micro))


def gaussian(sensitivity_squared: int, rho_pico: int) -> NoiseMechanism:
    """sensitivity_squared: Wh^2, of the L2 sensitivity of all numbers together. ValueError unless both are above 0."""
    if sensitivity_squared < 1 or rho_pico < 1:
        raise ValueError("sensitivity and rho are above 0")
    law = GaussianLaw(_root_above(Fraction(sensitivity_squared * PICO, 2 * rho_pico)) ** 2)
    return NoiseMechanism(MechanismKind.DISCRETE_GAUSSIAN, law, PrivacyPrice(rho_pico=rho_pico))


def laplace_for_error(sensitivity: int, error: Fraction, largest_micro: int) -> NoiseMechanism | None:
    """The cheapest whose 95 % interval is no wider than +-error (Wh); None where even the largest epsilon is not
    enough.
    """
    return _cheapest(lambda units: laplace(sensitivity, units), error, largest_micro)


def gaussian_for_error(sensitivity_squared: int, error: Fraction, largest_pico: int) -> NoiseMechanism | None:
    """As `laplace_for_error`, for the interval of each number by itself."""
    return _cheapest(lambda units: gaussian(sensitivity_squared, units), error, largest_pico)


def gaussian_for_epsilon(sensitivity_squared: int, epsilon_micro: int, delta: FailureDelta) -> NoiseMechanism | None:
    """The most exact that is worth at most this epsilon at delta; None where that is worth less than the smallest
    unit.
    """
    rho_pico = delta.largest_rho_pico(epsilon_micro)
    return gaussian(sensitivity_squared, rho_pico) if rho_pico else None


def rounded_up(scale: Fraction) -> Fraction:
    """The least number of at most 26 significant bits that is not below a scale above 0."""
    # 2^(size - 1) < scale < 2^(size + 1), so that the ceiling below is at most 2^26.
    size = scale.numerator.bit_length() - scale.denominator.bit_length()
    unit = Fraction(2) ** (_SIGNIFICANT_BITS - 1 - size)
    return math.ceil(scale * unit) / unit


def _root_above(variance: Fraction) -> Fraction:
    """A standard deviation, rounded up: its square is not below the variance."""
    size = (variance.numerator.bit_length() - variance.denominator.bit_length()) // 2
    unit = Fraction(2) ** (2 * _SIGNIFICANT_BITS - size)
    root = Fraction(math.isqrt(math.ceil(variance * unit * unit)) + 1) / unit
    return rounded_up(root)


def _cheapest(offer: Callable[[int], NoiseMechanism], error: Fraction, largest: int) -> NoiseMechanism | None:
    """The least price in units whose half width is at most the error: widths never rise with the price."""
    if largest < 1 or offer(largest).half_width > error:
        return None
    return offer(least(lambda units: offer(units).half_width <= error, 0, largest))
