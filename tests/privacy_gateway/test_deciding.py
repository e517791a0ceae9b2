"""The order of checks, and what is charged when."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.brute_force import singled_out
from support.gateway import DELTA, HOMES, POLICY, SETTLED, WatchedSampler, ask, put, records

from hushgrid.errors import HushgridError
from privacy_gateway.deciding import answering, order
from privacy_gateway.deciding.answer import GatewayAnswer
from privacy_gateway.deciding.answering import DecidedTooEarlyError, reply
from privacy_gateway.deciding.order import AllowedQuestion, decide
from privacy_gateway.differencing.disclosed import SmallGroup
from privacy_gateway.ledger.balance import BudgetCap
from privacy_gateway.questions.declined import DeclineCode, Declined


def test_the_order_of_checks():
    kept = records()
    answer = put(ask(), kept)
    assert isinstance(answer, GatewayAnswer)
    assert kept.asked == [
        "admitted", "homes", "consented", "answer_to", "settled_before", "sums_within", "disclosed", "attempts",
        "charge", "draw", "audited",
    ]  # fmt: skip


def refuse(code: DeclineCode):
    return lambda *_: Declined(code, "No.")


NOT_CHARGED = [
    (ask(), {"admit": refuse(DeclineCode.NOT_ADMITTED)}, {}, DeclineCode.NOT_ADMITTED, "admitted"),
    (ask(cohort="nobody"), {}, {}, DeclineCode.UNKNOWN_COHORT, "homes"),
    (ask(), {"consent": refuse(DeclineCode.NO_CONSENT)}, {}, DeclineCode.NO_CONSENT, "consented"),
    (ask("quantile", quantile_percent="50"), {}, {}, DeclineCode.NOT_YET_DISTRIBUTION, "settled_before"),
    (ask("histogram", bin_edges_watt_hours=[1]), {}, {}, DeclineCode.NOT_YET_DISTRIBUTION, "settled_before"),
    (ask("share-above", threshold_watt_hours=9), {}, {}, DeclineCode.NOT_YET_DISTRIBUTION, "settled_before"),
    (ask(until=SETTLED + 1), {}, {}, DeclineCode.NOT_YET_FUTURE, "settled_before"),
    (ask(cohort="m00..m04"), {}, {}, DeclineCode.NOT_SUMMED, "sums_within"),
    (ask(cohort="m00..m02"), {}, {"minimum_homes": 4}, DeclineCode.TOO_FEW_HOMES, "disclosed"),
    (ask(until=2), {}, {"minimum_rounds": 3}, DeclineCode.TOO_SHORT, "disclosed"),
    (ask("load-curve", until=4, step_rounds=1), {}, {"minimum_rounds": 2}, DeclineCode.TOO_SHORT, "disclosed"),
    (ask(epsilon="1.000001"), {}, {}, DeclineCode.EPSILON_TOO_LARGE, "disclosed"),
    (ask(error_watt_hours=1), {}, {}, DeclineCode.ERROR_TOO_SMALL, "disclosed"),
    (ask("load-curve", until=4, step_rounds=1, error_watt_hours=1), {}, {}, DeclineCode.ERROR_TOO_SMALL, "disclosed"),
    (ask(), {}, {"cap": BudgetCap(1, DELTA)}, DeclineCode.BUDGET, "charge"),
]


@pytest.mark.parametrize(("question", "named", "changed", "code", "last"), NOT_CHARGED, ids=lambda each: str(each)[:30])
def test_nothing_is_charged_for_a_refusal_and_no_later_check_is_asked(question, named, changed, code, last):
    kept = records(**named)
    refused = put(question, kept, dataclasses.replace(POLICY, **changed))
    assert isinstance(refused, Declined)
    assert refused.code is code
    assert refused.sentence.endswith(".")
    assert kept.asked[-2:] == [last, "audited"]
    assert not kept.ledger.entries
    assert not kept.disclosed()
    assert kept.log == [("party-1", question, refused)]


def test_every_code_is_some_refusals():
    """And differencing's two, below."""
    seen = {code for *_, code, _ in NOT_CHARGED}
    assert set(DeclineCode) - seen == {
        DeclineCode.COVER_NOT_FOUND, DeclineCode.DIFFERENCING, DeclineCode.DIFFERENCING_NOT_SHOWN,
    }  # fmt: skip


def test_overlapping_cohorts_one_answered_one_refused_and_the_refused_pays_nothing():
    kept = records()
    assert isinstance(put(ask(), kept), GatewayAnswer)
    refused = put(ask(cohort=HOMES[:-1]), kept)
    assert isinstance(refused, Declined)
    assert (refused.code, len(kept.ledger.entries)) == (DeclineCode.DIFFERENCING, 1)
    assert "no more homes than 1; 3 are" in refused.sentence
    # Other rounds have nothing to do with it; the same homes a round later are told of.
    assert isinstance(put(ask(cohort=HOMES[:-1], first=1, until=2), kept), GatewayAnswer)


