"""A question whose homes are known by name, and its canonical bytes: the same question, however it was written."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from hushgrid.core.cohorts import resolve_cohort
from hushgrid.errors import RefusedError
from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.question import GatewayQuestion
from privacy_gateway.questions.recovered import RoundSpan

#: Changed when the same bytes would come to mean something else.
_FORM = "hushgrid question 1"


@dataclass(frozen=True)
class PosedQuestion:
    """homes: sorted ids, no one twice. Two of these with equal `canonical` are one question, whoever asks."""

    question: GatewayQuestion
    homes: tuple[str, ...]

    @property
    def span(self) -> RoundSpan:
        """All rounds asked about."""
        return RoundSpan(self.question.first_round, self.question.until_round)

    @property
    def rows(self) -> tuple[RoundSpan, ...]:
        """The spans that get a number each: the steps of a load curve, or the whole."""
        step = self.question.step_rounds
        if step is None:
            return (self.span,)
        return tuple(RoundSpan(at, at + step) for at in range(self.span.first, self.span.until, step))

    @functools.cached_property
    def canonical(self) -> bytes:
        """JSON with sorted keys, homes one by one, decimals in one form; what is not stated is not there."""
        stated = self.question.model_dump(mode="json", exclude_none=True, exclude={"cohort"})
        return json.dumps(
            {"form": _FORM, "homes": self.homes, **stated}, sort_keys=True, separators=(",", ":"), ensure_ascii=True
        ).encode()

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hexadecimal: the question's name in ledger and audit."""
        return hashlib.sha256(self.canonical).hexdigest()


def pose(question: GatewayQuestion, known: Sequence[str]) -> PosedQuestion | Declined:
    """The question with its homes. known: the ids of all homes the gateway knows, sorted."""
    try:
        return PosedQuestion(question, resolve_cohort(question.cohort, known))
    except RefusedError as refusal:
        return Declined(
            DeclineCode.UNKNOWN_COHORT, f"The cohort names no homes that can be asked about: {refusal.reason}."
        )
