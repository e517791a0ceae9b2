"""The rows of `hushgrid experiment theft-ranking`: how good each ranking is, and whether its scores may be called probabilities."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.theft.calibration import Case, Posterior, SureClaims, Suspicion, suspicions
from grid_operator.theft.ranking import Missing, Tail, expectation, log_ratios, naive_drops
from grid_operator.theft.windows import History, HitRate, Mix, TrialWindow, WindowPlan, draw_windows, paired_ratio

DAYS_BEFORE, PERIOD_DAYS = 28, 7
METHODS = ("naive", "llr-normal", "llr")
#: Windows by which the tail of honest homes is fitted.
_HONEST_WINDOWS = 150
#: Where probabilities are fitted and judged: the share of windows with nobody, with several thieves; how badly the gap is known.
_NOBODY, _SEVERAL, _GAP_ERROR = 0.1, 0.1, 0.001


@dataclass(frozen=True, slots=True)
class RankingRow:
    """One ranking. top1, top3: the share of windows with the thief there, its measured hit rate; period_days, sums_per_home: what the
    supplier knows then, so many exact sums of so many days about each home; epsilon: of each slot of the group's sum, None: exact.
    """

    method: str
    theft_fraction: float
    days: int
    groups: int
    epsilon: float | None
    windows: int
    median_rank: float
    top1: float
    top3: float
    period_days: int
    sums_per_home: int


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """How many times as often the thief is among the first three of the likelihood ratio as of the naive drop, with its 95 % interval."""

    theft_fraction: float
    days: int
    groups: int
    epsilon: float | None
    windows: int
    top3_ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """temperature, nobody: as fitted. Claims above 0.9 on other windows, of a plain softmax (of the normal ratio) and calibrated: how many,
    how many right; shown: whether a probability may be shown.
    """

    days: int
    groups: int
    windows: int
    temperature: float
    nobody: float
    softmax_claims: int
    softmax_right: int
    claims: int
    right: int
    shown: bool


class Ranker:
    """One grouping and length of time. All methods see the same windows."""

    def __init__(
        self, history: History, groups: tuple[tuple[int, ...], ...], days: int, noise_scale: float, seed: int
    ) -> None:
        """noise_scale: Wh, of the Laplace noise in each slot of a group's sum."""
        self.history, self.seed, self.count = history, seed, len(groups)
        period = min(PERIOD_DAYS, days)
        self.plan = WindowPlan(groups, DAYS_BEFORE, days, period, history.slots_per_day, 0.0, noise_scale)
        self.uncertain = WindowPlan(groups, DAYS_BEFORE, days, period, history.slots_per_day, _GAP_ERROR, noise_scale)
        honest = self.drawn(self.plan, Mix((0.5,), nobody=1.0), _HONEST_WINDOWS, 1)
        none = Missing(0.0)
        self.tail = Tail.fitted(np.concatenate([expectation(window.sums, none).residuals for window in honest]))

    def drawn(self, plan: WindowPlan, mix: Mix, count: int, stream: int) -> list[TrialWindow]:
        """Windows of one stream of the seed."""
        return draw_windows(
            self.history, plan, mix, count, np.random.default_rng([self.seed, stream, plan.days, self.count])
        )

    def scores(self, method: str, window: TrialWindow) -> Floats:
        """Of every home of the window's group: the largest is looked at first. llr-normal: each home's own spread and a normal law."""
        if method == "llr-normal":
            plain = expectation(window.sums, window.missing, borrowed=0.0, foreseen=False)
            return log_ratios(plain, window.missing, Tail())
        found = expectation(window.sums, window.missing)
        return naive_drops(found) if method == "naive" else log_ratios(found, window.missing, self.tail)

    def rates(self, fraction: float, windows: int) -> dict[str, HitRate]:
        """Of every method, on the same windows with one thief."""
        found = self.drawn(self.plan, Mix((fraction,)), windows, 2)
        return {method: HitRate.of(found, functools.partial(self.scores, method)) for method in METHODS}

    def cases(self, method: str, fractions: tuple[float, ...], count: int, stream: int) -> list[Case]:
        """With nobody and several among them, and a gap that is not quite known."""
        mix = Mix(fractions, nobody=_NOBODY, several=_SEVERAL)
        return [
            Case(self.scores(method, window), window.thieves[0] if len(window.thieves) == 1 else None)
            for window in self.drawn(self.uncertain, mix, count, stream)
        ]

    def calibrated(self, fractions: tuple[float, ...], count: int) -> tuple[Posterior, SureClaims, SureClaims]:
        """Fitted on one set of windows and judged on another; then the claims of a plain softmax on that other one."""
        posterior = Posterior.fitted(self.cases("llr", fractions, count, 3))
        plain = SureClaims.counted(Posterior(1.0, -1e9), self.cases("llr-normal", fractions, count, 4))
        return posterior, SureClaims.counted(posterior, self.cases("llr", fractions, count, 4)), plain

    def example(
        self, names: Sequence[str], fraction: float, windows: int, posterior: Posterior, claims: SureClaims
    ) -> tuple[Suspicion, ...]:
        """What an inspector would be given in one window."""
        window = self.drawn(self.plan, Mix((fraction,)), 1, 5)[0]
        rate = self.rates(fraction, windows)["llr"].within(3)
        return suspicions([names[home] for home in window.group], self.scores("llr", window), rate, posterior, claims)


def ranking_rows(
    ranker: Ranker, fractions: Sequence[float], epsilon: float | None, windows: int
) -> tuple[list[RankingRow], list[ComparisonRow]]:
    """Every fraction and method."""
    rows, comparisons, plan = [], [], ranker.plan
    days, period = plan.days_after, plan.period_days
    for fraction in fractions:
        rates = ranker.rates(fraction, windows)
        for method, rate in rates.items():
            rows.append(
                RankingRow(
                    method, fraction, days, ranker.count, epsilon, windows, rate.median_rank, rate.within(1), rate.within(3), period,
                    plan.days // period,
                )
            )  # fmt: skip
        if rates["naive"].within(3):
            ratio = paired_ratio(rates["llr"], rates["naive"], 3, np.random.default_rng([ranker.seed, 6]))
            comparisons.append(ComparisonRow(fraction, days, ranker.count, epsilon, windows, *ratio))
    return rows, comparisons


def calibration_row(
    ranker: Ranker, fractions: tuple[float, ...], count: int
) -> tuple[CalibrationRow, Posterior, SureClaims]:
    """Whether a probability may stand beside a rank."""
    posterior, claims, plain = ranker.calibrated(fractions, count)
    row = CalibrationRow(
        ranker.plan.days_after, ranker.count, count, posterior.temperature, posterior.nobody, plain.made, plain.right, claims.made,
        claims.right, claims.may_be_shown,
    )  # fmt: skip
    return row, posterior, claims


def as_rows(found: Sequence[RankingRow | ComparisonRow | CalibrationRow]) -> list[dict[str, object]]:
    """For JSON and CSV."""
    return [asdict(row) for row in found]
