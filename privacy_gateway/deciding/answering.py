"""From a decision to an answer: charge on disk, compute, audit on disk, answer. In that order, whatever happens.

A charge is never given back. When the computation fails, or the machine does, the question stands as charged and as
told; whoever asks it again pays again, and gets noise that nobody has seen.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

from hushgrid.errors import HushgridError
from privacy_gateway.deciding.answer import GatewayAnswer
from privacy_gateway.deciding.order import AllowedQuestion, Decision, GatewayKnowledge, RepeatedQuestion, decide
from privacy_gateway.deciding.policy import GatewayPolicy
from privacy_gateway.ledger.balance import BudgetCap
from privacy_gateway.ledger.book import Overdraft
from privacy_gateway.ledger.price import MICRO
from privacy_gateway.noise.sampler import NoiseSampler
from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.question import GatewayQuestion, StatisticKind

#: How often a question is judged anew because others were charged meanwhile.
MOST_JUDGEMENTS = 100


class DecidedTooEarlyError(HushgridError):
    """Others were charged for since a question was judged: it is to be judged anew."""


class GatewayRecords(GatewayKnowledge, Protocol):
    """What a decision is made from, and where its consequences are kept."""

    def charge(self, allowed: AllowedQuestion, cap: BudgetCap) -> Overdraft | None:
        """The entry and what its answer tells, both or neither, on disk before this returns; None: charged.

        Two questions at once are charged one after the other, each on the balances it then finds.
        DecidedTooEarlyError, and nothing is charged, where more rows are disclosed than when it was judged.
        """
        ...

    def audited(
        self, asker: str, question: GatewayQuestion, outcome: Declined | GatewayAnswer
    ) -> Declined | GatewayAnswer:
        """Who asked what, and what becomes of it, on disk before this returns; an answer is kept for whoever asks
        again.

        What is given is what this returns: where another process answered the same question meanwhile, its answer; a
        refusal where consent was taken back meanwhile.
        """
        ...


def reply(
    asker: str, question: GatewayQuestion, records: GatewayRecords, policy: GatewayPolicy, sampler: NoiseSampler
) -> Declined | GatewayAnswer:
    """One question, from who asks to what is answered. Whatever a record raises ends it there, and nothing is
    answered.
    """
    for _ in range(MOST_JUDGEMENTS):
        try:
            outcome = _outcome(decide(asker, question, records, policy), records, policy, sampler)
        except DecidedTooEarlyError:
            continue
        return records.audited(asker, question, outcome)
    raise DecidedTooEarlyError(f"judged {MOST_JUDGEMENTS} times, and others were charged for each time")


def _outcome(
    decision: Decision, records: GatewayRecords, policy: GatewayPolicy, sampler: NoiseSampler
) -> Declined | GatewayAnswer:
    if isinstance(decision, Declined):
        return decision
    if isinstance(decision, RepeatedQuestion):
        return decision.answer
    overdraft = records.charge(decision, policy.cap)
    return compute(decision, sampler) if overdraft is None else _short(decision, overdraft, policy)


def compute(allowed: AllowedQuestion, sampler: NoiseSampler) -> GatewayAnswer:
    """The answer to a question that is charged for: exact sums, with noise drawn now."""
    rows, mechanism = allowed.rows, allowed.mechanism
    included = sum(row.included for row in rows)
    kind = allowed.posed.question.kind
    if mechanism is None:
        values, half_width = [Fraction(included)], Fraction(0)
    else:
        # One home and round of a mean; a minimum of homes with readings makes it a number above 0.
        share = included if kind is StatisticKind.MEAN else 1
        noise = sampler.draw(mechanism.law, len(rows))
        values = [Fraction(row.watt_hours + drawn, share) for row, drawn in zip(rows, noise, strict=True)]
        half_width = Fraction(mechanism.half_width, share)
    return GatewayAnswer(
        question=allowed.posed.digest,
        kind=kind,
        values=tuple(values),
        half_width=half_width,
        price=allowed.entry.price,
        included=included,
        expected=sum(row.expected for row in rows),
        homes=len(allowed.posed.homes),
        noise_by="nobody" if mechanism is None else "gateway",
        mechanism=None if mechanism is None else mechanism.kind,
        sampler=None if mechanism is None else sampler.name,
    )


def _short(allowed: AllowedQuestion, overdraft: Overdraft, policy: GatewayPolicy) -> Declined:
    renewed = (allowed.entry.periods[0] + 1) * policy.period_rounds
    return Declined(
        DeclineCode.BUDGET,
        f"{len(overdraft.short)} of {len(allowed.posed.homes)} homes have too little of their budget left. All "
        f"could still pay an epsilon of {overdraft.left_micro / MICRO:g}; of rounds from "
        f"{renewed} on there is a new budget.",
    )
