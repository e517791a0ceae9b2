"""Who asks, consents, store and audit log, joined: in order, on disk before an answer, and nothing against a household's word."""

from __future__ import annotations

import pytest
from support.gateway import HOMES, ask, exact
from support.gateway.desks import client, close, consent_line, desk_at, logged

from hushgrid.errors import JournalError, MessageError
from hushgrid.statements.consent import ConsentAct
from hushgrid.statements.lines import wire_of
from privacy_gateway.desk.gateway_desk import GivenAnswer, sentence_of
from privacy_gateway.questions.declined import DeclineCode, Declined


@pytest.fixture
def desk(tmp_path):
    opened = desk_at(tmp_path)
    yield opened
    close(opened)


def grant_all(desk):
    for home in HOMES:
        desk.hear(consent_line(home, 1, ConsentAct.GRANT))


def code(outcome) -> str:
    assert isinstance(outcome, Declined)
    return outcome.code.value


def kinds(tmp_path) -> list[object]:
    return [entry["kind"] for entry in logged(tmp_path / "audit.log")]


def test_a_question_is_in_the_log_before_it_is_charged_for_and_its_answer_before_it_leaves(desk, tmp_path):
    given = desk.ask(client(), ask(purpose="operations"))
    assert isinstance(given, GivenAnswer)
    assert given.charged
    assert given.left_micro == 1_500_000
    assert list(given.answer.values) == [exact(HOMES, 0, 1)]
    assert kinds(tmp_path) == ["question", "charge", "answer"]
    question, charge, answer = logged(tmp_path / "audit.log")
    assert (question["asker"], question["homes"], charge["epsilon"], charge["rho"]) == ("lab", 12, "1/2", "0")
    assert question["question"] == charge["question"] == answer["question"] == given.answer.question


def test_the_same_question_is_free_for_everybody_and_its_leaving_is_logged_again(desk, tmp_path):
    first = desk.ask(client(), ask(purpose="operations"))
    second = desk.ask(client("other"), ask(purpose="operations", cohort=list(HOMES)))
    third = desk.again(client("third"), first.answer.question)
    assert first.answer == second.answer == third.answer
    assert (second.charged, third.charged) == (False, False)
    assert kinds(tmp_path) == ["question", "charge", "answer", "question", "answer", "question", "answer"]


def test_without_consent_of_all_there_is_no_answer_and_no_charge(desk, tmp_path):
    assert code(desk.ask(client(), ask())) == "no-consent"
    for home in HOMES[:-1]:
        desk.hear(consent_line(home, 1, ConsentAct.GRANT))
    assert code(desk.ask(client(), ask())) == "no-consent"
    assert desk.store.disclosed() == ()
    assert isinstance(desk.ask(client(), ask(cohort=HOMES[:6])), GivenAnswer)
    assert kinds(tmp_path)[:2] == ["question", "refusal"]


def test_what_is_taken_back_is_in_no_answer_any_more_not_even_in_one_that_was_given(desk):
    grant_all(desk)
    given = desk.ask(client(), ask())
    assert isinstance(given, GivenAnswer)
    desk.hear(consent_line(HOMES[3], 2, ConsentAct.REVOKE))
    assert code(desk.ask(client(), ask())) == "no-consent"
    assert code(desk.again(client(), given.answer.question)) == "no-consent"
    assert code(desk.ask(client(), ask(cohort=HOMES[:6], first=1, until=2))) == "no-consent"
    assert isinstance(desk.ask(client(), ask(cohort=HOMES[6:], first=1, until=2)), GivenAnswer)
    desk.hear(consent_line(HOMES[3], 3, ConsentAct.GRANT))
    assert desk.again(client(), given.answer.question).answer == given.answer


def test_a_consent_that_is_taken_back_while_an_answer_is_computed_keeps_it_back(desk, tmp_path):
    grant_all(desk)

    class Meanwhile:
        name = "meanwhile"

        def draw(self, law, count):
            del law
            desk.consents.hear(wire_of(consent_line(HOMES[0], 2, ConsentAct.REVOKE)))
            return [0] * count

    desk._sampler = Meanwhile()
    assert code(desk.ask(client(), ask())) == "no-consent"
    assert len(desk.store.disclosed()) == 1  # charged, and never given back
    assert kinds(tmp_path)[-3:] == ["question", "charge", "refusal"]


