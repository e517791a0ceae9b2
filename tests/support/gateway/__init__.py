"""A small gateway: twelve homes, a day of recovered sums, and records that write down in which order they are asked."""

from __future__ import annotations

import json
import random
from fractions import Fraction

from hushgrid.errors import HushgridError
from privacy_gateway.deciding.answer import GatewayAnswer
from privacy_gateway.deciding.answering import reply
from privacy_gateway.deciding.memory import MemoryRecords
from privacy_gateway.deciding.policy import GatewayPolicy
from privacy_gateway.ledger.balance import BudgetCap
from privacy_gateway.ledger.price import MICRO, FailureDelta
from privacy_gateway.noise.sampler import ExactSampler
from privacy_gateway.questions.declined import Declined
from privacy_gateway.questions.question import GatewayQuestion
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan

HOMES = [f"m{at:02d}" for at in range(12)]
DELTA = FailureDelta.of(Fraction(1, 10**6))
POLICY = GatewayPolicy(
    bound_span_watt_hours=5000, typical_watt_hours=Fraction(1200), cap=BudgetCap(2 * MICRO, DELTA),
    period_rounds=24, minimum_homes=3,
)  # fmt: skip
SETTLED = 24


def reading(home: str, round_: int) -> int:
    return 100 * int(home[1:]) + round_


def summed(rule: int, homes: list[str], first: int, until: int, missing: int = 0) -> RecoveredSum:
    watt_hours = sum(reading(home, at) for home in homes for at in range(first, until))
    return RecoveredSum(
        rule, frozenset(homes), RoundSpan(first, until), watt_hours, len(homes) * (until - first) - missing, len(homes)
    )


def hourly() -> list[RecoveredSum]:
    """Every round of everybody, of the first six, of the others, of all but one, and of the first three."""
    cohorts = [HOMES, HOMES[:6], HOMES[6:], HOMES[:-1], HOMES[:3]]
    return [summed(rule, cohort, at, at + 1) for rule, cohort in enumerate(cohorts) for at in range(SETTLED)]


def ask(kind: str = "sum", cohort: object = "all", first: int = 0, until: int = 1, **stated: object) -> GatewayQuestion:
    if not stated.keys() & {"epsilon", "error_watt_hours", "error_percent"} and kind != "count":
        stated["epsilon"] = "0.5"
    fields = {
        "kind": kind,
        "cohort": cohort,
        "first_round": first,
        "until_round": until,
        "purpose": "research",
        **stated,
    }
    return GatewayQuestion.from_json(json.dumps(fields).encode())


class Watched(MemoryRecords):
    """Writes down in which order it is asked."""

    def __init__(self, *arguments, **named) -> None:
        self.asked: list[str] = []
        super().__init__(*arguments, **named)

    def __getattribute__(self, name: str):
        if name in {
            "admitted",
            "homes",
            "consented",
            "answer_to",
            "settled_before",
            "sums_within",
            "disclosed",
            "attempts",
            "charge",
            "audited",
        }:
            self.asked.append(name)
        return super().__getattribute__(name)


def records(**named) -> Watched:
    return Watched(HOMES, hourly(), SETTLED, **named)


class WatchedSampler(ExactSampler):
    """Draws from a seed, and writes it down beside what the records were asked."""

    def __init__(self, asked: list[str], *, fails: bool = False) -> None:
        super().__init__(random.Random(14).randrange)
        self.asked, self.fails = asked, fails

    def draw(self, law, count: int) -> list[int]:
        self.asked.append("draw")
        if self.fails:
            raise HushgridError("the power went")
        return super().draw(law, count)


def put(question: GatewayQuestion, kept: Watched, policy: GatewayPolicy = POLICY) -> Declined | GatewayAnswer:
    return reply("party-1", question, kept, policy, WatchedSampler(kept.asked))


def exact(homes: list[str], first: int, until: int) -> int:
    return sum(reading(home, at) for home in homes for at in range(first, until))


class Silent:
    """Noise of nothing: to see what is under it."""

    name = "silent"

    def draw(self, law, count: int) -> list[int]:
        del law
        return [0] * count
