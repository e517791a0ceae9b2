"""Pseudonyms: one name within an epoch, none that leads from one epoch to the next once a key is destroyed."""

from __future__ import annotations

import hmac
import random
import re

import pytest

from hushgrid.errors import RefusedError
from privacy_gateway.vault.pseudonym_keys import PseudonymKeys
from privacy_gateway.vault.pseudonyms import billing_epoch, identities, keyed_digest, pseudonym_of

METERS = [f"m{number:04}" for number in range(2_000)]


def everything(folder) -> bytes:
    """The bytes of every file that a store has left."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_name_is_the_keyed_hash_that_the_module_says():
    key = bytes(range(32))
    written = b"".join(len(part).to_bytes(4, "big") + part for part in (b"hushgrid/1", b"gateway pseudonym", b"m0001"))
    digest = hmac.new(key, written, "sha256").digest()
    number = int.from_bytes(digest[:16], "big") << 2  # 26 characters have 130 bits
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    assert pseudonym_of(key, "m0001") == "".join(alphabet[number >> 5 * place & 31] for place in reversed(range(26)))


def test_a_keyed_digest_is_of_its_key_and_no_name():
    written = b"".join(len(part).to_bytes(4, "big") + part for part in (b"hushgrid/1", b"gateway digest", b"a bill"))
    assert keyed_digest(bytes(32), b"a bill") == hmac.new(bytes(32), written, "sha256").digest()
    assert keyed_digest(bytes(32), b"a bill") != keyed_digest(bytes(31) + b"\x01", b"a bill")
    with pytest.raises(ValueError, match="a key of 3 bytes"):
        keyed_digest(b"key", b"a bill")


def test_within_an_epoch_names_are_one_to_one_and_across_epochs_none_stays(tmp_path):
    keys = PseudonymKeys(tmp_path / "keys.sqlite")
    january, february = (identities(keys.key(epoch), METERS) for epoch in (0, 1))
    assert len(january) == len(february) == len(METERS)
    assert not january.keys() & february.keys()
    assert all(re.fullmatch("[a-z2-7]{26}", name) for name in january)
    assert january == identities(keys.key(0), reversed(METERS))
    keys.close()


def test_a_key_holds_over_a_restart_and_for_every_process(tmp_path):
    one, other = (PseudonymKeys(tmp_path / "keys.sqlite") for _ in range(2))
    key = one.key(7)
    assert other.key(7) == key
    one.close()
    other.close()
    again = PseudonymKeys(tmp_path / "keys.sqlite")
    assert again.key(7) == key
    assert again.epochs == [7]
    again.close()
    assert (tmp_path / "keys.sqlite").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_destroyed_key_is_nowhere_in_the_files_bytes(tmp_path, seed):
    """Over many pages of the file, which were split and merged in whatever order keys came and went."""
    drawn = random.Random(seed)
    keys = PseudonymKeys(tmp_path / "keys.sqlite")
    order = drawn.sample(range(600), 600)
    with keys._database.transaction():  # 600 waits for the disk are not what this is about
        made = {epoch: keys.key(epoch) for epoch in order}
    assert all(key in everything(tmp_path) for key in made.values()), "or the search finds nothing"
    destroyed = 0
    for through in (3, 250, 251, 420):
        destroyed += keys.destroy_through(through)
        assert destroyed == through + 1
        held = everything(tmp_path)
        assert [epoch for epoch in sorted(made) if made[epoch] in held] == list(range(through + 1, 600))
        assert [epoch for epoch in sorted(made) if made[epoch][:12] in held] == list(range(through + 1, 600))
        assert [epoch for epoch in sorted(made) if made[epoch][20:] in held] == list(range(through + 1, 600))
    keys.close()
    assert [epoch for epoch in sorted(made) if made[epoch] in everything(tmp_path)] == list(range(421, 600))


def test_a_destroyed_epoch_gets_no_key_again_in_any_process(tmp_path):
    keys, other = (PseudonymKeys(tmp_path / "keys.sqlite") for _ in range(2))
    keys.key(3)
    other.key(3)
    assert keys.destroy_through(4) == 1
    assert keys.destroy_through(2) == 0
    assert keys.destroyed_through == 4
    for store in (keys, other):
        for epoch in range(5):
            with pytest.raises(RefusedError, match=f"the names of billing epoch {epoch} are destroyed"):
                store.key(epoch)
        store.close()
    again = PseudonymKeys(tmp_path / "keys.sqlite")
    with pytest.raises(RefusedError):
        again.key(4)
    assert len(again.key(5)) == 32
    again.close()


def test_billing_epochs_are_numbered_from_round_0():
    assert [billing_epoch(number, 3) for number in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    for wrong in [(-1, 3), (1, 0)]:
        with pytest.raises(ValueError, match="no billing period"):
            billing_epoch(*wrong)


def test_a_key_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a key of 16 bytes"):
        pseudonym_of(bytes(16), "m0001")
