"""Seals are bound to their place; nonces are laid out as the protocol says; erased keys are gone."""

from __future__ import annotations

import pytest

from hushgrid.core.sealing import Agreement, Identity, Kind, SealingKey, key_id, nonce, open_box, seal_box, verify
from hushgrid.errors import MessageError, RejectReason
from hushgrid.shell.keyring import Keyring
from hushgrid.wire.aggregates import aggregate_context
from hushgrid.wire.shares import share_context
from hushgrid.wire.topics import check_part

METER, PPN = Agreement.generate(), Agreement.generate()


def key(own: Agreement, peer: bytes, **changes) -> SealingKey:
    labels = {"kind": Kind.SHARE, "grid": "g", "epoch": 1, "sender": METER.public, "recipient": PPN.public} | changes
    return SealingKey.derive(own, peer, **labels)


def test_both_ends_derive_the_same_key_and_every_label_matters():
    sealed = key(METER, PPN.public).seal(b"share", b"context", stream=0, round_number=5)
    assert key(PPN, METER.public).unseal(sealed, b"context", stream=0, round_number=5) == b"share"
    for change in (
        {"kind": Kind.AGGREGATE},
        {"grid": "h"},
        {"epoch": 2},
        {"sender": PPN.public, "recipient": METER.public},
    ):
        with pytest.raises(MessageError) as refusal:
            key(PPN, METER.public, **change).unseal(sealed, b"context", stream=0, round_number=5)
        assert refusal.value.reason is RejectReason.BAD_SEAL


def test_a_share_moved_anywhere_is_refused():
    place = {"plan_digest": b"p" * 32, "meter": 7, "point": 3, "round_number": 5}
    sealed = key(METER, PPN.public).seal(b"share", share_context(**place), stream=0, round_number=5)
    reader = key(PPN, METER.public)
    assert reader.unseal(sealed, share_context(**place), stream=0, round_number=5) == b"share"
    for change in ({"plan_digest": b"q" * 32}, {"meter": 8}, {"point": 4}, {"round_number": 6}):
        with pytest.raises(MessageError):
            reader.unseal(sealed, share_context(**(place | change)), stream=0, round_number=5)
    for stream, round_number in ((1, 5), (0, 6)):
        with pytest.raises(MessageError):
            reader.unseal(sealed, share_context(**place), stream=stream, round_number=round_number)
    with pytest.raises(MessageError):
        reader.unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]), share_context(**place), stream=0, round_number=5)


def test_aggregate_contexts_differ_in_every_field():
    base = (b"p" * 32, 1, 10, 2, 3)
    others = (b"q" * 32, 2, 12, 1, 4)
    changed = [(*base[:at], others[at], *base[at + 1 :]) for at in range(len(base))]
    assert len({aggregate_context(*fields) for fields in (base, *changed)}) == 6


def test_the_nonce_is_kind_stream_round():
    assert nonce(Kind.AGGREGATE, 0x010203, 5) == bytes.fromhex("02 010203 0000000000000005")
    with pytest.raises(ValueError, match="stream"):
        nonce(Kind.SHARE, 1 << 24, 0)


def test_low_order_public_keys_are_refused():
    with pytest.raises(MessageError):
        METER.shared_with(bytes(32))


def test_a_box_opens_for_its_recipient_in_its_context_only():
    box = seal_box(PPN.public, b"statement", b"context")
    assert open_box(PPN, box, b"context") == b"statement"
    for own, context, reason in (
        (METER, b"context", RejectReason.WRONG_RECIPIENT),
        (PPN, b"elsewhere", RejectReason.BAD_SEAL),
    ):
        with pytest.raises(MessageError) as refusal:
            open_box(own, box, context)
        assert refusal.value.reason is reason
    assert seal_box(PPN.public, b"statement", b"context") != box
    assert box[:8] == key_id(PPN.public)


def test_a_signature_serves_under_its_label_only():
    identity = Identity.generate()
    signature = identity.sign("decision", b"x")
    verify(identity.public, "decision", b"x", signature)
    for label, payload in (("receipt", b"x"), ("decision", b"y")):
        with pytest.raises(MessageError):
            verify(identity.public, label, payload, signature)


def test_pseudonyms_change_with_the_epoch_and_fit_a_topic():
    identity = Identity.generate()
    names = {identity.pseudonym("g", epoch) for epoch in range(20)}
    assert len(names) == 20
    assert all(check_part(name) == name for name in names)
    assert identity.pseudonym("g", 3) != identity.pseudonym("h", 3)


def test_erased_keys_are_gone_from_the_disk_and_never_come_back(tmp_path):
    path = tmp_path / "keys.sqlite"
    ring = Keyring(path)
    ring.identity("m")
    ring.agreements(["m"], range(3))
    private = [ring.agreement("m", epoch).to_bytes() for epoch in range(3)]
    assert path.stat().st_mode & 0o077 == 0
    assert private[1] in path.read_bytes()
    assert ring.erase_through(["m"], 1) == 2
    ring.agreements(["m"], range(3))
    assert ring.agreement("m", 0) is None
    assert ring.agreement("m", 1) is None
    assert ring.epochs("m") == [2]
    ring.close()
    left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert private[0] not in left
    assert private[1] not in left
    assert private[2] in left


def test_a_sequence_number_is_never_used_twice_even_after_a_restart(tmp_path):
    numbers = []
    for _ in range(3):
        ring = Keyring(tmp_path / "keys.sqlite")
        ring.identity("c")
        numbers += [ring.next_sequence("c"), ring.next_sequence("c")]
        ring.close()
    assert numbers == sorted(set(numbers))
