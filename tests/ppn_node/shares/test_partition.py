"""What a PPN and its workers say to one another, and that partial sums joined are the sum."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hushgrid.core.field import MODULI, Field
from hushgrid.errors import RejectReason
from hushgrid.wire.shares import SHARING_ID_BYTES, Envelope
from ppn_node.shares import partition
from ppn_node.shares.partition import worker_of
from ppn_node.shares.sums import PartialSum, join, weighted_sums
from ppn_node.shares.values import HeldShare, OpenedShare, StoredShare

NUMBERS = st.integers(0, 2**32 - 1)
ROUNDS = st.integers(0, 2**40)
IDS = st.binary(min_size=SHARING_ID_BYTES, max_size=SHARING_ID_BYTES)
SEALED = st.binary(max_size=300)
FIELD = Field(MODULI[0])
STORED = st.builds(
    StoredShare, ROUNDS, NUMBERS, IDS, st.booleans(), st.integers(0, 2**32 - 1), SEALED, st.integers(0, 8)
)


def test_an_envelope_to_be_opened_comes_as_it_was_sent():
    envelope = Envelope(3, 10, 1, 0, 5, 2, {0: (7, b"a" * 40), 4: (9, b"b" * 40)})
    assert partition.unpack_open(partition.pack_open(12, envelope.to_bytes())) == (12, envelope)


@given(st.lists(st.builds(OpenedShare, IDS, st.booleans(), st.none() | st.sampled_from(RejectReason))))
def test_what_was_opened_comes_as_it_was_sent(shares):
    found = partition.unpack_opened(partition.pack_opened(shares))
    assert found == [share if share.refused is None else replace(share, gap=False) for share in shares]


@given(st.lists(STORED))
def test_what_is_kept_comes_as_it_was_sent(shares):
    assert partition.unpack_kept(partition.pack_kept(shares)) == shares


@given(st.lists(STORED))
def test_names_come_as_they_were_sent(shares):
    names = [(share.round, share.number, share.sharing_id) for share in shares]
    assert partition.unpack_names(partition.pack_names(shares)) == names


@given(st.lists(STORED, unique_by=lambda share: share.number))
def test_what_is_held_is_told_without_its_elements(shares):
    held = {s.number: HeldShare(s.sharing_id, s.gap, s.attempt) for s in shares}
    assert partition.unpack_held(partition.pack_held(held)) == held


@given(st.dictionaries(ROUNDS, st.sets(st.integers(0, 500)).map(sorted), max_size=4))
def test_pairs_come_as_they_were_sent(members):
    version, found = partition.unpack_pairs(partition.pack_pairs(7, members))
    assert version == 7
    assert {r: list(numbers) for r, numbers in found.items()} == members


@given(
    st.dictionaries(NUMBERS, st.lists(st.integers(0, FIELD.modulus - 1), min_size=2, max_size=2).map(tuple)),
    st.integers(1, 8),
)
def test_the_workers_partial_sums_make_the_sum_of_one_process(elements, workers):
    parts = [[e for n, e in elements.items() if worker_of(f"fleet-{n}", workers) == w] for w in range(workers)]
    partials = [PartialSum(len(part), weighted_sums(part, (1, 1), FIELD)) for part in parts]
    partials = [PartialSum.from_bytes(partial.to_bytes()) for partial in partials]
    assert join(partials, len(elements), FIELD) == weighted_sums(list(elements.values()), (1, 1), FIELD)
    assert join(partials, len(elements) + 1, FIELD) is None
