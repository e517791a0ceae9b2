"""Encrypted columns: a cell opens in its place, under its key, unchanged, and in no other case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushgrid.errors import ConfigurationError, JournalError
from privacy_gateway.vault.columns import ColumnKeys, ColumnPlace, column_key_id
from privacy_gateway.vault.key_file import add_key, make_key_file, read_keys

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
KEYS = ColumnKeys([OLD])
PLACE = ColumnPlace("bill", "watt_hours", "m0001/3")


@given(st.binary(max_size=100))
def test_what_was_sealed_opens_and_is_not_to_be_seen(plaintext):
    cell = KEYS.seal(plaintext, PLACE)
    assert KEYS.unseal(cell, PLACE) == plaintext
    assert len(cell) == len(plaintext) + 37
    assert len(plaintext) < 5 or plaintext not in cell
    assert KEYS.seal(plaintext, PLACE) != cell


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_are_exact_and_of_one_length(number):
    cell = KEYS.seal_integer(number, PLACE)
    assert KEYS.unseal_integer(cell, PLACE) == number
    assert len(cell) == 45


def test_a_number_that_has_no_place_is_refused():
    with pytest.raises(OverflowError):
        KEYS.seal_integer(2**63, PLACE)
    with pytest.raises(JournalError, match=r"bill\.watt_hours: not a number"):
        KEYS.unseal_integer(KEYS.seal(b"12", PLACE), PLACE)


def test_every_bit_of_a_cell_counts():
    cell = bytearray(KEYS.seal(b"4711", PLACE))
    for at in range(8 * len(cell)):
        cell[at // 8] ^= 1 << at % 8
        with pytest.raises((JournalError, ConfigurationError)):
            KEYS.unseal(bytes(cell), PLACE)
        cell[at // 8] ^= 1 << at % 8
    assert KEYS.unseal(bytes(cell), PLACE) == b"4711"
    for length in range(len(cell)):
        with pytest.raises(JournalError):
            KEYS.unseal(bytes(cell[:length]), PLACE)


@pytest.mark.parametrize(
    "other",
    [
        ColumnPlace("bill", "watt_hours", "m0001/4"),
        ColumnPlace("bill", "watt", "_hoursm0001/3"),
        ColumnPlace("bil", "lwatt_hours", "m0001/3"),
        ColumnPlace("sum", "watt_hours", "m0001/3"),
        ColumnPlace("bill", "rounds", "m0001/3"),
    ],
)
def test_a_cell_that_was_moved_does_not_open(other):
    with pytest.raises(JournalError, match="a cell was changed, or belongs to another place"):
        KEYS.unseal(KEYS.seal(b"4711", PLACE), other)


def test_a_wrong_key_is_named_and_the_message_holds_none():
    with pytest.raises(ConfigurationError) as refused:
        ColumnKeys([NEW]).unseal(KEYS.seal(b"4711", PLACE), PLACE)
    assert str(refused.value) == (
        f"bill.watt_hours: sealed with the key {column_key_id(OLD).hex()}, which is not among those at hand"
    )
    assert OLD.hex() not in str(refused.value)


def test_after_a_rotation_old_cells_open_and_are_sealed_anew_once():
    cell, both = KEYS.seal(b"4711", PLACE), ColumnKeys([NEW, OLD])
    fresh = both.rotated(cell, PLACE)
    assert fresh is not None
    assert both.rotated(fresh, PLACE) is None
    assert ColumnKeys([NEW]).unseal(fresh, PLACE) == b"4711"
    with pytest.raises(ConfigurationError):
        KEYS.unseal(fresh, PLACE)


@pytest.mark.parametrize("keys", [[], [b"short"], [OLD, OLD]])
def test_what_are_no_keys_is_refused(keys):
    with pytest.raises(ConfigurationError):
        ColumnKeys(keys)


def test_a_key_file_is_made_once_read_by_its_owner_only_and_grows(tmp_path):
    path = tmp_path / "columns.key"
    make_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    cell = read_keys(path).seal(b"4711", PLACE)
    with pytest.raises(ConfigurationError, match="is there already"):
        make_key_file(path)
    add_key(path)
    assert len(path.read_text().splitlines()) == 2
    assert path.stat().st_mode & 0o777 == 0o600
    keys = read_keys(path)
    assert keys.unseal(cell, PLACE) == b"4711"
    assert keys.rotated(cell, PLACE) is not None
    assert [file.name for file in tmp_path.iterdir()] == ["columns.key"]


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("", 0o600, "there is no key"),
        ("00" * 31, 0o600, "line 1 is not a key of 64 hexadecimal digits"),
        ("00" * 32 + "\n" + "0g" * 32, 0o600, "line 2 is not a key"),
        ("00" * 32 + "\n\n", 0o600, "line 2 is not a key"),
        ("é" * 32, 0o600, "line 1 is not a key"),
        ("00" * 32, 0o640, "others than its owner may use it"),
        ("00" * 40_000, 0o600, "longer than a file of keys"),
    ],
)
def test_a_key_file_that_does_not_serve_is_one_line_without_what_is_in_it(tmp_path, content, mode, said):
    path = tmp_path / "columns.key"
    path.write_text(content)
    path.chmod(mode)
    for use in (read_keys, add_key):
        if not (use is add_key and not content):  # an empty file gets its first key
            with pytest.raises(ConfigurationError, match=said) as refused:
                use(path)
            assert "0000" not in str(refused.value)
    with pytest.raises(ConfigurationError, match="No such file"):
        read_keys(tmp_path / "missing")
