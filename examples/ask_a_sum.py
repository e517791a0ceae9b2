"""Questions to the privacy gateway, played by hand: python examples/ask_a_sum.py

Two parties ask about a street of 1,000 constructed homes over a day of half hours. What the gateway has
are the recovered sums of a consumer; it has no home's reading. docs/gateway.md says what each step is for.
"""

from __future__ import annotations

import json
import textwrap
from fractions import Fraction

from meter_agent.sources.constructed import ConstructedHouseholds
from privacy_gateway.deciding.answering import reply
from privacy_gateway.deciding.memory import MemoryRecords
from privacy_gateway.deciding.policy import GatewayPolicy
from privacy_gateway.ledger.balance import BudgetCap
from privacy_gateway.ledger.price import MICRO, FailureDelta
from privacy_gateway.noise.sampler import installed_sampler
from privacy_gateway.questions.declined import Declined
from privacy_gateway.questions.question import GatewayQuestion
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan

HOMES = [f"m{number:03}" for number in range(1000)]
HALF_HOUR, DAY = 1800, 48
#: By contract a home of the street uses 3,500 Wh in half an hour at most, or feeds in 1,500.
POLICY = GatewayPolicy(
    bound_span_watt_hours=5000,
    typical_watt_hours=Fraction(200),
    cap=BudgetCap(2 * MICRO, FailureDelta.of(Fraction(1, 10**6))),
    period_rounds=365 * DAY,
)


def main() -> None:
    """Answers and refusals, one of each kind."""
    homes = ConstructedHouseholds(interval_seconds=HALF_HOUR, seed=1)
    readings = {home: [homes.watt_hours(home, at) for at in range(DAY)] for home in HOMES}
    cohorts = [HOMES, HOMES[:-1]]
    sums = [
        RecoveredSum(
            rule=number, cohort=frozenset(cohort), span=RoundSpan(at, at + 1),
            watt_hours=sum(readings[home][at] for home in cohort), included=len(cohort), contributors=len(cohort),
        )
        for number, cohort in enumerate(cohorts)
        for at in range(DAY)
    ]  # fmt: skip
    records, sampler = MemoryRecords(HOMES, sums, settled_before=DAY), installed_sampler()
    whole_day = {"kind": "sum", "cohort": "all", "first_round": 0, "until_round": DAY, "purpose": "operations"}
    asked = [
        ("researcher", {**whole_day, "epsilon": "0.5"}),
        ("utility", {**whole_day, "cohort": ["m000..m999"], "epsilon": 0.5}),
        ("utility", {**whole_day, "cohort": "m000..m998", "epsilon": "0.5"}),
        ("utility", {**whole_day, "kind": "load-curve", "step_rounds": 12, "epsilon": "0.5"}),
        ("researcher", {**whole_day, "first_round": 24, "error_percent": "10"}),
        ("researcher", {**whole_day, "kind": "mean", "until_round": 47, "epsilon": "1"}),
        ("researcher", {**whole_day, "kind": "mean", "until_round": 46, "epsilon": "0.1"}),
        ("researcher", {**whole_day, "kind": "quantile", "quantile_percent": 95, "epsilon": "0.5"}),
    ]
    for asker, fields in asked:
        question = GatewayQuestion.from_json(json.dumps(fields).encode())
        outcome = reply(asker, question, records, POLICY, sampler)
        say(f"{asker} asks: {json.dumps(fields)}")
        if isinstance(outcome, Declined):
            say(f"  refused, {outcome.code.value}: {outcome.sentence}")
        else:
            values = ", ".join(f"{float(value):,.1f}" for value in outcome.values)
            say(f"  {values} Wh, each +-{float(outcome.half_width):,.1f} with {outcome.confidence_percent} %")
            say(
                f"  {outcome.included} of {outcome.expected} readings, {outcome.mechanism} by the {outcome.noise_by}, {outcome.sampler}"
            )
    paid = records.ledger.balances([("m000", 0)])["m000", 0]
    left = POLICY.cap.left_micro(paid) / MICRO
    say(f"{len(records.ledger.entries)} of {len(asked)} were charged; home m000 has an epsilon of {left:g} left of 2.")


def say(text: str) -> None:
    """One thing, on lines of a terminal."""
    print(textwrap.fill(text, 80, subsequent_indent="  "))


if __name__ == "__main__":
    main()