def test_a_small_cohort_is_told_nothing_of_who_consents(desk):
    small = ask(cohort=HOMES[0])
    before = desk.ask(client(), small)
    desk.hear(consent_line(HOMES[0], 1, ConsentAct.GRANT))
    assert desk.ask(client(), small) == before
    assert code(before) == "too-few-homes"


@pytest.mark.parametrize(
    ("scope", "question", "said"),
    [
        ("ledger", {}, "its scope names no purpose"),
        ("Purpose=statistics", {}, "may not ask for operations; its scope has statistics"),
        ("Purpose=operations;Epsilon=0.4", {}, "An epsilon of 0.4 is the most"),
        ("Purpose=operations;IntervalDuration=7200", {}, "cover 7200 s"),
        (
            "Purpose=operations;IntervalDuration=7200",
            {"kind": "load-curve", "until": 4, "step_rounds": 1},
            "cover 7200 s",
        ),
        ("Purpose=operations;HistoryLength=36000", {"first": 13, "until": 20}, "reaches back to round 14"),
    ],
)
def test_a_scope_bounds_what_may_be_asked(desk, scope, question, said):
    outcome = desk.ask(client(scope=scope), ask(purpose="operations", **question))
    assert code(outcome) == "not-admitted"
    assert said in outcome.sentence


def test_a_scope_bounds_what_was_answered_to_others_too(desk):
    question = ask(purpose="operations", error_watt_hours=30_000)
    answered = desk.ask(client(), question)
    assert isinstance(answered, GivenAnswer)
    mean = client("mean", "Purpose=operations;Epsilon=0.01")
    assert code(desk.ask(mean, question)) in {"error-too-small", "differencing"}
    assert code(desk.again(mean, answered.answer.question)) == "not-admitted"
    assert code(desk.ask(client("many", "Purpose=operations;GroupMin=13"), question)) == "too-few-homes"
    assert desk.again(client(), "0" * 64) is None


def test_a_budget_that_is_spent_is_refused_and_nothing_is_charged(desk):
    for at in range(4):
        assert isinstance(desk.ask(client(), ask(purpose="operations", first=at, until=at + 1)), GivenAnswer)
    told = len(desk.store.disclosed())
    assert code(desk.ask(client(), ask(purpose="operations", first=9, until=10))) == "budget"
    assert len(desk.store.disclosed()) == told


def test_after_a_restart_everything_is_as_it_was(tmp_path):
    desk = desk_at(tmp_path)
    grant_all(desk)
    given = desk.ask(client(), ask())
    close(desk)
    again = desk_at(tmp_path)
    assert again.again(client(), given.answer.question).answer == given.answer
    assert code(again.ask(client(), ask(cohort=HOMES[:-1]))) == "differencing"
    close(again)


def test_two_gateways_share_store_and_consents(desk, tmp_path):
    other = desk_at(tmp_path, audit="other.log")
    grant_all(desk)
    given = other.ask(client(), ask())
    assert desk.ask(client(), ask()).answer == given.answer
    desk.hear(consent_line(HOMES[0], 2, ConsentAct.REVOKE))
    assert code(other.ask(client(), ask())) == "no-consent"
    close(other)


def test_where_the_log_cannot_be_written_nothing_leaves(desk, tmp_path):
    (tmp_path / "audit.log").write_bytes(b"somebody else\n")
    with pytest.raises(JournalError, match="somebody else has changed it"):
        desk.ask(client(), ask(purpose="operations"))
    assert desk.store.disclosed() == ()


def test_a_consent_is_believed_in_its_own_hand_only(desk, tmp_path):
    line = consent_line(HOMES[0], 1, ConsentAct.GRANT)
    with pytest.raises(MessageError) as refused:
        desk.hear(line.replace(b"research", b"services"))
    assert sentence_of(refused.value) == "It was not signed by the meter that it names, or was changed."
    assert desk.hear(line)[0] == HOMES[0]
    assert kinds(tmp_path) == ["consent"]
    assert HOMES[0] not in (tmp_path / "audit.log").read_text()


def test_an_unknown_cohort_is_logged_without_homes(desk, tmp_path):
    assert code(desk.ask(client(), ask(cohort="m77", purpose="operations"))) == DeclineCode.UNKNOWN_COHORT.value
    assert [entry.get("homes") for entry in logged(tmp_path / "audit.log")] == [0, None]
