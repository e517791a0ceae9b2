"""Whether somebody may ask a question, by their scope: what for, of how many, how far back, how exactly. No I/O."""

from __future__ import annotations

from dataclasses import replace

from privacy_gateway.deciding.policy import GatewayPolicy
from privacy_gateway.ledger.price import MICRO
from privacy_gateway.people.scopes import AskingScope
from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.posed import PosedQuestion
from privacy_gateway.questions.question import GatewayQuestion


def why_not_admitted(
    scope: AskingScope | None, question: GatewayQuestion, *, settled_before: int, interval_seconds: int
) -> Declined | None:
    """None where it is within the scope, as far as the question itself says. interval_seconds: of a round."""
    if scope is None:
        return _refused("This client may ask no questions: its scope names no purpose.")
    if question.purpose not in scope.purposes:
        allowed = ", ".join(sorted(scope.purposes))
        return _refused(f"This client may not ask for {question.purpose.value}; its scope has {allowed}.")
    most = scope.largest_epsilon_micro
    if most is not None and question.epsilon is not None and question.epsilon * MICRO > most:
        return _refused(f"An epsilon of {most / MICRO:g} is the most that this client's scope allows.")
    rounds = question.step_rounds or question.until_round - question.first_round
    if scope.interval_seconds is not None and rounds * interval_seconds < scope.interval_seconds:
        return _refused(f"Every number has to cover {scope.interval_seconds} s by this client's scope.")
    if scope.history_seconds is not None:
        earliest = settled_before - scope.history_seconds // interval_seconds
        if question.first_round < earliest:
            return _refused(f"This client's scope reaches back to round {earliest}.")
    return None


def why_too_few(scope: AskingScope | None, posed: PosedQuestion, policy: GatewayPolicy) -> Declined | None:
    """Whether a cohort is below the minimum by its size alone.

    Asked before consent: what a refusal says must not depend on what one home or a few have consented to.
    """
    fewest = stricter(policy, scope).minimum_homes
    if len(posed.homes) < fewest:
        return Declined(
            DeclineCode.TOO_FEW_HOMES,
            f"The cohort has {len(posed.homes)} homes; {fewest} are the fewest that may be told of.",
        )
    return None


def stricter(policy: GatewayPolicy, scope: AskingScope | None) -> GatewayPolicy:
    """The gateway's policy and the scope's own bounds."""
    if scope is None:
        return policy
    return replace(
        policy,
        minimum_homes=max(policy.minimum_homes, scope.minimum_homes or 0),
        largest_epsilon_micro=min(
            policy.largest_epsilon_micro, scope.largest_epsilon_micro or policy.largest_epsilon_micro
        ),
    )


def _refused(sentence: str) -> Declined:
    return Declined(DeclineCode.NOT_ADMITTED, sentence)
