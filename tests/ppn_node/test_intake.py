"""Shares between their arrival and the disk, by hand: what is taken in, and what a sender hears."""

from __future__ import annotations

import pytest

from hushgrid.errors import RejectReason
from hushgrid.wire.shares import Envelope
from ppn_node.intake import Admission, Intake, ReceiptDraft, beside
from ppn_node.shares.values import HeldShare, OpenedShare, StoredShare

ONE, OTHER = b"1" * 8, b"2" * 8
SENDER = "fleet"


def envelope(*numbers: int, sequence: int = 0) -> Envelope:
    return Envelope(1, 10, 1, sequence, len(numbers), 0, {at: (n, b"sealed") for at, n in enumerate(numbers)})


def opened(*sharing_ids: bytes) -> dict[int, OpenedShare]:
    return {at: OpenedShare(sharing_id, gap=False) for at, sharing_id in enumerate(sharing_ids)}


def intake(answer: Admission = Admission.TAKEN) -> Intake:
    return Intake(lambda _share: answer)


def said(answers: list[ReceiptDraft]) -> list[tuple[set[int], set[int], RejectReason | None]]:
    return [(answer.held, answer.refused, answer.reason) for answer in answers]


def test_what_is_taken_in_goes_to_disk_and_is_answered_once():
    shares = intake()
    taken = shares.take(envelope(7, 8), SENDER, 3, opened(ONE, OTHER))
    assert [each.admission for each in taken] == [Admission.TAKEN, Admission.TAKEN]
    batch, answers = shares.flush()
    assert batch == [StoredShare(10, 7, ONE, False, 3, b"sealed"), StoredShare(10, 8, OTHER, False, 3, b"sealed")]
    assert said(answers) == [({0, 1}, set(), None)]
    assert shares.flush() == ([], [])


def test_a_share_that_comes_twice_before_the_commit_is_on_disk_once_and_answered_twice():
    shares = intake()
    shares.take(envelope(7), SENDER, 1, opened(ONE))
    (again,) = shares.take(envelope(7, sequence=1), SENDER, 1, opened(ONE))
    assert again.admission is Admission.WAITING
    batch, answers = shares.flush()
    assert len(batch) == 1
    assert said(answers) == [({0}, set(), None)] * 2


def test_another_sharing_of_what_waits_for_the_commit_is_refused():
    shares = intake()
    shares.take(envelope(7), SENDER, 1, opened(ONE))
    (other,) = shares.take(envelope(7, sequence=1), SENDER, 1, opened(OTHER))
    assert (other.admission, other.refused) == (Admission.CONFLICTING, RejectReason.CONFLICTING)
    batch, answers = shares.flush()
    assert [share.sharing_id for share in batch] == [ONE]
    assert said(answers) == [({0}, set(), None), (set(), {0}, RejectReason.CONFLICTING)]


@pytest.mark.parametrize(
    ("admission", "held", "refused", "reason"),
    [
        (Admission.KNOWN, {0}, set(), None),
        (Admission.CONFLICTING, set(), {0}, RejectReason.CONFLICTING),
        (Admission.CLOSED, set(), {0}, RejectReason.CLOSED_ROUND),
    ],
)
def test_what_is_not_for_the_disk_is_answered_all_the_same(admission, held, refused, reason):
    shares = intake(admission)
    shares.take(envelope(7), SENDER, 1, opened(ONE))
    batch, answers = shares.flush()
    assert not batch
    assert said(answers) == [(held, refused, reason)]


def test_a_share_whose_fate_is_open_gets_no_answer():
    shares = intake(Admission.NOT_YET)
    (taken,) = shares.take(envelope(7), SENDER, 1, opened(ONE))
    assert (taken.admission, taken.refused) == (Admission.NOT_YET, None)
    assert shares.flush() == ([], [])


@pytest.mark.parametrize("reason", RejectReason)
def test_only_refusals_that_nobody_on_the_way_can_cause_are_told(reason):
    told = reason in {RejectReason.CLOSED_ROUND, RejectReason.FORGOTTEN_ROUND, RejectReason.CONFLICTING}
    shares = intake()
    (taken,) = shares.take(envelope(7), SENDER, 1, {0: OpenedShare(bytes(8), gap=False, refused=reason)})
    assert (taken.admission, taken.refused) == (None, reason)
    assert shares.refuse(envelope(8, 9), SENDER, reason) is told
    expected = [(set(), {0}, reason), (set(), {0, 1}, reason)]
    assert said(shares.flush()[1]) == (expected if told else [])


def test_shares_that_a_worker_lost_are_in_no_receipt():
    shares = intake()
    assert shares.take(envelope(7, 8), SENDER, 1, {}) == []
    assert shares.flush() == ([], [])


def test_a_receipt_names_the_envelope_it_answers():
    shares = intake()
    shares.take(envelope(7, 8, sequence=5), SENDER, 1, {1: OpenedShare(ONE, gap=True)})
    ((share,), (answer,)) = shares.flush()
    assert share.gap
    receipt = answer.receipt
    assert (receipt.round, receipt.point, receipt.sequence) == (10, 1, 5)
    assert (list(receipt.held), list(receipt.refused), receipt.reason) == ([1], [], None)


def test_a_share_is_known_by_its_sharing_id():
    share = StoredShare(10, 7, ONE, False, 1, b"")
    assert beside(share, None) is None
    assert beside(share, HeldShare(ONE, gap=False)) is Admission.KNOWN
    assert beside(share, HeldShare(OTHER, gap=False)) is Admission.CONFLICTING


@pytest.mark.parametrize(
    ("admission", "told"),
    [(Admission.NOT_YET, []), (Admission.CLOSED, [(set(), {0}, RejectReason.CLOSED_ROUND)])],
)
def test_a_share_whose_round_was_frozen_before_it_was_on_disk_is_not_taken(admission, told):
    """The roster has left without it: a share that is kept and receipted then would be in no sum."""
    answer = [Admission.TAKEN]
    shares = Intake(lambda _share: answer[0])
    shares.take(envelope(7), SENDER, 1, opened(ONE))
    answer[0] = admission
    batch, answers = shares.flush()
    assert not batch
    assert said(answers) == told
