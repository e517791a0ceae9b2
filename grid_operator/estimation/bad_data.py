"""Whether measurements fit together, and which one does not: chi-square on J, and the largest normalised residual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from grid_operator.arrays import Floats
from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.least_squares import Estimate


@dataclass(frozen=True, slots=True)
class BadData:
    """A slot whose measurements do not fit, and the one that fits least. suspect: None where no residual is checked by others."""

    slot: int
    p_value: float
    suspect: str | None
    normalised_residual: float


def p_values(found: Estimate) -> Floats:
    """(slots,) how often sound measurements fit as badly as these or worse; 1 where nothing is left over to judge by."""
    surplus = found.surplus
    values = chi2.sf(found.squared_residuals, np.maximum(surplus, 1))
    return np.asarray(np.where(surplus > 0, values, 1.0))


def bad_data(model: MeasurementModel, found: Estimate, *, significance: float = 1e-3) -> list[BadData]:
    """Every slot that fails the test, in order."""
    values = p_values(found)
    listed = []
    for slot in np.flatnonzero(values < significance):
        sizes = np.abs(found.normalised[slot])
        if np.isnan(sizes).all():
            listed.append(BadData(int(slot), float(values[slot]), None, 0.0))
        else:
            worst = int(np.nanargmax(sizes))
            listed.append(
                BadData(int(slot), float(values[slot]), model.rows[worst].name, float(found.normalised[slot, worst]))
            )
    return listed