def test_a_search_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(order, "small_group", lambda *_: SmallGroup((), 3, proven=False))
    refused = put(ask(), records())
    assert isinstance(refused, Declined)
    assert refused.code is DeclineCode.DIFFERENCING_NOT_SHOWN


def test_the_same_question_gets_the_same_answer_free_whoever_asks():
    kept = records()
    first = put(ask(), kept)
    again = reply("party-2", ask(cohort=list(reversed(HOMES)), epsilon=0.5), kept, POLICY, WatchedSampler(kept.asked))
    assert again is first
    assert len(kept.ledger.entries) == 1
    assert [who for who, *_ in kept.log] == ["party-1", "party-2"]


def test_a_repeated_answer_is_not_given_once_a_home_has_revoked():
    revoked: list[str] = []
    kept = records(
        consent=lambda posed: Declined(DeclineCode.NO_CONSENT, "No.") if set(revoked) & set(posed.homes) else None
    )
    assert isinstance(put(ask(), kept), GatewayAnswer)
    revoked.append("m05")
    for question in (ask(), ask(first=1, until=2)):
        refused = put(question, kept)
        assert isinstance(refused, Declined)
        assert refused.code is DeclineCode.NO_CONSENT
    assert isinstance(put(ask(cohort=HOMES[6:]), kept), GatewayAnswer)


def test_a_failed_computation_is_not_given_back_and_counts_as_told():
    kept = records()
    with pytest.raises(HushgridError, match="the power went"):
        reply("party-1", ask(), kept, POLICY, WatchedSampler(kept.asked, fails=True))
    assert kept.asked[-2:] == ["charge", "draw"]
    assert (len(kept.ledger.entries), len(kept.disclosed()), kept.log) == (1, 1, [])
    assert isinstance(put(ask(cohort=HOMES[:-1]), kept), Declined)
    assert isinstance(put(ask(), kept), GatewayAnswer)
    assert [entry.attempt for entry in kept.ledger.entries] == [0, 1]


def test_who_was_judged_before_others_were_charged_is_judged_anew():
    kept = records()
    early = decide("party-1", ask(cohort=HOMES[:-1]), kept, POLICY)
    assert isinstance(early, AllowedQuestion)
    put(ask(), kept)
    with pytest.raises(DecidedTooEarlyError):
        kept.charge(early, POLICY.cap)
    assert len(kept.ledger.entries) == 1


def test_a_question_that_is_overtaken_at_its_charge_is_refused_for_differencing():
    kept = records()
    charge, others = kept.charge, [ask()]

    def overtaken(allowed, cap):
        if others:
            put(others.pop(), kept)
        return charge(allowed, cap)

    kept.charge = overtaken  # type: ignore[method-assign]
    refused = put(ask(cohort=HOMES[:-1]), kept)
    assert isinstance(refused, Declined)
    assert (refused.code, len(kept.ledger.entries)) == (DeclineCode.DIFFERENCING, 1)


def test_who_is_always_overtaken_gets_no_answer(monkeypatch):
    monkeypatch.setattr(answering, "MOST_JUDGEMENTS", 3)
    kept = records()

    def never(*_):
        raise DecidedTooEarlyError("others")

    kept.charge = never  # type: ignore[method-assign]
    with pytest.raises(DecidedTooEarlyError, match="3 times"):
        put(ask(), kept)


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(1, 3), st.sampled_from(["sum", "mean", "count"])),
        max_size=12,
    )
)
def test_whatever_is_asked_no_combination_of_answers_is_about_too_few(asked):
    cohorts = [HOMES, HOMES[:6], HOMES[6:], HOMES[:-1], HOMES[:3]]
    kept = records()
    answered = []
    for cohort, first, rounds, kind in asked:
        question = ask(kind, cohorts[cohort], first, first + rounds, **({} if kind == "count" else {"epsilon": "0.01"}))
        before = len(kept.ledger.entries)
        outcome = put(question, kept)
        if isinstance(outcome, GatewayAnswer):
            answered.append((cohorts[cohort], range(first, first + rounds)))
        else:
            assert len(kept.ledger.entries) == before
            assert outcome.code is DeclineCode.DIFFERENCING
    matrix = [
        [int(home in cohort and at in rounds) for home in HOMES for at in range(6)] for cohort, rounds in answered
    ]
    holders = [at for at in range(len(HOMES)) for _ in range(6)]
    assert singled_out(matrix, holders, [None] * len(matrix), len(HOMES), POLICY.minimum_homes) is None
