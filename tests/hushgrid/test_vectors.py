"""The wire as it is pinned in tests/vectors: what is good comes back byte by byte, what is broken is refused for its reason."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support import ROOT

from hushgrid.core.field import Field
from hushgrid.core.sealing import Agreement, Identity, Kind, SealingKey
from hushgrid.core.shamir import recombine
from hushgrid.errors import MessageError
from hushgrid.plan.digest_tree import check_path
from hushgrid.wire.aggregates import AggregateFrame, AggregateReceipt, AggregateText
from hushgrid.wire.shares import Closing, Envelope, Receipt, RepairRequest, ShareText

VECTORS = ROOT / "tests" / "vectors"
FRAMES, TEXTS, SEALING, MATHEMATICS = (
    json.loads((VECTORS / f"{name}.json").read_text()) for name in ("frames", "texts", "sealing", "mathematics")
)
SIGNER = Identity.from_bytes(bytes.fromhex(FRAMES["signer_private"]))


def read_frame(kind: str, wire: bytes):
    plain = {"envelope": Envelope, "aggregate": AggregateFrame}
    signed = {
        "receipt": Receipt,
        "closing": Closing,
        "repair-request": RepairRequest,
        "aggregate-receipt": AggregateReceipt,
    }
    if kind in plain:
        return plain[kind].from_bytes(wire)
    return signed[kind].from_bytes(wire, SIGNER.public, FRAMES["recipients"][kind])


@pytest.mark.parametrize("kind", FRAMES["good"])
def test_good_frames_come_back_byte_by_byte(kind):
    wire = bytes.fromhex(FRAMES["good"][kind])
    frame = read_frame(kind, wire)
    again = (
        frame.to_bytes() if kind in ("envelope", "aggregate") else frame.to_bytes(SIGNER, FRAMES["recipients"][kind])
    )
    assert again == wire


@pytest.mark.parametrize("twin", FRAMES["bad"], ids=lambda twin: twin["why"])
def test_broken_frames_are_refused_for_their_reason(twin):
    with pytest.raises(MessageError) as refusal:
        read_frame(twin["kind"], bytes.fromhex(twin["wire"]))
    assert refusal.value.reason.value == twin["reason"]


def test_good_texts_come_back_byte_by_byte():
    field = Field(int(TEXTS["modulus"]))
    for kind in ("share", "gap"):
        wire = bytes.fromhex(TEXTS["good"][kind])
        assert ShareText.from_bytes(wire, 1, field).to_bytes(1, field) == wire
    wire = bytes.fromhex(TEXTS["good"]["aggregate"])
    assert AggregateText.from_bytes(wire, 1, field).to_bytes(field) == wire


@pytest.mark.parametrize("twin", TEXTS["bad"], ids=lambda twin: twin["why"])
def test_broken_texts_are_refused_for_their_reason(twin):
    with pytest.raises(MessageError) as refusal:
        ShareText.from_bytes(bytes.fromhex(twin["wire"]), 1, Field(int(TEXTS["modulus"])))
    assert refusal.value.reason.value == twin["reason"]


def test_the_pinned_seal_opens_at_its_place():
    meter, ppn = (Agreement.from_bytes(bytes.fromhex(SEALING[f"{end}_private"])) for end in ("sender", "recipient"))
    key = SealingKey.derive(
        ppn,
        meter.public,
        kind=Kind.SHARE,
        grid=SEALING["grid"],
        epoch=SEALING["epoch"],
        sender=meter.public,
        recipient=ppn.public,
    )
    sealed, context = bytes.fromhex(SEALING["sealed"]), bytes.fromhex(SEALING["context"])
    assert key.unseal(sealed, context, stream=0, round_number=SEALING["round"]).hex() == SEALING["plaintext"]


def test_the_pinned_mathematics_holds():
    field = Field(int(MATHEMATICS["modulus"]))
    shares = dict(zip(MATHEMATICS["points"], MATHEMATICS["shares"], strict=True))
    assert recombine(shares, 4, field) == MATHEMATICS["secret"]
    path = [bytes.fromhex(step) for step in MATHEMATICS["tree_path_of_leaf_4"]]
    root, leaf_4 = bytes.fromhex(MATHEMATICS["tree_root"]), bytes.fromhex(MATHEMATICS["tree_leaves"][4])
    check_path(root, leaf_4, 4, path)
    for wrong in (0, 3, 5):
        with pytest.raises(MessageError):
            check_path(root, leaf_4, wrong, path)


def test_the_vectors_are_what_the_code_makes():
    done = subprocess.run(
        [sys.executable, str(VECTORS / "make.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
