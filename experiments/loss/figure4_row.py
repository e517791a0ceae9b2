"""One point of the paper's figure 4: how many PPNs a loss costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure4Row:
    """width: smallest w with failure <= 1e-3 by eq. 14, None when there is none below 3,000; ppns: PPNs it needs, average over
    instances; width_repair, ppns_repair: the same with recovery repair, None when no width below 2 t releases often enough;
    coverage_repair: expected part of the readings in its sums.
    """

    meters: int
    loss: float
    alpha: float
    window: int
    width: int | None
    ppns: float | None
    ppns_repair: float | None
    width_repair: int | None
    coverage_repair: float | None
