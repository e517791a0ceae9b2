"""When a score may be called a probability: only after it was measured, and against "nobody, or several".

A softmax of log-likelihood ratios is not a probability: it is sure far more often than it is right. Scores are divided by a temperature
that is fitted on windows with known thieves, beside a hypothesis for windows without one thief. On other windows it is then counted how
often a claim above 0.9 is right. Too rarely: no probability is shown at all, and the hit rate of the ranking is all there is to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import minimize
from scipy.special import logsumexp

from grid_operator.arrays import Floats
from grid_operator.theft.errors import TheftError

#: A claim above this must be right so often, and so many of them be right at least; else none is shown.
CLAIM, RIGHT, FEWEST_CLAIMS = 0.9, 0.85, 20
_FEWEST_WINDOWS = 100
_TEMPERATURES = (0.05, 1e4)


@dataclass(frozen=True, slots=True)
class Case:
    """One window with its answer. scores: of each home; thief: the only one, None where there is nobody, or are several."""

    scores: Floats
    thief: int | None


@dataclass(frozen=True, slots=True)
class Posterior:
    """temperature divides the scores; nobody: the score of "nobody, or several" after that."""

    temperature: float
    nobody: float

    @classmethod
    def fitted(cls, cases: Sequence[Case]) -> Posterior:
        """By maximum likelihood. TheftError for fewer than 100 cases, or where no answer occurs of one of both kinds."""
        kinds = {case.thief is None for case in cases}
        if len(cases) < _FEWEST_WINDOWS or len(kinds) < 2:
            raise TheftError(
                f"{len(cases)} windows are too few to fit probabilities: {_FEWEST_WINDOWS}, some of them without one thief"
            )
        low, high = np.log(_TEMPERATURES)
        most = max(case.scores.size for case in cases)
        scores = np.stack(
            [np.pad(case.scores, (0, most - case.scores.size), constant_values=-np.inf) for case in cases]
        )
        answers = np.array([most if case.thief is None else case.thief for case in cases])

        def surprise(parameters: Floats) -> float:
            cold = np.exp(-np.clip(parameters[0], low, high))
            weights = np.column_stack([scores * cold, np.full(len(scores), parameters[1])])
            return float(np.mean(logsumexp(weights, axis=1) - weights[np.arange(len(scores)), answers]))

        tries = [
            minimize(surprise, [start, 1.0], method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-6})
            for start in (0.0, 2.0)
        ]
        best = min(tries, key=lambda tried: float(tried.fun)).x
        return cls(float(np.exp(np.clip(best[0], low, high))), float(best[1]))

    def logarithms(self, scores: Floats) -> Floats:
        """ln of the probability of each home, then of "nobody, or several"."""
        weights = np.append(scores / self.temperature, self.nobody)
        return np.asarray(weights - logsumexp(weights), float)

    def probabilities(self, scores: Floats) -> Floats:
        """Of each home, then of "nobody, or several"; they add up to 1."""
        return np.asarray(np.exp(self.logarithms(scores)), float)


@dataclass(frozen=True, slots=True)
class SureClaims:
    """Claims above 0.9 that one home is the thief, on windows that fitted nothing: how many, and how many of them are right."""

    windows: int
    made: int
    right: int

    @classmethod
    def counted(cls, posterior: Posterior, cases: Sequence[Case]) -> SureClaims:
        """On held-out windows."""
        made = right = 0
        for case in cases:
            homes = posterior.probabilities(case.scores)[:-1]
            if homes.max() > CLAIM:
                made += 1
                right += case.thief == int(np.argmax(homes))
        return cls(len(cases), made, right)

    @property
    def may_be_shown(self) -> bool:
        """Whether probabilities may be shown: of claims like these at least 85 % are right, beyond chance (one-sided, 95 %; exact)."""
        if self.right < FEWEST_CLAIMS:
            return False
        return float(stats.beta.ppf(0.05, self.right, self.made - self.right + 1)) >= RIGHT


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Advice to inspect, never guilt: no fine, bill, disconnection or neighbour's name follows from it.

    rank: 1 is looked at first; top_three_rate: how often the thief is among the first three, as measured; probability: None unless shown.
    """

    home: str
    rank: int
    top_three_rate: float
    probability: float | None

    @property
    def sentence(self) -> str:
        """What an inspector reads."""
        said = "" if self.probability is None else f"; probability {self.probability:.2f}"
        return (
            f"{self.rank}. {self.home}: inspect. In {self.top_three_rate:.0%} of trials the cause was among the first three{said}. "
            "This is no finding of guilt."
        )


def suspicions(
    homes: Sequence[str], scores: Floats, top_three_rate: float, posterior: Posterior, claims: SureClaims
) -> tuple[Suspicion, ...]:
    """The three that are looked at first. A probability stands there only where `claims` allows it."""
    order = np.argsort(-scores, kind="stable")[:3]
    chances = posterior.probabilities(scores)
    return tuple(
        Suspicion(homes[at], place, top_three_rate, float(chances[at]) if claims.may_be_shown else None)
        for place, at in enumerate(map(int, order), 1)
    )
