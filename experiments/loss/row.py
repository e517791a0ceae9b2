"""One row of `hushgrid experiment loss-rate`: what became of one combination, computed, simulated or played."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

from experiments.loss.formula import Point, coverage, messages_per_share, released, success

Mode = Literal["formula", "simulated", "live"]


@dataclass(frozen=True, slots=True)
class LossRow:
    """success: recovered windows among those played, in [0, 1]; coverage: included among expected (meter, round) pairs of the
    recovered windows; messages_per_reading: sends of shares and requests for them; wrong: released sums that are not the truth.

    rounds, recovered: windows played and recovered count rounds / window; 0 in mode `formula`. success_formula: eq. 13 at
    M_c = meters, or what takes its place with recovery; success_random_cohort: eq. 14 with |P| = meters, for `none`. predicted: how
    many windows the link's function lets recover in a live run; as_predicted: whether exactly these were, over as many pairs.
    """

    mode: Mode
    recovery: str
    meters: int
    loss: float
    width: int
    threshold: int
    window: int
    rounds: int
    recovered: int
    success: float
    coverage: float
    messages_per_reading: float
    wrong: int
    success_formula: float
    success_random_cohort: float | None = None
    seconds: float = 0.0
    predicted: int | None = None
    as_predicted: bool | None = None
    seed: int | None = None

    def to_json(self) -> dict[str, object]:
        """Every field by its name; null where there is nothing to say."""
        return {name: None if value != value else value for name, value in asdict(self).items()}  # noqa: PLR0124  # NaN

    @property
    def windows(self) -> int:
        """How many windows were played."""
        return self.rounds // self.window

    @property
    def deviations(self) -> float | None:
        """How far the success is from the formula, in standard errors of as many independent windows; None without any."""
        if not self.windows:
            return None
        p = self.success_formula
        error = math.sqrt(p * (1 - p) / self.windows)
        if error * self.windows < 1e-9:
            return 0.0 if abs(self.success - p) < 1e-9 else math.inf
        return (self.success - p) / error


def formula_row(point: Point) -> LossRow:
    """Eqs. 13 and 14, and their counterparts with recovery."""
    found = released(point)
    random_cohort = None
    if point.recovery.value == "none":
        random_cohort = success(point.meters, point.loss, point.width, point.threshold, point.window)
    return row(
        point, "formula", 0, 0, found, coverage(point), point.width * messages_per_share(point), 0, random_cohort
    )


def row(
    point: Point,
    mode: Mode,
    rounds: int,
    recovered: int,
    success_: float,
    coverage_: float,
    messages_per_reading: float,
    wrong: int,
    random_cohort: float | None = None,
    *,
    seconds: float = 0.0,
    predicted: int | None = None,
    as_predicted: bool | None = None,
    seed: int | None = None,
) -> LossRow:
    """A row of a point."""
    return LossRow(
        mode=mode,
        recovery=point.recovery.value,
        meters=point.meters,
        loss=point.loss,
        width=point.width,
        threshold=point.threshold,
        window=point.window,
        rounds=rounds,
        recovered=recovered,
        success=success_,
        coverage=coverage_,
        messages_per_reading=messages_per_reading,
        wrong=wrong,
        success_formula=released(point),
        success_random_cohort=random_cohort,
        seconds=seconds,
        predicted=predicted,
        as_predicted=as_predicted,
        seed=seed,
    )
