"""Rules asked for, given up, and what became of them."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

from pydantic import Field

from hushgrid.statements.statement import Body
from hushgrid.wire.model import Mechanism, Name


class RequestRule(Body):
    """A consumer asks for a rule. cohort: "all", meter ids, or inclusive ranges "first..last" in the order of meter ids."""

    kind: Literal["request-rule"] = "request-rule"
    name: Name
    cohort: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1, max_length=4096)]
    window_rounds: Annotated[int, Field(ge=0, lt=2**16)]
    minimum_contributors: Annotated[int, Field(ge=0)] | None = None
    mechanism: Mechanism = Mechanism.SHARES
    weights: tuple[int, ...] = (1,)


class WithdrawRule(Body):
    """A consumer wants a rule no longer; it ends with the windows that have begun."""

    kind: Literal["withdraw-rule"] = "withdraw-rule"
    name: Name


class RuleState(enum.StrEnum):
    """What became of a request."""

    GRANTED = "granted"
    REFUSED = "refused"
    PENDING = "pending"  # not judged yet; the reason says what is waited for
    WITHDRAWN = "withdrawn"


class RuleAnswer(Body):
    """The configurator's answer about one rule. because_of: the granted rules that lead to a refusal."""

    kind: Literal["rule-answer"] = "rule-answer"
    name: Name
    state: RuleState
    number: Annotated[int, Field(ge=0, lt=2**24)] = 0
    reason: str = ""
    because_of: tuple[str, ...] = ()
