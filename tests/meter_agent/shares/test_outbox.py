"""What is not acknowledged stays, as the same bytes, across restarts; what is stated is stated once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushgrid.core.bitmap import Bitmap
from hushgrid.shell.database import Database
from hushgrid.wire.shares import Closing, Envelope, Receipt
from meter_agent.shares.outbox import MIGRATIONS, Outbox


def envelope(sequence: int = 0, point: int = 1, round_number: int = 5, size: int = 4) -> Envelope:
    return Envelope(1, round_number, point, sequence, size, 0, {at: (at, bytes([at]) * 33) for at in range(size)})


def receipt(held=(), refused=(), sequence: int = 0, size: int = 4) -> Receipt:
    return Receipt(5, 1, sequence, Bitmap.of(size, held), Bitmap.of(size, refused))


def test_the_same_bytes_come_back_after_a_restart(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite")
    box.state(5, ["m"], [envelope(), envelope(1, point=2)])
    box.acknowledge(receipt(held=[0, 2]))
    box.close()
    again = Outbox(tmp_path / "outbox.sqlite")
    first, second = again.outstanding()
    (still,) = first.still_open()
    assert set(still.shares) == {1, 3}
    assert still.shares[1] == (1, b"\x01" * 33)
    assert second.still_open() == [envelope(1, point=2)]
    assert again.stated_through("m") == 5
    assert again.shares_stated() == 8
    assert again.next_sequence(5) == 2


def test_an_outbox_of_before_goes_on_where_it_was(tmp_path):
    old = Database(tmp_path / "outbox.sqlite", MIGRATIONS[:2])
    old.execute("INSERT INTO tally VALUES (5, 8, 1, 2)")
    old.close()
    box = Outbox(tmp_path / "outbox.sqlite")
    assert (box.shares_stated(), box.next_sequence(5)) == (8, 2)


def test_a_round_is_stated_once(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite")
    box.state(5, ["m"], [envelope()])
    for round_number in (5, 4):
        with pytest.raises(ValueError, match="stated already"):
            box.state(round_number, ["m"], [envelope(9)])
    assert len(box.outstanding()) == 1


def test_round_0_is_a_round_like_any_other(tmp_path):
    """Of a meter that has stated round 0, `stated_through(...) or -1` said "never": the round was due, and sealed, again."""
    box = Outbox(tmp_path / "outbox.sqlite")
    assert not box.has_stated("m", 0)
    box.state(0, ["m"], [envelope(round_number=0)])
    assert box.has_stated("m", 0)
    assert not box.has_stated("m", 1)
    assert not box.has_stated("another", 0)
    with pytest.raises(ValueError, match="round 0 of m is stated already"):
        box.state(0, ["m"], [envelope(9, round_number=0)])
    box.close()
    assert Outbox(tmp_path / "outbox.sqlite").has_stated("m", 0)


def test_a_closing_empties_what_one_ppn_has_not_receipted_of_one_round(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite")
    box.state(5, ["m"], [envelope(), envelope(1, point=2)])
    box.state(6, ["m"], [envelope(0, round_number=6)])
    assert box.close_round(Closing(5, 1))
    assert [entry.key for entry in box.outstanding()] == [(5, 2, 1), (6, 1, 0)]
    assert not box.close_round(Closing(5, 1))


def test_receipts_of_another_envelope_change_nothing(tmp_path):
    box = Outbox(tmp_path / "outbox.sqlite")
    box.state(5, ["m"], [envelope()])
    assert not box.acknowledge(receipt(held=[0, 1, 2, 3], sequence=7))
    assert not box.acknowledge(receipt(held=[0, 1, 2], size=3))
    assert len(box.outstanding()) == 1


@given(st.lists(st.tuples(st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3))), max_size=6))
def test_an_envelope_stays_until_every_position_is_answered(tmp_path_factory, answers):
    box = Outbox(tmp_path_factory.mktemp("box") / "outbox.sqlite")
    box.state(5, ["m"], [envelope()])
    answered: set[int] = set()
    for held, refused in answers:
        box.acknowledge(receipt(held, refused - held))
        answered |= held | refused
        left = box.outstanding()
        waiting = {at for entry in left for still in entry.still_open() for at in still.shares}
        assert waiting == {0, 1, 2, 3} - answered
        assert bool(left) == bool(waiting)
    box.close()
