"""What leaves: numbers with their interval, what they cost, and what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from privacy_gateway.ledger.price import PrivacyPrice
from privacy_gateway.noise.laws import CONFIDENCE_PERCENT
from privacy_gateway.noise.mechanisms import MechanismKind
from privacy_gateway.questions.question import StatisticKind


@dataclass(frozen=True, slots=True)
class GatewayAnswer:
    """values: in Wh (sum: one; load curve: one a step; mean: Wh per home and round), of a count the number of readings.

    half_width: the noise of each value by itself lies within +-half_width with 95 %, by its exact law. included of
    expected: (home, round) pairs; the rest is missing, and no noise stands for it. noise_by: who added the noise,
    `gateway` or nobody; mechanism, sampler: its law, and who drew it.
    """

    question: str
    kind: StatisticKind
    values: tuple[Fraction, ...]
    half_width: Fraction
    price: PrivacyPrice
    included: int
    expected: int
    homes: int
    noise_by: str
    mechanism: MechanismKind | None
    sampler: str | None
    confidence_percent: int = CONFIDENCE_PERCENT
