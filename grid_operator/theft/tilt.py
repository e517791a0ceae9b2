"""The attacker's best density f1*: the honest one, tilted until its mean is what remains after the theft (eqs. 11-19)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import brentq

from grid_operator.arrays import Floats
from grid_operator.theft.densities import Density
from grid_operator.theft.errors import TheftError

_MOST_DOUBLINGS = 200
#: Of what a home uses. The KL per slot is the square of the stolen fraction, and is a difference of numbers near 1.
_LEAST_FRACTION = 1e-5


@dataclass(frozen=True, slots=True)
class Tilt:
    """f1*(y) = f0(y) exp(-mu y) / Z(mu) in each slot. honest: f0; stolen: f1*."""

    honest: Density
    mu: float
    log_z: float
    stolen: Density

    @property
    def kl_per_slot(self) -> float:
        """KL(f1* || f0) of one slot: -mu E1[y] - ln Z. What the game is played for (eq. 13)."""
        return -self.mu * self.stolen.mean - self.log_z

    def log_ratio(self, total: Floats, slots: int = 1) -> Floats:
        """D*(y) = ln f1* / f0 = -mu 1'y - slots ln Z (eqs. 8, 22). Nothing of the readings counts but their sum."""
        return -self.mu * total - slots * self.log_z


def check_theft(honest: Density, slots: int, stolen: float) -> None:
    """TheftError unless 0 < q_u < q and q - q_u > slots times the least reading, and q_u is not lost in rounding."""
    if slots < 1:
        raise TheftError(f"{slots} slots: there is one at least")
    use = slots * honest.mean
    if not math.isfinite(stolen) or stolen <= 0:
        raise TheftError(f"a theft of {stolen:g} is none")
    if stolen >= use:
        raise TheftError(f"a theft of {stolen:g} is not below the home's use of {use:g}")
    if stolen < _LEAST_FRACTION * use:
        raise TheftError(f"a theft of {stolen:g} from {use:g} is too small to be told from rounding")
    if use - stolen <= slots * honest.least:
        raise TheftError(
            f"after a theft of {stolen:g} from {use:g} not more remains than {slots} times the home's least reading {honest.least:g}"
        )


def tilted(honest: Density, slots: int, stolen: float) -> Tilt:
    """f1* for a theft of `stolen` (q_u) over so many slots. mu > 0 solves E1*[1'y] = q - q_u, which falls as mu grows (eq. 19).

    TheftError where there is no such density.
    """
    check_theft(honest, slots, stolen)
    target = honest.mean - stolen / slots
    high = 1 / abs(honest.mean)
    for _ in range(_MOST_DOUBLINGS):
        if honest.tilted(high).mean <= target:
            break
        high *= 2
    else:
        raise TheftError(f"a theft of {stolen:g} is too close to all that can be stolen")
    mu = float(brentq(lambda tried: honest.tilted(tried).mean - target, 0.0, high, xtol=1e-15 * high, rtol=1e-14))
    return Tilt(honest, mu, honest.log_z(mu), honest.tilted(mu))
