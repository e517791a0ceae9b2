"""A question: strict, and the same question whatever its spelling."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushgrid.errors import MessageError
from privacy_gateway.questions.declined import DeclineCode, Declined
from privacy_gateway.questions.posed import PosedQuestion, pose
from privacy_gateway.questions.question import GatewayQuestion, StatisticKind
from privacy_gateway.questions.recovered import RecoveredSum, RoundSpan

KNOWN = [f"m{at:04d}" for at in range(1, 31)]
PLAIN = {"kind": "sum", "cohort": "all", "first_round": 0, "until_round": 48, "purpose": "research", "epsilon": "0.5"}


def read(**changed: object) -> GatewayQuestion:
    """The plain question with some fields changed; None leaves one out."""
    fields = {name: value for name, value in {**PLAIN, **changed}.items() if value is not None}
    return GatewayQuestion.from_json(json.dumps(fields).encode())


def posed(**changed: object) -> PosedQuestion:
    found = pose(read(**changed), KNOWN)
    assert isinstance(found, PosedQuestion)
    return found


SPELLINGS = [
    {"cohort": ["m0001..m0030"]},
    {"cohort": list(reversed(KNOWN))},
    {"cohort": ["m0020..m0030", "m0001..m0019", "m0007"]},
    {"epsilon": 0.5},
    {"epsilon": "0.500000"},
    {"epsilon": "5e-1"},
]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_the_same_question_is_recognised_whatever_its_spelling(spelling):
    assert posed(**spelling).canonical == posed().canonical
    assert posed(**spelling).digest == posed().digest


def test_the_order_of_fields_means_nothing():
    backwards = dict(reversed(PLAIN.items()))
    assert pose(GatewayQuestion.from_json(json.dumps(backwards).encode()), KNOWN).digest == posed().digest


OTHERS = [
    {"kind": "mean"},
    {"cohort": "m0001..m0029"},
    {"first_round": 1},
    {"until_round": 47},
    {"purpose": "operations"},
    {"epsilon": "0.500001"},
    {"epsilon": None, "error_watt_hours": "0.5"},
    {"epsilon": None, "error_percent": "0.5"},
    {"kind": "load-curve", "step_rounds": 48},
    {"kind": "load-curve", "step_rounds": 24},
    {"kind": "count", "epsilon": None},
]


def test_other_questions_are_told_apart():
    digests = [posed(**other).digest for other in [{}, *OTHERS]]
    assert len(set(digests)) == len(digests)


def test_the_canonical_bytes_are_pinned():
    """Digests are kept for ever: another form of the same question would be charged again."""
    small = pose(read(cohort=["m0002", "m0001"]), KNOWN)
    assert small.canonical == (
        b'{"epsilon":"0.5","first_round":0,"form":"hushgrid question 1","homes":["m0001","m0002"],"kind":"sum",'
        b'"purpose":"research","until_round":48}'
    )


REFUSED = [
    {"kind": "median"},
    {"kind": None},
    {"cohort": []},
    {"cohort": 7},
    {"first_round": "0"},
    {"first_round": True},
    {"first_round": 0.0},
    {"first_round": -1},
    {"until_round": 0},
    {"until_round": 2_000_000},
    {"purpose": ""},
    {"purpose": "a purpose"},
    {"purpose": "planning"},
    {"purpose": "Research"},
    {"epsilon": 0},
    {"epsilon": "0.0000001"},
    {"epsilon": "-1"},
    {"epsilon": "NaN"},
    {"epsilon": "Infinity"},
    {"epsilon": "1_0"},
    {"epsilon": " 1"},
    {"epsilon": True},
    {"epsilon": "1" * 40},
    {"epsilon": "half"},
    {"epsilon": [1]},
    {"epsilon": None},
    {"error_percent": "5"},
    {"kind": "count"},
    {"step_rounds": 24},
    {"kind": "load-curve"},
    {"kind": "load-curve", "step_rounds": 7},
    {"kind": "load-curve", "step_rounds": 1, "until_round": 50_000},
    {"kind": "histogram", "bin_edges_watt_hours": [1, 1]},
    {"kind": "histogram"},
    {"kind": "quantile", "quantile_percent": 100},
    {"kind": "quantile", "quantile_percent": 50, "epsilon": None, "error_watt_hours": 5},
    {"kind": "share-above"},
    {"threshold_watt_hours": 5},
    {"delta": "0.1"},
]


@pytest.mark.parametrize("changed", REFUSED, ids=str)
def test_what_is_no_question_is_refused_and_no_number_is_guessed(changed):
    with pytest.raises(MessageError, match="GatewayQuestion"):
        read(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "histogram", "bin_edges_watt_hours": [100, 200]},
        {"kind": "quantile", "quantile_percent": "99.5"},
        {"kind": "share-above", "threshold_watt_hours": 500},
    ],
    ids=str,
)
def test_questions_that_only_homes_could_answer_are_questions(changed):
    assert posed(**changed).question.kind in StatisticKind


def test_an_unknown_home_is_a_refusal_with_a_code():
    for cohort in ("m9999", ["m0001", "x"], "m0002..m0001"):
        found = pose(read(cohort=cohort), KNOWN)
        assert isinstance(found, Declined)
        assert found.code is DeclineCode.UNKNOWN_COHORT
    assert "x" in pose(read(cohort=["x"]), KNOWN).sentence


@given(st.integers(1, 12), st.integers(1, 8))
def test_the_steps_of_a_load_curve_are_its_rounds(steps, step):
    curve = posed(kind="load-curve", first_round=5, until_round=5 + steps * step, step_rounds=step)
    assert len(curve.rows) == steps
    assert (curve.rows[0].first, curve.rows[-1].until) == (5, curve.span.until)
    assert all(row.rounds == step for row in curve.rows)
    assert all(one.until == other.first for one, other in zip(curve.rows, curve.rows[1:], strict=False))


def test_a_recovered_sum_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="cannot be"):
        RecoveredSum(1, frozenset("ab"), RoundSpan(0, 2), 5, included=5, contributors=2)
    with pytest.raises(ValueError, match="cannot be"):
        RecoveredSum(1, frozenset("ab"), RoundSpan(0, 2), 5, included=2, contributors=3)
    with pytest.raises(ValueError, match="no round"):
        RoundSpan(2, 2)
