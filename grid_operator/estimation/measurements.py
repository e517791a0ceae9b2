"""What is measured, read, bought or assumed of a feeder in each slot, each with its standard deviation."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from grid_operator.arrays import Floats
from grid_operator.estimation.errors import EstimationError
from grid_operator.network.feeder import Feeder


class GridQuantity(enum.Enum):
    """What a number is about. Of a branch: at its upper end; of the slack: what it gives."""

    VOLTAGE_PER_UNIT = "voltage"
    BRANCH_WATTS = "watts of a branch"
    BRANCH_VARS = "vars of a branch"
    BRANCH_AMPERES = "amperes of a branch"
    LOAD_WATTS = "watts of loads"
    LOAD_VARS = "vars of loads"


@dataclass(frozen=True, eq=False)
class Measured:
    """One quantity over all slots.

    where: the node; the branch, by the node below it; or the loads whose sum it is, by their numbers. values, sigmas: (slots,), in the
    quantity's unit; sigma inf: nothing was measured in that slot. pseudo: assumed, not measured.
    """

    name: str
    quantity: GridQuantity
    where: tuple[int, ...]
    values: Floats
    sigmas: Floats
    pseudo: bool = False

    def __post_init__(self) -> None:
        """EstimationError for a value that is no number, a sigma that is not above 0, a sum of no loads or of one twice."""
        values, sigmas = np.broadcast_arrays(*(np.asarray(each, float) for each in (self.values, self.sigmas)))
        if values.ndim != 1:
            raise EstimationError(f"{self.name}: values of shape {values.shape}, not one for each slot")
        for slot in np.flatnonzero(~np.isfinite(values) & np.isfinite(sigmas)):
            raise EstimationError(f"{self.name}: slot {slot}: {values[slot]} is no number")
        for slot in np.flatnonzero(~(sigmas > 0)):
            raise EstimationError(f"{self.name}: slot {slot}: sigma is {sigmas[slot]}, not above 0")
        if self.quantity is GridQuantity.BRANCH_AMPERES and (values < 0).any():
            raise EstimationError(f"{self.name}: slot {int(np.argmax(values < 0))}: a current's magnitude is below 0")
        if not self.where or len(set(self.where)) < len(self.where):
            raise EstimationError(f"{self.name}: {'a load is there twice' if self.where else 'it is about nothing'}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "sigmas", sigmas)


def measured(
    feeder: Feeder, quantity: GridQuantity, place: str, values: npt.ArrayLike, sigma: npt.ArrayLike
) -> Measured:
    """A device's readings at a node, or on a branch ("line 3", "slack"), by name. NetworkError where there is none."""
    at = feeder.node(place) if quantity is GridQuantity.VOLTAGE_PER_UNIT else feeder.branch(place)
    if quantity is GridQuantity.BRANCH_AMPERES and at == 0:
        raise EstimationError("slack: the slack is no branch, and has no current")
    return Measured(f"{quantity.value} at {place}", quantity, (at,), np.asarray(values), np.asarray(sigma))


def of_each_load(
    names: Sequence[str], quantity: GridQuantity, values: npt.ArrayLike, sigmas: npt.ArrayLike, *,
    loads: Sequence[int] | None = None, pseudo: bool = False,
) -> list[Measured]:  # fmt: skip
    """Readings (slots, loads) of single loads, or what is assumed of them; `loads`: which ones, None for all of `names`."""
    chosen = range(len(names)) if loads is None else loads
    given = np.asarray(values, dtype=np.float64)
    spread = np.broadcast_to(np.asarray(sigmas, dtype=np.float64), given.shape)
    if given.ndim != 2 or given.shape[1] != len(chosen):
        raise EstimationError(f"readings of shape {given.shape} for {len(chosen)} loads")
    word = "assumed" if pseudo else "read"
    return [
        Measured(f"{quantity.value}: {names[load]}, {word}", quantity, (load,), given[:, at], spread[:, at], pseudo)
        for at, load in enumerate(chosen)
    ]


def of_group(
    name: str, quantity: GridQuantity, loads: Sequence[int], values: npt.ArrayLike, sigma: npt.ArrayLike
) -> Measured:
    """A sum over the loads that contributed to it."""
    return Measured(f"{quantity.value}: {name}", quantity, tuple(loads), np.asarray(values), np.asarray(sigma))
