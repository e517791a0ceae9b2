"""The bytes of masked readings: back as they were, or refused."""

from __future__ import annotations

import json

import pytest
from support import ROOT

from hushgrid.core.field import MODULI, Field
from hushgrid.core.sealing import Identity
from hushgrid.errors import MessageError, RejectReason
from hushgrid.wire.masked import (
    MaskedEnvelope,
    MaskedReceipt,
    MaskedText,
    OpeningEnvelope,
    OpeningText,
    OpenRequest,
    PairEntry,
    PairEnvelope,
    RoundClosing,
)
from meter_agent.masked.service import in_batches

FIELD = Field(MODULI[0])
SIGNER, STRANGER = Identity.from_bytes(bytes(range(32))), Identity.generate()
CLOSING = RoundClosing(3, 757_200, b"g" * 32, frozenset({4, 9})).signed(SIGNER, "grid")
FRAMES = {
    "masked": (MaskedEnvelope, MaskedEnvelope(2, 3, 757_200, {7: b"a" * 24, 9: b"b" * 24})),
    "pair": (
        PairEnvelope,
        PairEnvelope(2, 3, 757_200, (PairEntry(1, 2, False, b"text"), PairEntry(2, 1, True, b"answer"))),
    ),
    "open": (OpenRequest, OpenRequest(2, CLOSING, frozenset({1, 2}))),
    "openings": (OpeningEnvelope, OpeningEnvelope(2, 3, 757_200, {1: b"x" * 40, 5: b"y" * 56})),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_comes_back_as_it_was(kind):
    model, frame = FRAMES[kind]
    assert model.from_bytes(frame.to_bytes()) == frame


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_cut_anywhere_or_with_more_behind_it_is_refused(kind):
    model, frame = FRAMES[kind]
    wire = frame.to_bytes()
    for broken in (*(wire[:at] for at in range(len(wire))), wire + b"\0"):
        with pytest.raises(MessageError):
            model.from_bytes(broken)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_of_another_kind_or_version_is_refused(kind):
    model, frame = FRAMES[kind]
    wire = frame.to_bytes()
    for broken, reason in (
        (b"\x02" + wire[1:], RejectReason.WRONG_VERSION),
        (b"\x01\x01" + wire[2:], RejectReason.UNKNOWN_KIND),
    ):
        with pytest.raises(MessageError) as refused:
            model.from_bytes(broken)
        assert refused.value.reason is reason


def test_a_receipt_serves_one_recipient_and_only_its_signer_gives_it():
    receipt = MaskedReceipt(3, 757_200, frozenset({1, 7}), frozenset({2}), RejectReason.CLOSED_ROUND)
    wire = receipt.to_bytes(SIGNER, "meter")
    assert MaskedReceipt.from_bytes(wire, SIGNER.public, "meter") == receipt
    for signer, recipient in ((STRANGER.public, "meter"), (SIGNER.public, "other")):
        with pytest.raises(MessageError) as refused:
            MaskedReceipt.from_bytes(wire, signer, recipient)
        assert refused.value.reason is RejectReason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "changed",
    [
        RoundClosing(4, 757_200, b"g" * 32, frozenset({4, 9}), CLOSING.signature),
        RoundClosing(3, 757_201, b"g" * 32, frozenset({4, 9}), CLOSING.signature),
        RoundClosing(3, 757_200, b"h" * 32, frozenset({4, 9}), CLOSING.signature),
        RoundClosing(3, 757_200, b"g" * 32, frozenset({4}), CLOSING.signature),
    ],
)
def test_a_closing_holds_for_its_stream_round_graph_and_meters_only(changed):
    CLOSING.check(SIGNER.public, "grid")
    for closing, grid in ((changed, "grid"), (CLOSING, "other")):
        with pytest.raises(MessageError, match="bad-signature"):
            closing.check(SIGNER.public, grid)


def test_a_reading_and_no_reading_have_one_length():
    reading, none = MaskedText((5,)), MaskedText((FIELD.modulus - 1,), reading=False)
    wires = [text.to_bytes(FIELD) for text in (reading, none)]
    assert len(wires[0]) == len(wires[1])
    assert [MaskedText.from_bytes(wire, 1, FIELD) for wire in wires] == [reading, none]
    for broken in (wires[0][:-1], b"\x02" + wires[0][1:], b"\x00" + b"\xff" * FIELD.element_bytes):
        with pytest.raises(MessageError):
            MaskedText.from_bytes(broken, 1, FIELD)


def test_an_answer_says_of_every_neighbour_whether_it_is_left_out():
    text = OpeningText(((False, 5), (True, FIELD.modulus - 1)))
    assert OpeningText.from_bytes(text.to_bytes(FIELD), 2, FIELD) == text
    with pytest.raises(MessageError):
        OpeningText.from_bytes(text.to_bytes(FIELD), 3, FIELD)


def test_numbers_travel_in_ascending_batches():
    assert in_batches([5, 1, 3], 2) == [[1, 3], [5]]
    assert in_batches([], 2) == []


VECTORS = json.loads((ROOT / "tests" / "vectors" / "masked.json").read_text())
MODELS = {
    "masked": MaskedEnvelope,
    "pair": PairEnvelope,
    "open": OpenRequest,
    "openings": OpeningEnvelope,
}


def read(kind, wire):
    if kind == "masked-receipt":
        return MaskedReceipt.from_bytes(wire, SIGNER.public, "meter-pseudonym")
    return MODELS[kind].from_bytes(wire)


@pytest.mark.parametrize("kind", VECTORS["good"])
def test_pinned_frames_come_back_byte_by_byte(kind):
    wire = bytes.fromhex(VECTORS["good"][kind])
    frame = read(kind, wire)
    assert (frame.to_bytes(SIGNER, "meter-pseudonym") if kind == "masked-receipt" else frame.to_bytes()) == wire


@pytest.mark.parametrize("twin", VECTORS["bad"], ids=lambda twin: f"{twin['kind']} {twin['why']}")
def test_pinned_twins_are_refused_for_their_reason(twin):
    with pytest.raises(MessageError) as refused:
        read(twin["kind"], bytes.fromhex(twin["wire"]))
    assert refused.value.reason.value == twin["reason"]
