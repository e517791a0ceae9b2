"""Why a question is not answered: a value with a stable code, and a sentence for a person."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class DeclineCode(enum.StrEnum):
    """What stands in the way. A program may rely on these words; sentences may change."""

    UNKNOWN_COHORT = "unknown-cohort"
    NOT_ADMITTED = "not-admitted"  # who asks
    NO_CONSENT = "no-consent"  # for this purpose, of somebody who is covered
    NOT_YET_FUTURE = "not-yet-future"
    NOT_YET_DISTRIBUTION = "not-yet-distribution"
    NOT_SUMMED = "not-summed"
    COVER_NOT_FOUND = "cover-not-found"
    TOO_FEW_HOMES = "too-few-homes"
    TOO_SHORT = "too-short"
    DIFFERENCING = "differencing"
    DIFFERENCING_NOT_SHOWN = "differencing-not-shown"
    EPSILON_TOO_LARGE = "epsilon-too-large"
    ERROR_TOO_SMALL = "error-too-small"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Declined:
    """A question that gets no answer. sentence: English, for whoever asked; it depends on no reading."""

    code: DeclineCode
    sentence: str
