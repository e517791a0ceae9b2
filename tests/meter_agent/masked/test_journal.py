"""What a meter remembers of its masked readings, across restarts."""

from __future__ import annotations

import pytest

from hushgrid.shell.database import Database
from meter_agent.masked.disclosure import Opening
from meter_agent.masked.journal import MIGRATIONS, MaskingJournal
from meter_agent.masked.values import PairPeriod, Stated

PLACE = PairPeriod("m1", 3, b"graph", 96)


def stated(round_number: int, number: int = 7) -> Stated:
    return Stated(3, round_number, number, "m1", 1, b"sealed %d" % round_number)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "masking.sqlite"


def test_a_round_is_stated_once_and_kept_as_the_same_bytes_until_its_receipt(path):
    journal = MaskingJournal(path)
    journal.state(100, [stated(100)])
    with pytest.raises(ValueError, match="stated already"):
        journal.state(100, [stated(100)])
    journal.close()
    journal = MaskingJournal(path)
    assert [one.sealed for one in journal.outstanding()] == [b"sealed 100"]
    assert journal.stated_through("m1", 3) == 100
    assert journal.receipted([(3, 100, 7), (3, 100, 8)]) == [(3, 100, 7)]
    journal.close()
    assert MaskingJournal(path).outstanding() == []


def test_what_was_left_out_is_owed_once_and_survives(path):
    journal = MaskingJournal(path)
    put, carry = journal.carry("m1", 3, 1000).prepare(100, 400)
    journal.state(100, [stated(100)], [("m1", 3, carry, put - 400)])
    journal.exclude("m1", 3, 100, 1000)
    journal.exclude("m1", 3, 100, 1000)
    journal.exclude("m1", 3, 101, 1000)  # never masked: nothing is owed
    journal.close()
    journal = MaskingJournal(path)
    put, carry = journal.carry("m1", 3, 1000).prepare(101, 300)
    assert put == 700
    journal.state(101, [stated(101)], [("m1", 3, carry, put - 300)])
    assert journal.carry("m1", 3, 1000).pending_watt_hours == 0
    journal.close()


def test_what_is_owed_of_a_round_without_receipt_outlives_its_period(path):
    journal = MaskingJournal(path)
    _, carry = journal.carry("m1", 3, 1000).prepare(100, 400)
    journal.state(100, [stated(100)], [("m1", 3, carry, 0)])
    journal.forget_before(200)
    journal.exclude("m1", 3, 100, 1000)
    assert journal.carry("m1", 3, 1000).pending_watt_hours == 400
    journal.close()


def test_an_answer_is_given_once_and_binds_what_it_opened(path):
    journal = MaskingJournal(path)
    journal.commit_answer("m1", 3, 100, [(8, Opening.SELF), (9, Opening.PAIRS)], b"sealed")
    journal.close()
    journal = MaskingJournal(path)
    assert journal.answer("m1", 3, 100) == b"sealed"
    assert journal.answer("m1", 3, 101) is None
    assert dict(journal.openings("m1", 3, 8, 100).answered) == {("8", 100): Opening.SELF}
    journal.close()


def test_rounds_that_are_done_with_stay_closed_after_a_restart(path):
    journal = MaskingJournal(path)
    journal.forget_before(144)
    journal.forget_before(96)
    journal.close()
    assert MaskingJournal(path).floor == 144


def test_what_neighbours_say_first_stands(path):
    journal = MaskingJournal(path)
    journal.say(PLACE, {8: b"mine"})
    journal.say(PLACE, {8: b"another"})
    journal.hear([(PLACE, 8, b"theirs")])
    journal.hear([(PLACE, 8, b"changed")])
    journal.answered([(PLACE, 8)])
    journal.close()
    (texts,) = MaskingJournal(path).setups(PLACE).values()
    assert (texts.said, texts.heard, texts.answered) == (b"mine", b"theirs", True)


def test_secrets_and_isolated_noise_are_drawn_once(path):
    journal = MaskingJournal(path)
    assert journal.self_secret("m1", 3, b"g", b"first") == b"first"
    assert journal.self_secret("m1", 3, b"g", b"second") == b"first"
    assert journal.drawn(PLACE, [5, -7]) == (5, -7)
    assert journal.drawn(PLACE, [1, 1]) == (5, -7)
    journal.close()


def test_a_journal_of_before_goes_on_where_it_was(tmp_path):
    old = Database(tmp_path / "masking.sqlite", MIGRATIONS[:1], secrets=True)
    old.execute("INSERT INTO tally VALUES (1, 40, 3)")
    old.close()
    journal = MaskingJournal(tmp_path / "masking.sqlite")
    journal.state(100, [stated(100)])
    assert journal.readings_stated() == 41
