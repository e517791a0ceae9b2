"""A ledger by hand: columns and bills are exact or absent, and nothing else can be read from it."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from consumer_node.masked.ledger import Bill, Column, DoubleEntry, Frame, Ledger, components
from experiments.pairwise.table import (
    FIELD,
    MaskedTable,
    Readings,
    circulant_edges,
    constructed_readings,
    hardened,
    masked_table,
    pair_term,
    published_fresh,
    published_hashed,
    self_masks_of,
    wide_csv_readings,
)
from experiments.pairwise.view import View, knowledge, rank
from hushgrid.core.field import Field
from hushgrid.core.pairwise import SelfMask
from hushgrid.core.schedule import Window
from hushgrid.errors import ConfigurationError, MessageError, RecoveryError, RefusedError, RejectReason
from meter_agent.masked.carry import Carry

REAL = "lcl2013_40h_4w_wide.csv.gz"
METERS, ROUNDS, MINIMUM = 6, 8, 3
EDGES = circulant_edges(METERS, (1, 2))


def name(meter: int) -> str:
    return f"m{meter:02}"


def frame_of(meters: int, rounds: int, edges: tuple[tuple[int, int], ...], *, self_masks: bool = False) -> Frame:
    named = frozenset((name(low), name(high)) for low, high in edges)
    return Frame(
        tuple(map(name, range(meters))),
        named,
        Window(0, rounds),
        FIELD,
        5000,
        MINIMUM,
        self_masks=self_masks,
    )


def filled(table: MaskedTable, frame: Frame, skip: frozenset[tuple[int, int]] = frozenset()) -> Ledger:
    ledger = Ledger(frame)
    for i, row in enumerate(table.elements):
        for j, element in enumerate(row):
            if (i, j) not in skip:
                assert ledger.record(name(i), j, element)
    return ledger


def everything(ledger: Ledger) -> Iterator[Column | Bill]:
    """All that a ledger gives out; what is absent is absent."""
    for group in ledger.frame.groups:
        for j in ledger.frame.period:
            try:
                yield ledger.column(group, j)
            except RecoveryError:
                continue
    for meter in ledger.frame.meters:
        try:
            yield ledger.bill(meter)
        except RecoveryError:
            continue


def right(found: Column | Bill, readings: Readings) -> bool:
    if isinstance(found, Column):
        return found.watt_hours == sum(int(readings[int(m[1:]), found.round]) for m in found.included)
    row = readings[int(found.meter[1:])]
    return found.watt_hours == int(sum(row[j] for j in found.period if j not in found.omitted))


@pytest.fixture
def small() -> tuple[Readings, MaskedTable]:
    readings = constructed_readings(METERS, ROUNDS, random.Random(1)) - 300  # some feed in
    return readings, masked_table(readings, EDGES, hardened(METERS))


def test_all_bills_columns_and_the_double_entry_are_exact(small: tuple[Readings, MaskedTable]) -> None:
    readings, table = small
    ledger = filled(table, frame_of(METERS, ROUNDS, EDGES))
    found = list(everything(ledger))
    assert len(found) == METERS + ROUNDS
    assert all(right(one, readings) for one in found)
    (group,) = ledger.frame.groups
    assert ledger.double_entry(group) == DoubleEntry(group, int(readings.sum()), int(readings.sum()))


def test_every_single_message_drop_spoils_one_column_and_one_bill_until_the_same_bytes_come(
    small: tuple[Readings, MaskedTable],
) -> None:
    readings, table = small
    for lost in itertools.product(range(METERS), range(ROUNDS)):
        ledger = filled(table, frame_of(METERS, ROUNDS, EDGES), frozenset({lost}))
        found = list(everything(ledger))
        assert all(right(one, readings) for one in found)
        columns = {one.round for one in found if isinstance(one, Column)}
        bills = {one.meter for one in found if isinstance(one, Bill)}
        assert columns == set(range(ROUNDS)) - {lost[1]}
        assert bills == set(ledger.frame.meters) - {name(lost[0])}
        with pytest.raises(RecoveryError):
            ledger.double_entry(ledger.frame.groups[0])
        with pytest.raises(RefusedError, match="without self-masks"):
            ledger.close_without(lost[1], frozenset({name(lost[0])}))
        known = knowledge(View(METERS, ROUNDS, EDGES, unseen=frozenset({lost})))
        assert not known.determined()
        for size in range(1, MINIMUM):
            for some in itertools.combinations(range(METERS), size):
                assert known.within(some) == len(set(some) - {lost[0]})  # bills, and nothing else
        ledger.record(name(lost[0]), lost[1], table.elements[lost[0]][lost[1]])
        assert len(list(everything(ledger))) == METERS + ROUNDS


def close(
    ledger: Ledger, table: MaskedTable, masks: tuple[SelfMask, ...], round_number: int, absent: frozenset[int]
) -> tuple[set[tuple[int, int]], set[tuple[tuple[int, int], int]]]:
    """Close a round as the decision, the neighbours and the meters would; returns what was opened."""
    ledger.close_without(round_number, frozenset(map(name, absent)))
    opened_self, opened_pairs = set(), set()
    for i in set(range(len(masks))) - absent:
        ledger.open_self(name(i), round_number, masks[i].value(round_number))
        opened_self.add((i, round_number))
    for edge in table.edges:
        if set(edge) & absent:
            term = pair_term(table, edge, round_number) % FIELD.modulus
            if edge[0] in absent and edge[1] not in absent:  # the neighbour speaks, of its own side
                ledger.open_pair(name(edge[1]), name(edge[0]), round_number, -term % FIELD.modulus)
            else:
                ledger.open_pair(name(edge[0]), name(edge[1]), round_number, term)
            opened_pairs.add((edge, round_number))
    return opened_self, opened_pairs


def test_every_single_drop_can_be_closed_under_self_masks_and_what_comes_late_stays_hidden() -> None:
    truth = constructed_readings(METERS, ROUNDS, random.Random(2))
    for lost in itertools.product(range(METERS), range(ROUNDS)):
        sent = truth.copy()
        carry = Carry(5000)
        for j in range(ROUNDS):
            sent[lost[0], j], carry = carry.prepare(j, int(truth[lost[0], j]))
            carry = carry.exclude(j) if j == lost[1] else carry
        masks = self_masks_of(METERS)
        table = masked_table(sent, EDGES, hardened(METERS), masks)
        ledger = filled(table, frame_of(METERS, ROUNDS, EDGES, self_masks=True), frozenset({lost}))
        opened_self, opened_pairs = set(), set()
        for j in range(ROUNDS):
            own, pairs = close(ledger, table, masks, j, frozenset({lost[0]}) if j == lost[1] else frozenset())
            opened_self |= own
            opened_pairs |= pairs
        with pytest.raises(MessageError, match="closed-round"):
            ledger.record(name(lost[0]), lost[1], table.elements[lost[0]][lost[1]])
        with pytest.raises(RefusedError, match="stays shut"):
            ledger.open_self(name(lost[0]), lost[1], masks[lost[0]].value(lost[1]))

        found = list(everything(ledger))
        assert len(found) == METERS + ROUNDS
        assert all(right(one, sent) for one in found)
        bill = ledger.bill(name(lost[0]))
        assert bill.omitted == (lost[1],)
        assert bill.watt_hours + carry.pending_watt_hours == int(truth[lost[0]].sum())
        (group,) = ledger.frame.groups
        entry = ledger.double_entry(group)
        assert entry.bills_watt_hours == entry.columns_watt_hours  # nothing to subtract: no difference isolates a pair

        known = knowledge(  # the late message has arrived all the same
            View(
                METERS,
                ROUNDS,
                EDGES,
                self_masks=True,
                opened_self=frozenset(opened_self),
                opened_pairs=frozenset(opened_pairs),
            )
        )
        assert not known.determined()
        for size in range(1, MINIMUM):
            for some in itertools.combinations(range(METERS), size):
                assert known.within(some) == size  # their bills


def test_heavy_loss_gives_exact_or_absent_sums_and_determines_nothing() -> None:
    rng = random.Random(3)
    meters, rounds = 10, 12
    edges = circulant_edges(meters, (1, 2, 3))
    for _ in range(5):
        readings = constructed_readings(meters, rounds, rng)
        masks = self_masks_of(meters)
        table = masked_table(readings, edges, hardened(meters), masks)
        ledger = Ledger(frame_of(meters, rounds, edges, self_masks=True))
        opened_self, opened_pairs = set(), set()
        for j in range(rounds):
            lost = frozenset(i for i in range(meters) if rng.random() < 0.1)
            for i in set(range(meters)) - lost:
                ledger.record(name(i), j, table.elements[i][j])
            try:
                own, pairs = close(ledger, table, masks, j, lost)
            except RefusedError:
                continue
            opened_self |= own
            opened_pairs |= pairs
        assert all(right(one, readings) for one in everything(ledger))
        view = View(
            meters,
            rounds,
            edges,
            self_masks=True,
            opened_self=frozenset(opened_self),
            opened_pairs=frozenset(opened_pairs),
        )
        known = knowledge(view)
        assert not known.determined()
        for some in itertools.combinations(range(meters), 2):
            assert known.within(some) <= 2


def test_the_ledger_knows_rows_and_columns_and_nothing_else() -> None:
    known = knowledge(View(METERS, ROUNDS, EDGES))
    sums = np.zeros((METERS + ROUNDS, METERS * ROUNDS), dtype=np.int64)
    for i, j in itertools.product(range(METERS), range(ROUNDS)):
        sums[i, i * ROUNDS + j] = sums[METERS + j, i * ROUNDS + j] = 1
    stacked = np.concatenate([known.functionals, sums])
    assert known.rank == rank(sums) == rank(stacked) == METERS + ROUNDS - 1


def test_there_is_no_column_of_part_of_a_component_and_no_bill_of_part_of_a_period(
    small: tuple[Readings, MaskedTable],
) -> None:
    _, table = small
    ledger = filled(table, frame_of(METERS, ROUNDS, EDGES), frozenset({(0, 7)}))
    with pytest.raises(KeyError):
        ledger.column(ledger.frame.groups[0][:4], 0)
    with pytest.raises(RecoveryError):
        ledger.bill(name(0))
    offered = {method for method in dir(Ledger) if not method.startswith("_")}
    assert offered == {
        "frame", "record", "close_without", "open_self", "open_pair", "missing", "column", "bill", "double_entry"
    }  # fmt: skip


def test_messages_that_do_not_belong_are_refused(small: tuple[Readings, MaskedTable]) -> None:
    _, table = small
    ledger = filled(table, frame_of(METERS, ROUNDS, EDGES))
    assert not ledger.record(name(0), 0, table.elements[0][0])
    for arguments, reason in (
        (("stranger", 0, 1), RejectReason.UNKNOWN_METER),
        ((name(0), 8, 1), RejectReason.NOT_IN_PLAN),
        ((name(0), 0, FIELD.modulus), RejectReason.OUT_OF_RANGE),
        ((name(0), 0, table.elements[0][0] ^ 1), RejectReason.CONFLICTING),
    ):
        with pytest.raises(MessageError) as refused:
            ledger.record(*arguments)
        assert refused.value.reason is reason


def test_a_changed_value_gives_an_error_never_a_number(small: tuple[Readings, MaskedTable]) -> None:
    readings, table = small
    ledger = filled(table, frame_of(METERS, ROUNDS, EDGES), frozenset({(2, 3)}))
    ledger.record(name(2), 3, (table.elements[2][3] + 2**50) % FIELD.modulus)
    assert all(right(one, readings) for one in everything(ledger))
    assert len(list(everything(ledger))) == METERS + ROUNDS - 2


def test_a_round_is_closed_once_and_not_below_the_floors() -> None:
    ledger = Ledger(frame_of(METERS, ROUNDS, EDGES, self_masks=True))
    with pytest.raises(RefusedError, match="coverage floor"):
        ledger.close_without(0, frozenset({name(0), name(1)}))
    ledger.close_without(0, frozenset({name(0)}))
    ledger.close_without(0, frozenset({name(0)}))
    with pytest.raises(RefusedError, match="another contributor set"):
        ledger.close_without(0, frozenset())
    with pytest.raises(RefusedError, match="not closed"):
        ledger.open_self(name(1), 1, 5)
    with pytest.raises(RefusedError, match="both of a pair are included"):
        ledger.open_pair(name(1), name(2), 0, 5)


def test_a_round_that_splits_a_component_below_the_minimum_is_not_closed() -> None:
    edges = tuple((i, i + 1) for i in range(9))  # a chain
    ledger = Ledger(frame_of(10, ROUNDS, edges, self_masks=True))
    with pytest.raises(RefusedError, match="components below the minimum"):
        ledger.close_without(0, frozenset({name(2)}))
    ledger.close_without(0, frozenset({name(4)}))


def test_a_short_row_is_no_bill_even_when_every_round_was_closed() -> None:
    readings = constructed_readings(METERS, ROUNDS, random.Random(4))
    masks = self_masks_of(METERS)
    table = masked_table(readings, EDGES, hardened(METERS), masks)
    ledger = filled(table, frame_of(METERS, ROUNDS, EDGES, self_masks=True))
    for j in range(ROUNDS):
        close(ledger, table, masks, j, frozenset({0}) if j < 2 else frozenset())
    with pytest.raises(RecoveryError, match="6 of 8 rounds"):
        ledger.bill(name(0))


def test_a_graph_with_a_small_component_or_a_wrapping_field_makes_no_ledger() -> None:
    with pytest.raises(ConfigurationError, match="minimum group"):
        frame_of(METERS, ROUNDS, EDGES[:1])
    with pytest.raises(ConfigurationError, match="modulus"):
        Frame(("a", "b", "c"), frozenset({("a", "b"), ("b", "c")}), Window(0, 48), Field(2**31 - 1), 5000, 3)


def test_an_isolated_meter_has_a_bill_and_no_column() -> None:
    frame = Frame(
        ("a", "b", "c", "z"),
        frozenset({("a", "b"), ("b", "c")}),
        Window(0, 2),
        FIELD,
        5000,
        3,
        isolated=frozenset("z"),
    )
    ledger = Ledger(frame)
    ledger.record("z", 0, (100 - 7000) % FIELD.modulus)
    ledger.record("z", 1, 200 + 7000)
    assert ledger.bill("z").watt_hours == 300
    with pytest.raises(RefusedError, match="no column"):
        ledger.column(("z",), 0)


def test_components_are_found() -> None:
    assert components("abcde", [("a", "c"), ("d", "e"), ("e", "x")]) == (("a", "c"), ("b",), ("d", "e"))


@pytest.mark.filterwarnings("ignore::hushgrid.core.pairwise_published.UnsafeNoiseWarning")
@pytest.mark.parametrize("variant", ["hardened", "published-hashed", "published-fresh"])
def test_forty_real_homes_over_four_weeks_have_exact_bills_and_grid_sums(variant: str, shared_data: Path) -> None:
    """48-round periods. A home without a reading sends nothing: its column and its bill are absent, the others exact."""
    readings, gaps = wide_csv_readings(shared_data / REAL)
    assert readings.shape == (40, 1344)
    rng, edges = random.Random(5), circulant_edges(40, (1, 2))
    bills, columns = 0, 0
    for first in range(0, 1344, 48):
        part = readings[:, first : first + 48]
        missing = frozenset((i, j - first) for i, j in gaps if first <= j < first + 48)
        make = {
            "hardened": lambda: hardened(40),
            "published-hashed": lambda: published_hashed(rng),
            "published-fresh": lambda: published_fresh(Window(0, 48), rng),
        }[variant]()
        ledger = filled(masked_table(part, edges, make), frame_of(40, 48, edges), missing)
        found = list(everything(ledger))
        assert all(right(one, part) for one in found)
        bills += sum(isinstance(one, Bill) for one in found)
        columns += sum(isinstance(one, Column) for one in found)
        if not missing:
            ledger.double_entry(ledger.frame.groups[0])
    spoiled_bills = {(i, j // 48) for i, j in gaps}
    assert bills == 40 * 28 - len(spoiled_bills)
    assert columns == 1344 - len({j for _, j in gaps})


def test_real_gaps_are_closed_under_self_masks_and_then_every_sum_is_there(shared_data: Path) -> None:
    readings, gaps = wide_csv_readings(shared_data / REAL)
    edges = circulant_edges(40, (1, 2))
    for day in sorted({j // 48 for _, j in gaps}):
        part = readings[:, day * 48 : day * 48 + 48]
        missing = frozenset((i, j - day * 48) for i, j in gaps if j // 48 == day)
        masks = self_masks_of(40)
        table = masked_table(part, edges, hardened(40), masks)
        ledger = filled(table, frame_of(40, 48, edges, self_masks=True), missing)
        for j in range(48):
            close(ledger, table, masks, j, frozenset(i for i, gap in missing if gap == j))
        found = list(everything(ledger))
        assert len(found) == 40 + 48
        assert all(right(one, part) for one in found)
        ledger.double_entry(ledger.frame.groups[0])
