"""The keys that an agent shares with others: one for each peer, kind, epoch and direction (docs/protocol.md, section Keys)."""

from __future__ import annotations

import itertools

import pytest

from hushgrid.core.sealing import Agreement, Kind, SealingKey
from hushgrid.errors import MessageError, RejectReason
from hushgrid.shell.keyring import EpochKeys, Keyring, Way

OWN, PEER, OTHER = (Agreement.from_bytes(bytes([n]) * 32) for n in (1, 2, 3))


@pytest.fixture
def keys():
    return EpochKeys({0: OWN, 1: OWN}.get, "g")


def opens(key, sealed):
    try:
        return key.unseal(sealed, b"", stream=1, round_number=2) == b"text"
    except MessageError:
        return False


def test_what_comes_in_opens_with_the_key_its_sender_derived_and_what_goes_out_with_its_recipients(keys):
    theirs = EpochKeys({0: PEER}.get, "g")
    for ours, other in ((Way.IN, Way.OUT), (Way.OUT, Way.IN)):
        sealed = keys.with_(PEER.public, Kind.SHARE, 0, ours).seal(b"text", b"", stream=1, round_number=2)
        assert opens(theirs.with_(OWN.public, Kind.SHARE, 0, other), sealed)
    expected = SealingKey.derive(
        OWN, PEER.public, kind=Kind.SHARE, grid="g", epoch=0, sender=PEER.public, recipient=OWN.public
    )
    assert opens(expected, keys.with_(PEER.public, Kind.SHARE, 0, Way.IN).seal(b"text", b"", stream=1, round_number=2))


def test_no_two_of_peer_kind_epoch_and_direction_share_a_key_whatever_was_asked_for_first(keys):
    """Else a meter that announces a consumer's public key would make a PPN seal an aggregate share with a key for shares."""
    places = list(
        itertools.product((PEER.public, OTHER.public), (Kind.SHARE, Kind.AGGREGATE), (0, 1), (Way.IN, Way.OUT))
    )
    found = [keys.with_(*place) for place in places]
    sealed = [key.seal(b"text", b"", stream=1, round_number=2) for key in found]
    for (row, key), (column, text) in itertools.product(enumerate(found), enumerate(sealed)):
        assert opens(key, text) == (row == column)
    assert [key.kind for key in found] == [kind for _, kind, _, _ in places]
    assert all(keys.with_(*place) is key for place, key in zip(places, found, strict=True)), "derived once"


def test_the_key_of_an_erased_epoch_is_refused_and_a_forgotten_one_is_derived_again(tmp_path):
    ring = Keyring(tmp_path / "keys.sqlite")
    ring.agreements(["a"], range(2))
    keys = EpochKeys(lambda epoch: ring.agreement("a", epoch), "g")
    keys.with_(PEER.public, Kind.SHARE, 0, Way.IN)
    later = keys.with_(PEER.public, Kind.SHARE, 1, Way.IN)
    ring.erase_through(["a"], 0)
    keys.forget_through(0)
    with pytest.raises(MessageError, match="the key of epoch 0 is erased") as refused:
        keys.with_(PEER.public, Kind.SHARE, 0, Way.IN)
    assert refused.value.reason is RejectReason.BAD_SEAL
    assert keys.with_(PEER.public, Kind.SHARE, 1, Way.IN) is later
    ring.close()
