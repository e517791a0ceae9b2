"""Make the wire vectors: `python tests/vectors/make.py` writes them, `--check` says whether they still hold.

Every value comes from fixed keys and fixed texts, so that another implementation can be held against them. The broken twins
say which reason they must be refused with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hushgrid.conducted.loss import LossModel
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.field import MODULI, Field
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.pairwise import Pair, Scope, SelfMask
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Agreement, Identity, Kind, SealingKey, key_id, nonce
from hushgrid.core.shamir import split
from hushgrid.errors import RejectReason
from hushgrid.plan.digest_tree import DigestTree, leaf
from hushgrid.wire.aggregates import AggregateFrame, AggregateReceipt, AggregateStatus, AggregateText, aggregate_context
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
    masked_context,
    opening_context,
)
from hushgrid.wire.shares import Closing, Envelope, Receipt, RepairRequest, ShareText, share_context

HERE = Path(__file__).parent
FIELD = Field(MODULI[0])
IDENTITY = Identity.from_bytes(bytes(range(32)))
METER, PPN = Agreement.from_bytes(bytes(range(1, 33))), Agreement.from_bytes(bytes(range(2, 34)))
DIGEST = bytes(range(100, 132))


def frames() -> dict:
    envelope = Envelope(3, 757_200, 2, 1, 3, 0, {0: (7, b"a" * 33), 2: (9, b"b" * 33)})
    receipt = Receipt(757_200, 2, 1, Bitmap.of(3, [0]), Bitmap.of(3, [2]), RejectReason.CLOSED_ROUND)
    aggregate = AggregateFrame(3, 5, 757_200, 2, 2, b"c" * 90)
    good = {
        "envelope": envelope.to_bytes(),
        "receipt": receipt.to_bytes(IDENTITY, "meter-pseudonym"),
        "closing": Closing(757_200, 2).to_bytes(IDENTITY, "meter-pseudonym"),
        "aggregate": aggregate.to_bytes(),
        "aggregate-receipt": AggregateReceipt(5, 757_200, 2).to_bytes(IDENTITY, "ppn-pseudonym"),
        "repair-request": RepairRequest(757_200, 2, 1, (7, 9)).to_bytes(IDENTITY, "meter-pseudonym"),
    }
    wire = good["envelope"]
    flipped = good["receipt"][:-1] + bytes([good["receipt"][-1] ^ 1])
    bad = [
        ("envelope", wire[:-1], RejectReason.MALFORMED, "cut by one byte"),
        ("envelope", wire + b"\0", RejectReason.MALFORMED, "one byte too long"),
        ("envelope", b"\x02" + wire[1:], RejectReason.WRONG_VERSION, "another version"),
        ("envelope", b"\x01\x09" + wire[2:], RejectReason.UNKNOWN_KIND, "an unknown kind"),
        ("envelope", wire[:25] + b"\xff" + wire[26:], RejectReason.MALFORMED, "presence bits beyond the size"),
        ("receipt", flipped, RejectReason.BAD_SIGNATURE, "a flipped bit in the signature"),
        ("closing", good["receipt"], RejectReason.UNKNOWN_KIND, "a receipt where a closing belongs"),
        ("aggregate", good["aggregate"][:30], RejectReason.MALFORMED, "no sealed text"),
    ]
    return {
        "signer_private": IDENTITY.to_bytes().hex(),
        "signer_public": IDENTITY.public.hex(),
        "recipients": {
            "receipt": "meter-pseudonym",
            "closing": "meter-pseudonym",
            "repair-request": "meter-pseudonym",
            "aggregate-receipt": "ppn-pseudonym",
        },
        "good": {kind: wire.hex() for kind, wire in good.items()},
        "bad": [{"kind": k, "wire": w.hex(), "reason": r.value, "why": why} for k, w, r, why in bad],
    }


def texts() -> dict:
    share = ShareText(b"sharing1", (123_456_789,))
    gap = ShareText(b"sharing1", None)
    aggregate = AggregateText(
        AggregateStatus.RELEASED, WithheldReason.NONE, 2, 80, 78, 2, 0, 0, 40, 3, DIGEST, (987_654_321,)
    )
    wire = share.to_bytes(1, FIELD)
    bad = [
        ("share", wire[:-1], RejectReason.MALFORMED, "cut"),
        ("share", b"\x02" + wire[1:], RejectReason.MALFORMED, "neither a reading nor a gap"),
        ("share", wire[:9] + FIELD.modulus.to_bytes(7, "big"), RejectReason.OUT_OF_RANGE, "an element equal to q"),
        ("share", b"\x01" + wire[1:], RejectReason.MALFORMED, "a gap that carries elements"),
    ]
    return {
        "modulus": str(FIELD.modulus),
        "good": {
            "share": wire.hex(),
            "gap": gap.to_bytes(1, FIELD).hex(),
            "aggregate": aggregate.to_bytes(FIELD).hex(),
        },
        "bad": [{"kind": k, "wire": w.hex(), "reason": r.value, "why": why} for k, w, r, why in bad],
    }


def sealing() -> dict:
    key = SealingKey.derive(
        METER, PPN.public, kind=Kind.SHARE, grid="grid", epoch=4, sender=METER.public, recipient=PPN.public
    )
    context = share_context(DIGEST, 7, 2, 757_200)
    sealed = key.seal(b"plaintext of a share", context, stream=0, round_number=757_200)
    return {
        "sender_private": METER.to_bytes().hex(),
        "recipient_private": PPN.to_bytes().hex(),
        "grid": "grid",
        "epoch": 4,
        "plan_digest": DIGEST.hex(),
        "meter": 7,
        "point": 2,
        "round": 757_200,
        "context": context.hex(),
        "aggregate_context": aggregate_context(DIGEST, 5, 757_200, 2, 2).hex(),
        "nonce": nonce(Kind.SHARE, 0, 757_200).hex(),
        "plaintext": b"plaintext of a share".hex(),
        "sealed": sealed.hex(),
        "key_id": key_id(PPN.public).hex(),
        "pseudonyms": [IDENTITY.pseudonym("grid", epoch) for epoch in range(3)],
    }


def mathematics() -> dict:
    coefficients = iter([11, 2**54, 0])
    shares = split(5_000, [1, 2, 3, 4], 4, FIELD, lambda _below: next(coefficients))
    leaves = [leaf(f"agent-{n}", 0, f"part {n}".encode()) for n in range(5)]
    tree = DigestTree.over(leaves)
    model = LossModel(7, 0.25)
    lost = [r for r in range(40) if model.drops("share", "m0001", "ppn-1", r, 0)]
    return {
        "modulus": str(FIELD.modulus),
        "secret": 5_000,
        "coefficients": [11, 2**54, 0],
        "points": [1, 2, 3, 4],
        "shares": list(shares),
        "tree_leaves": [each.hex() for each in leaves],
        "tree_root": tree.root.hex(),
        "tree_path_of_leaf_4": [step.hex() for step in tree.path(4)],
        "link": {
            "seed": 7,
            "loss_fraction": 0.25,
            "sender": "m0001",
            "receiver": "ppn-1",
            "attempt": 0,
            "lost_of_40": lost,
        },
    }


def masked() -> dict:
    """Frames, texts and masks of masked readings."""
    closing = RoundClosing(5, 757_200, DIGEST, frozenset({9})).signed(IDENTITY, "grid")
    pair = Pair.derive(METER, PPN.public, Scope("grid", 4, 5, DIGEST), FIELD)
    own = SelfMask.derive(bytes(range(32)), Scope("grid", 4, 5, DIGEST), FIELD)
    good = {
        "masked": MaskedEnvelope(3, 5, 757_200, {7: b"a" * 24, 9: b"b" * 24}).to_bytes(),
        "masked-receipt": MaskedReceipt(5, 757_200, frozenset({7}), frozenset({9}), RejectReason.CLOSED_ROUND).to_bytes(
            IDENTITY, "meter-pseudonym"
        ),
        "pair": PairEnvelope(
            3, 5, 757_200, (PairEntry(7, 9, False, b"set-up"), PairEntry(9, 7, True, b"answer"))
        ).to_bytes(),
        "open": OpenRequest(3, closing, frozenset({7})).to_bytes(),
        "openings": OpeningEnvelope(3, 5, 757_200, {7: b"c" * 32}).to_bytes(),
    }
    wire, flipped = good["masked"], good["masked-receipt"][:-1] + bytes([good["masked-receipt"][-1] ^ 1])
    twice = wire[:-28] + wire[-56:-52] + wire[-24:]
    bad = [
        ("masked", wire[:-1], RejectReason.MALFORMED, "cut by one byte"),
        ("masked", wire + b"\0", RejectReason.MALFORMED, "one byte too long"),
        ("masked", b"\x02" + wire[1:], RejectReason.WRONG_VERSION, "another version"),
        ("masked", twice, RejectReason.MALFORMED, "a meter occurs twice"),
        ("masked-receipt", flipped, RejectReason.BAD_SIGNATURE, "a flipped bit in the signature"),
        ("pair", good["pair"][:-1], RejectReason.MALFORMED, "cut by one byte"),
        ("open", good["openings"], RejectReason.UNKNOWN_KIND, "openings where a request belongs"),
        ("openings", good["openings"][:-1], RejectReason.MALFORMED, "cut by one byte"),
    ]
    period = Window(757_200, 48)
    return {
        "modulus": str(FIELD.modulus),
        "signer_private": IDENTITY.to_bytes().hex(),
        "good": {kind: each.hex() for kind, each in good.items()},
        "bad": [{"kind": k, "wire": w.hex(), "reason": r.value, "why": why} for k, w, r, why in bad],
        "closing_signature": closing.signature.hex(),
        "pair_secret": pair.secret.hex(),
        "pair_sign": pair.sign,
        "masks": [pair.mask(757_200), pair.mask(757_200, 1), pair.mask(757_201)],
        "last_term": pair.term(757_247, period),
        "self_masks": [own.value(757_200), own.value(757_200, 1)],
        "texts": {
            "reading": MaskedText((123_456_789,)).to_bytes(FIELD).hex(),
            "no-reading": MaskedText((123_456_789,), reading=False).to_bytes(FIELD).hex(),
            "openings": OpeningText(((False, 1), (True, 2))).to_bytes(FIELD).hex(),
        },
        "masked_context": masked_context(DIGEST, 5, 7, 757_200).hex(),
        "opening_context": opening_context(DIGEST, 5, 7, 757_200).hex(),
    }


FILES = {"masked": masked, "frames": frames, "texts": texts, "sealing": sealing, "mathematics": mathematics}


def main() -> int:
    changed = []
    for name, make in FILES.items():
        path = HERE / f"{name}.json"
        text = json.dumps(make(), indent=1) + "\n"
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                changed.append(name)
        else:
            path.write_text(text)
    if changed:
        sys.stderr.write(f"vectors that no longer hold: {', '.join(changed)}\n")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
