"""What a consumer wants, said while it runs, kept over restarts, answered once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from consumer_node.config import WishSection
from consumer_node.wishes import Wishes
from hushgrid.errors import ConfigurationError
from hushgrid.statements.rules import RequestRule, RuleAnswer, RuleState, WithdrawRule


def section(name="load", cohort="all", window=1):
    return WishSection.of(name=name, cohort=cohort, window_rounds=window)


def answer(name="load", state=RuleState.GRANTED, **more):
    return RuleAnswer(name=name, state=state, **more)


def test_a_wish_is_said_until_it_is_answered_and_remembered_after_a_restart(tmp_path):
    wishes = Wishes(tmp_path)
    wishes.configure([section(cohort="m1..m5,m7")])
    (wish,) = wishes.all()
    assert wish.state is None
    assert wish.statement == RequestRule(name="load", cohort=("m1..m5", "m7"), window_rounds=1)
    assert wish.describe() == "load: request not answered yet"
    assert wishes.answered(answer(number=3))
    assert not wishes.answered(answer(number=3))
    wishes.close()
    wishes = Wishes(tmp_path)
    wishes.configure([section(cohort="m1..m5,m7")])
    assert wishes.find("load").describe() == "load: granted as number 3"


def test_a_refusal_keeps_its_reason_and_the_name_may_be_asked_for_again(tmp_path):
    wishes = Wishes(tmp_path)
    wishes.ask(section())
    wishes.answered(answer(state=RuleState.REFUSED, reason="too few", because_of=("a/total",)))
    assert wishes.find("load").describe() == "load: refused: too few [because of a/total]"
    wishes.ask(section(window=2))
    assert wishes.find("load").state is None
    assert wishes.find("load").statement.window_rounds == 2


def test_a_standing_rule_is_not_replaced_and_the_same_wish_changes_nothing(tmp_path):
    wishes = Wishes(tmp_path)
    wishes.ask(section())
    wishes.answered(answer(number=1))
    wishes.ask(section())
    assert wishes.find("load").state is RuleState.GRANTED
    with pytest.raises(ConfigurationError, match="withdraw it first"):
        wishes.ask(section(window=2))


def test_a_withdrawal_is_said_until_it_is_answered_and_outlives_the_configuration(tmp_path):
    wishes = Wishes(tmp_path)
    wishes.configure([section()])
    wishes.answered(answer(number=1))
    wishes.withdraw("load")
    assert wishes.find("load").statement == WithdrawRule(name="load")
    assert not wishes.answered(answer(number=1)), "an answer to the request that was given up"
    assert wishes.answered(answer(state=RuleState.WITHDRAWN))
    wishes.configure([section()])
    assert wishes.find("load").state is RuleState.WITHDRAWN
    wishes.configure([section(window=4)])
    assert wishes.find("load").statement.window_rounds == 4
    with pytest.raises(ConfigurationError, match="no rule other"):
        wishes.withdraw("other")


def test_a_pending_answer_and_one_about_nothing_change_nothing(tmp_path):
    wishes = Wishes(tmp_path)
    wishes.ask(section())
    wishes.answered(answer(number=1))
    assert not wishes.answered(answer(state=RuleState.PENDING))
    assert not wishes.answered(answer(name="other"))
    assert wishes.find("load").describe() == "load: granted as number 1"


def test_a_pending_answer_is_shown_and_the_wish_said_until_there_is_a_last_word(tmp_path):
    wishes = Wishes(tmp_path)
    wishes.ask(section())
    pending = answer(state=RuleState.PENDING, reason="meters (m7) are expected")
    assert wishes.answered(pending)
    assert not wishes.answered(pending), "nothing new"
    assert wishes.find("load").describe() == "load: not yet, because meters (m7) are expected"
    assert wishes.find("load").open
    assert wishes.answered(answer(number=3))
    assert not wishes.find("load").open
    assert not wishes.answered(pending), "it came late"
    assert wishes.find("load").describe() == "load: granted as number 3"


def test_what_was_refused_may_be_granted_later_and_what_is_granted_stays(tmp_path):
    wishes = Wishes(tmp_path)
    wishes.ask(section())
    refused = answer(state=RuleState.REFUSED, reason="unknown meter m7")
    assert wishes.answered(refused)
    assert not wishes.answered(refused), "nothing new"
    assert not wishes.answered(answer(state=RuleState.PENDING, reason="it came late"))
    assert wishes.answered(answer(state=RuleState.REFUSED, reason="too few"))
    assert wishes.find("load").describe() == "load: refused: too few"
    assert wishes.answered(answer(number=4))
    assert not wishes.answered(refused)
    assert wishes.find("load").describe() == "load: granted as number 4"


def test_a_pending_wish_that_is_given_up_waits_for_the_word_about_that(tmp_path):
    wishes = Wishes(tmp_path)
    wishes.ask(section())
    wishes.answered(answer(state=RuleState.PENDING, reason="meters (m7) are expected"))
    wishes.withdraw("load")
    assert not wishes.answered(answer(state=RuleState.PENDING, reason="it came late"))
    assert wishes.find("load").describe() == "load: withdrawal not answered yet"
    assert wishes.answered(answer(state=RuleState.WITHDRAWN))


def test_the_command_asks_lists_and_withdraws_beside_the_running_consumer(tmp_path):
    config = tmp_path / "consumer.toml"
    config.write_text(
        f'[agent]\nid = "utility"\ngrid = "g"\nstate_directory = "{tmp_path}"\n[broker]\nurl = "mqtt://localhost:1"\n'
        f'[configurator]\nidentity = "{"00" * 32}"\n[consumer]\n'
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "consumer_node", arguments[0], "--config", str(config), *arguments[1:]]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    wishes = Wishes(tmp_path)  # the running consumer has it open
    assert run("request", "--name", "load", "--cohort", "m1..m5,m9", "--window", "2").returncode == 0
    assert wishes.find("load").section == section(cohort="m1..m5,m9", window=2)
    assert run("rules").stdout == "load: request not answered yet\n"
    assert run("withdraw", "--name", "load").returncode == 0
    assert wishes.find("load").withdrawn
    for bad, said in (
        (("withdraw", "--name", "x"), "no rule x"),
        (("request", "--name", "a b"), "name"),
        (("request", "--name", "a", "--window", "-1"), "window_rounds"),
    ):
        done = run(*bad)
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
