"""The data plane's bytes: round trips, and arbitrary bytes that raise nothing but MessageError."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushgrid.conducted.statements import Clock
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.field import MODULI, Field
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.sealing import Agreement, Identity, open_box
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.head import Head
from hushgrid.plan.parts import part_from_json
from hushgrid.statements.plans import PublishedHead
from hushgrid.statements.statement import Kinds, Statement
from hushgrid.wire.aggregates import AggregateFrame, AggregateReceipt, AggregateStatus, AggregateText
from hushgrid.wire.frames import frame_kind
from hushgrid.wire.shares import Closing, Envelope, Receipt, RepairRequest, ShareText, sealed_share_bytes
from hushgrid.wire.topics import parse

FIELD = Field(MODULI[0])
SIGNER = Identity.from_bytes(bytes(range(32)))
OTHER = Identity.from_bytes(bytes(range(1, 33)))

envelopes = st.integers(1, 40).flatmap(
    lambda size: st.builds(
        Envelope,
        plan_version=st.integers(0, 2**32 - 1),
        round=st.integers(0, 2**64 - 1),
        point=st.integers(1, 2**16 - 1),
        sequence=st.integers(0, 2**32 - 1),
        size=st.just(size),
        attempt=st.integers(0, 255),
        shares=st.dictionaries(
            st.integers(0, size - 1),
            st.tuples(st.integers(0, 2**32 - 1), st.binary(min_size=32, max_size=32)),
            min_size=1,
        ),
    )
)


@given(envelopes)
def test_an_envelope_comes_back_as_it_was(envelope):
    assert Envelope.from_bytes(envelope.to_bytes()) == envelope


@given(st.integers(0, 50), st.data())
def test_receipts_come_back_and_are_the_signers_alone(size, data):
    held = Bitmap(size, data.draw(st.integers(0, 2**size - 1)))
    refused = Bitmap(size, data.draw(st.integers(0, 2**size - 1)) & ~held.bits)
    reason = data.draw(st.none() | st.sampled_from(RejectReason))
    receipt = Receipt(7, 3, 1, held, refused, reason)
    wire = receipt.to_bytes(SIGNER, "meter")
    assert Receipt.from_bytes(wire, SIGNER.public, "meter") == receipt
    for signer, recipient in ((OTHER.public, "meter"), (SIGNER.public, "another")):
        with pytest.raises(MessageError) as refusal:
            Receipt.from_bytes(wire, signer, recipient)
        assert refusal.value.reason is RejectReason.BAD_SIGNATURE


def test_closings_and_aggregate_receipts_come_back():
    closing, receipt = Closing(12, 3), AggregateReceipt(2, 10, 4)
    assert Closing.from_bytes(closing.to_bytes(SIGNER, "a"), SIGNER.public, "a") == closing
    assert AggregateReceipt.from_bytes(receipt.to_bytes(SIGNER, "a"), SIGNER.public, "a") == receipt
    with pytest.raises(MessageError):
        AggregateReceipt.from_bytes(closing.to_bytes(SIGNER, "a"), SIGNER.public, "a")


@given(st.binary(min_size=8, max_size=8), st.lists(st.integers(0, FIELD.modulus - 1), min_size=1, max_size=5))
def test_a_gap_has_the_length_of_a_reading(sharing_id, elements):
    slots = len(elements)
    reading, gap = ShareText(sharing_id, tuple(elements)), ShareText(sharing_id, None)
    assert (
        len(reading.to_bytes(slots, FIELD)) == len(gap.to_bytes(slots, FIELD)) == sealed_share_bytes(slots, FIELD) - 16
    )
    for text in (reading, gap):
        back = ShareText.from_bytes(text.to_bytes(slots, FIELD), slots, FIELD)
        assert (back.sharing_id, back.elements) == (text.sharing_id, text.elements)


def test_an_element_that_is_not_below_q_is_refused():
    wire = b"\x00" + bytes(8) + FIELD.modulus.to_bytes(FIELD.element_bytes, "big")
    with pytest.raises(MessageError) as refusal:
        ShareText.from_bytes(wire, 1, FIELD)
    assert refusal.value.reason is RejectReason.OUT_OF_RANGE


@given(
    st.sampled_from(AggregateStatus),
    st.sampled_from(WithheldReason),
    st.lists(st.integers(0, 2**32 - 1), min_size=6, max_size=6),
)
def test_aggregate_texts_come_back(status, reason, counts):
    expected, included, gaps, lost, inconsistent, meters = counts
    text = AggregateText(
        status, reason, 4, expected, included, gaps, lost, inconsistent, meters, included, bytes(32), (5,)
    )
    back = AggregateText.from_bytes(text.to_bytes(FIELD), 1, FIELD)
    assert all(getattr(back, name) == getattr(text, name) for name in AggregateText.__slots__)


READERS = [
    frame_kind,
    Envelope.from_bytes,
    lambda wire: Receipt.from_bytes(wire, SIGNER.public, "a"),
    lambda wire: Closing.from_bytes(wire, SIGNER.public, "a"),
    lambda wire: RepairRequest.from_bytes(wire, SIGNER.public, "a"),
    AggregateFrame.from_bytes,
    lambda wire: AggregateReceipt.from_bytes(wire, SIGNER.public, "a"),
    lambda wire: ShareText.from_bytes(wire, 1, FIELD),
    lambda wire: AggregateText.from_bytes(wire, 1, FIELD),
    lambda wire: Statement.from_bytes(wire, Kinds(Clock, PublishedHead)),
    Head.from_json,
    part_from_json,
    lambda wire: open_box(Agreement.from_bytes(bytes(range(32))), wire, b""),
    lambda wire: parse(wire.decode("latin-1")),
]


@pytest.mark.parametrize("reader", READERS)
@given(wire=st.binary(max_size=300) | st.binary(max_size=60).map(lambda tail: b"\x01\x01" + tail))
def test_arbitrary_bytes_raise_nothing_but_a_message_error(reader, wire):
    with contextlib.suppress(MessageError):
        reader(wire)


@given(envelopes, st.data())
def test_cut_or_longer_envelopes_are_refused(envelope, data):
    wire = envelope.to_bytes()
    cut = data.draw(st.integers(0, len(wire) - 1))
    for bad in (wire[:cut], wire + b"\x00"):
        with pytest.raises(MessageError):
            Envelope.from_bytes(bad)


def test_another_version_and_an_unknown_kind_are_named():
    for wire, reason in ((b"\x02\x01", RejectReason.WRONG_VERSION), (b"\x01\x99", RejectReason.UNKNOWN_KIND)):
        with pytest.raises(MessageError) as refusal:
            frame_kind(wire)
        assert refusal.value.reason is reason
