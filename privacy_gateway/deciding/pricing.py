"""What a question costs: the mechanism for the epsilon it states, or for the error it wants.

One number: discrete Laplace, L1 sensitivity R times the rounds of the sum. A load curve of T steps: the same, or
discrete Gaussian with squared L2 sensitivity T (R times the rounds of a step)^2, whichever is more exact for the
epsilon stated, or costs less for the error wanted; for many steps that is the Gaussian. R: the largest contract bound
of the homes covered. A count says how many readings there are, which is no secret of the system (rosters name who
took part): it is exact and free.
"""

from __future__ import annotations

from fractions import Fraction

from privacy_gateway.deciding.laid_out import CoveredRow
from privacy_gateway.deciding.policy import GatewayPolicy
from privacy_gateway.ledger.price import MICRO
from privacy_gateway.noise.mechanisms import (
    NoiseMechanism,
    gaussian_for_epsilon,
    gaussian_for_error,
    laplace,
    laplace_for_error,
)
from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.posed import PosedQuestion
from privacy_gateway.questions.question import StatisticKind


def mechanism_for(
    posed: PosedQuestion, rows: tuple[CoveredRow, ...], policy: GatewayPolicy
) -> NoiseMechanism | Declined | None:
    """The mechanism with its price; None for a count. It depends on homes, rounds and policy, never on a watt-hour."""
    question = posed.question
    if question.kind is StatisticKind.COUNT:
        return None
    bound, largest = policy.bound_of(posed.homes), f"epsilon {policy.largest_epsilon_micro / MICRO:g}"
    sensitivities = [bound * row.span.rounds for row in rows]
    if question.epsilon is not None:
        wanted = int(question.epsilon * MICRO)
        if wanted > policy.largest_epsilon_micro:
            return Declined(
                DeclineCode.EPSILON_TOO_LARGE,
                f"An epsilon of {wanted / MICRO:g} is more than one question may cost ({largest}).",
            )
        return _for_epsilon(question.kind, sensitivities, wanted, policy)
    error = error_watt_hours(posed, rows, policy)
    found = _for_error(question.kind, sensitivities, error, policy)
    if found is not None:
        return found
    best = _for_epsilon(question.kind, sensitivities, policy.largest_epsilon_micro, policy)
    return Declined(
        DeclineCode.ERROR_TOO_SMALL,
        f"An error of +-{float(error):g} Wh in each sum would cost more than one question may ({largest}); "
        f"+-{best.half_width} Wh is what that buys.",
    )


def error_watt_hours(posed: PosedQuestion, rows: tuple[CoveredRow, ...], policy: GatewayPolicy) -> Fraction:
    """The error wanted of each sum, in Wh. ValueError where the question states none.

    A mean's is one of a home and round: times the readings. Percent: of the public expectation for the number with the
    fewest readings.
    """
    question, readings = posed.question, min(row.included for row in rows)
    if question.error_percent is not None:
        return Fraction(question.error_percent) / 100 * policy.typical_watt_hours * readings
    if question.error_watt_hours is None:
        raise ValueError("the question states no error")
    return Fraction(question.error_watt_hours) * (readings if question.kind is StatisticKind.MEAN else 1)


def _for_epsilon(
    kind: StatisticKind, sensitivities: list[int], epsilon_micro: int, policy: GatewayPolicy
) -> NoiseMechanism:
    single = laplace(sum(sensitivities), epsilon_micro)
    if kind is not StatisticKind.LOAD_CURVE:
        return single
    stream = gaussian_for_epsilon(_squared(sensitivities), epsilon_micro, policy.cap.delta)
    return single if stream is None or single.half_width < stream.half_width else stream


def _for_error(
    kind: StatisticKind, sensitivities: list[int], error: Fraction, policy: GatewayPolicy
) -> NoiseMechanism | None:
    delta = policy.cap.delta
    offers = [laplace_for_error(sum(sensitivities), error, policy.largest_epsilon_micro)]
    if kind is StatisticKind.LOAD_CURVE:
        largest = delta.largest_rho_pico(policy.largest_epsilon_micro)
        offers.insert(0, gaussian_for_error(_squared(sensitivities), error, largest))
    found = [offer for offer in offers if offer is not None]
    return min(found, key=lambda offer: delta.worth_micro(offer.price), default=None)


def _squared(sensitivities: list[int]) -> int:
    return sum(each * each for each in sensitivities)
