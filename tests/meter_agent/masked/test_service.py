"""Masked readings at a station: what is masked once, what a receipt lets go of, what a closing opens, and what stays shut."""

from __future__ import annotations

import itertools

import pytest
from support.builders import FIELD

from hushgrid.core.sealing import Identity
from hushgrid.core.shamir import recombine
from hushgrid.errors import MessageError, RejectReason
from hushgrid.wire.masked import MaskedReceipt
from meter_agent.cover import Bare, Masked, Silent

STRANGER = Identity.from_bytes(b"x" * 32)
PLAIN = {"self_masks": False}
BOTH = {"stream": 0, "mechanism": "both", "self_masks": False}


def kept(station):
    """(round, number) of what has no receipt yet."""
    return {(one.round, one.number) for one in station.masking.journal.outstanding()}


def on_disk(station, round_number):
    """What was ever disclosed of a round by the meters of a station."""
    journal = station.masking.journal
    return [journal.answer(meter, 1, round_number) for meter in station.meters]


# Masking


async def test_a_round_is_masked_once_and_its_bytes_are_the_same_after_a_restart(street, terms):
    street.adopt(terms())
    street.here.readings = {("m0", 10): 70, ("m1", 10): 80}
    await street.through(10)
    first = street.masked(street.here)
    assert set(first) == {(10, 0), (10, 1)}
    await street.through(10)
    assert street.masked(street.here) == first
    street.here.readings = {("m0", 10): 1, ("m1", 10): 2}
    street.here.begin()
    await street.here.through(10)
    assert street.masked(street.here) == first
    assert street.here.asked == [("m0", 10), ("m1", 10)]


async def test_the_rounds_since_the_plan_began_are_masked_in_order_and_none_before(street, terms):
    street.adopt(terms())
    await street.here.through(12)
    assert street.here.asked == [(meter, r) for r in (10, 11, 12) for meter in ("m0", "m1")]
    assert set(street.masked(street.here)) == set(itertools.product([10, 11, 12], [0, 1]))


async def test_nothing_is_masked_while_the_plan_in_force_is_not_known(street, terms):
    street.adopt(terms())
    street.here.membership.current = False
    await street.here.through(10)
    assert (street.here.published, street.here.asked) == ([], [])


async def test_what_has_no_receipt_is_said_again_only_when_its_pause_is_over(street, terms):
    street.adopt(terms())
    await street.here.through(10)
    first = street.masked(street.here)
    await street.here.masking.advance()
    assert street.masked(street.here) == {}
    await street.here.through(10)
    assert street.masked(street.here) == first


@pytest.mark.parametrize("self_masks", [False, True])
async def test_no_reading_is_said_as_such_under_the_seal_and_a_reading_of_nothing_is_one(street, terms, self_masks):
    street.adopt(terms(self_masks=self_masks))
    street.here.readings = {("m0", 10): None, ("m1", 10): 0}
    await street.through(10)
    sealed = street.masked(street.here)
    assert not street.text(0, 10, sealed[10, 0]).reading
    assert street.text(1, 10, sealed[10, 1]).reading
    assert len(sealed[10, 0]) == len(sealed[10, 1])


async def test_the_masks_of_a_meter_without_a_reading_still_cancel_those_of_the_others(street, terms):
    street.adopt(terms(**PLAIN))
    for station, meter, watt_hours in (
        (street.here, "m0", None),
        (street.here, "m1", 5),
        (street.there, "m2", -70),
        (street.yonder, "m3", 900),
    ):
        station.readings[meter, 10] = watt_hours
    await street.through(10)
    masked = {}
    for station in street.stations.values():
        masked |= street.masked(station)
    elements = [street.text(number, r, sealed).elements[0] for (r, number), sealed in masked.items()]
    assert len(elements) == 4
    assert sum(elements) % FIELD.modulus == 5 - 70 + 900


async def test_a_round_without_a_reading_takes_up_nothing_of_what_is_owed(street, terms):
    street.adopt(terms())
    street.here.readings = {("m0", 10): 70, ("m0", 11): None, ("m0", 12): 50}
    await street.through(10)
    late = MaskedReceipt(1, 10, frozenset(), frozenset({0}), RejectReason.CLOSED_ROUND)
    await street.receipt(street.here, late)
    await street.through(11, 12)
    assert street.here.masking.journal.taken_up("m0", 1) == {12: 70}
    assert street.here.counters.counts == {"not counted closed-round": 1}


# Receipts


async def test_a_receipt_empties_what_it_names_and_nothing_else(street, terms):
    street.adopt(terms())
    await street.through(10, 11)
    assert kept(street.here) == {(10, 0), (10, 1), (11, 0), (11, 1)}
    await street.receipt(street.here, MaskedReceipt(1, 10, frozenset({1, 2})))
    assert kept(street.here) == {(10, 0), (11, 0), (11, 1)}
    await street.receipt(street.here, MaskedReceipt(1, 12, frozenset({0})))
    for settles in ({"held": frozenset({0})}, {"held": frozenset(), "refused": frozenset({0})}):
        with pytest.raises(MessageError) as refusal:  # of another consumer's stream
            await street.receipt(street.here, MaskedReceipt(2, 11, **settles))
        assert refusal.value.reason is RejectReason.WRONG_SENDER
    street.masked(street.here)
    await street.through(11)
    assert set(street.masked(street.here)) == kept(street.here) == {(10, 0), (11, 0), (11, 1)}
    street.here.begin()
    assert kept(street.here) == {(10, 0), (11, 0), (11, 1)}


async def test_a_receipt_signed_by_another_or_for_another_or_from_a_stranger_is_refused(street, terms):
    street.adopt(terms())
    await street.through(10)
    receipt, pseudonym = MaskedReceipt(1, 10, frozenset({0})), STRANGER.pseudonym("g", 0)
    for attempt, reason in (
        (street.receipt(street.here, receipt, signer=STRANGER), RejectReason.BAD_SIGNATURE),
        (street.receipt(street.here, receipt, addressed="there"), RejectReason.BAD_SIGNATURE),
        (street.receipt(street.here, receipt, sender=pseudonym), RejectReason.UNKNOWN_SENDER),
        (street.receipt(street.here, receipt, signer=STRANGER, sender=pseudonym), RejectReason.UNKNOWN_SENDER),
    ):
        with pytest.raises(MessageError) as refused:
            await attempt
        assert refused.value.reason is reason
    assert kept(street.here) == {(10, 0), (10, 1)}


# Openings


async def test_a_holder_opens_what_the_closing_says_of_each_neighbour_and_says_the_same_after_a_restart(street, terms):
    street.adopt(terms())
    await street.through(10, 11)
    answers = await street.ask(street.here, 11, {3})
    assert {number: street.opening(number, 11, sealed) for number, sealed in answers.items()} == {0: {3}, 1: {3}}
    street.here.begin()
    assert await street.ask(street.here, 11, {3}) == answers


async def test_what_the_holders_open_is_what_the_round_was_masked_with_after_a_restart_of_all(street, terms):
    street.adopt(terms())
    await street.through(10)
    masked, shares = {}, {number: [] for number in range(4)}
    for station, meter, watt_hours in zip(
        (street.here, street.here, street.there, street.yonder), ("m0", "m1", "m2", "m3"), (1, 20, 300, -4), strict=True
    ):
        station.readings[meter, 11] = watt_hours
    for station in street.stations.values():
        station.begin()
    await street.through(11)
    for station in street.stations.values():
        masked |= {number: sealed for (r, number), sealed in street.masked(station).items() if r == 11}
        for holder, sealed in (await street.ask(station, 11)).items():
            for about, (_, share) in street.disclosed(holder, 11, sealed).items():
                shares[about].append(share)
    self_masks = [recombine(dict(enumerate(found, 1)), 2, FIELD) for found in shares.values()]
    elements = [street.text(number, 11, sealed).elements[0] for number, sealed in masked.items()]
    assert (sum(elements) - sum(self_masks)) % FIELD.modulus == 1 + 20 + 300 - 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"graph": b"h" * 32}, RejectReason.NOT_IN_PLAN),
        ({"signer": STRANGER}, RejectReason.BAD_SIGNATURE),
    ],
    ids=["another graph", "another signer"],
)
async def test_a_closing_of_another_graph_or_not_by_the_configurator_is_refused(street, terms, changes, reason):
    street.adopt(terms())
    await street.through(10)
    with pytest.raises(MessageError) as refused:
        await street.ask(street.here, 10, **changes)
    assert refused.value.reason is reason
    assert (street.here.published, on_disk(street.here, 10)) == ([], [None, None])
    assert set(await street.ask(street.here, 10)) == {0, 1}


async def test_a_closing_of_a_stream_without_self_masks_is_refused(street, terms):
    street.adopt(terms(**PLAIN))
    await street.through(10)
    with pytest.raises(MessageError, match="not-in-plan"):
        await street.ask(street.here, 10)
    assert (street.here.published, on_disk(street.here, 10)) == ([], [None, None])


async def test_a_closing_of_a_forgotten_round_is_refused_though_it_was_answered_before(street, terms):
    street.adopt(terms())
    await street.through(*range(10, 21))
    assert await street.ask(street.here, 14)
    assert street.here.masking.let_go(20) == 0
    for absent in ((), {3}):
        with pytest.raises(MessageError, match="forgotten-round"):
            await street.ask(street.here, 14, absent)
    assert street.here.published == []
    assert set(await street.ask(street.here, 15)) == {0, 1}


async def test_a_closing_under_another_plan_than_the_periods_own_is_refused(street, terms):
    street.adopt(terms())
    street.adopt(terms(), version=2, valid_from_round=15)
    await street.through(*range(10, 16))
    with pytest.raises(MessageError, match="wrong-plan"):
        await street.ask(street.here, 15)
    assert (street.here.published, on_disk(street.here, 15)) == ([], [None, None])


async def test_a_closing_that_names_this_meter_absent_is_answered_only_after_the_round_is_masked(street, terms):
    street.adopt(terms())
    street.here.readings = {("m0", 11): 70}
    await street.through(10)
    assert set(await street.ask(street.here, 11, {0}, holders={0})) == set()
    assert on_disk(street.here, 11) == [None, None]
    await street.through(11)
    answers = await street.ask(street.here, 11, {0})
    assert {number: street.opening(number, 11, sealed) for number, sealed in answers.items()} == {0: set(), 1: {0}}
    assert kept(street.here) == {(10, 0), (10, 1), (11, 1)}, "what is left out for ever is not said again"
    await street.through(12)
    assert street.here.masking.journal.taken_up("m0", 1) == {12: 70}, "its Wh travel in the next round"


@pytest.mark.parametrize(("first", "second"), [(set(), {3}), ({3}, set())], ids=["included", "left out"])
async def test_a_second_different_closing_of_a_round_opens_nothing_more(street, terms, first, second):
    street.adopt(terms())
    await street.through(10)
    answers = await street.ask(street.here, 10, first)
    assert {number: street.opening(number, 10, sealed) for number, sealed in answers.items()} == {0: first, 1: first}
    for _ in range(2):
        assert await street.ask(street.here, 10, second) == answers
        street.here.begin()
    # also where the answer itself is gone: what it opened is known
    street.here.masking.journal._database.execute("DELETE FROM answer")
    assert await street.ask(street.here, 10, second) == {}
    assert street.here.counters.counts == {"openings refused": 2}
    assert await street.ask(street.here, 10, first) == answers


async def test_a_second_closing_that_leaves_an_included_meter_out_moves_none_of_its_watt_hours(street, terms):
    street.adopt(terms())
    street.here.readings = {("m0", 10): 70, ("m0", 11): 50}
    await street.through(10)
    answers = await street.ask(street.here, 10)
    assert await street.ask(street.here, 10, {0}) == answers
    await street.through(11)
    assert street.here.masking.journal.taken_up("m0", 1) == {}, "it is in round 10, and not in round 11 once more"


async def test_a_holder_that_has_not_heard_all_shares_discloses_nothing_yet(street, terms):
    street.adopt(terms())
    for station in street.stations.values():
        await station.through(10)
    assert await street.ask(street.here, 10) == {}
    await street.pass_pairs()
    assert set(await street.ask(street.here, 10)) == {0, 1}


async def test_a_closing_that_would_leave_a_neighbour_in_a_few_rounds_only_is_counted_and_opens_nothing(street, terms):
    street.adopt(terms())
    await street.through(10, 11, 12)
    assert set(await street.ask(street.here, 10)) == {0, 1}
    assert set(await street.ask(street.here, 11, {3})) == {0, 1}
    opened = street.here.masking.journal.rows_opened("m0", 1, range_of(street.here, 12))
    assert opened[3] == (1, 1)
    assert await street.ask(street.here, 12, {3}) == {}
    assert street.here.counters.counts == {"openings refused": 2}
    assert on_disk(street.here, 12) == [None, None]
    assert street.here.masking.journal.rows_opened("m0", 1, range_of(street.here, 12)) == opened
    assert set(await street.ask(street.here, 12, {2})) == {0, 1}, "another may still be left out once"


def range_of(station, round_number):
    """The billing period of a round."""
    return station.masking._streams.stream_of((station.meters[0], 1), round_number)[1]


# Cover


def test_a_meter_outside_of_mechanism_both_is_shared_bare(street, terms):
    assert street.here.masking.cover("m0", 10) == Bare()
    street.adopt(terms())
    assert street.here.masking.cover("m0", 10) == Bare(), "it masks, but not what it shares"
    street.adopt(terms(**BOTH), version=2, without={"m0"})
    assert street.here.masking.cover("m0", 10) == Bare()
    assert isinstance(street.here.masking.cover("m1", 10), Masked)


def test_a_meter_of_mechanism_both_is_covered_by_its_pairs_and_they_cancel_in_its_bill(street, terms):
    street.adopt(terms(**BOTH))
    covers = [street.here.masking.cover("m0", r) for r in range(10, 15)]
    assert {len(cover.terms) for cover in covers} == {3}
    for each in range(3):
        assert sum(cover.terms[each][0] for cover in covers) % FIELD.modulus == 0
    assert len({cover.terms for cover in covers}) == 5


@pytest.mark.parametrize(
    ("changes", "silent"),
    [({"from_round": 12}, range(10, 15)), ({"until_round": 18}, range(15, 20)), ({}, range(10))],
    ids=["begins within", "ends within", "before the plan"],
)
def test_in_a_period_that_it_has_no_pairs_in_a_meter_of_mechanism_both_is_silent(street, terms, changes, silent):
    street.adopt(terms(**BOTH, **changes))
    for r in range(20):
        cover = street.here.masking.cover("m0", r)
        assert isinstance(cover, Silent if r in silent or r < 10 else Masked), r


def test_a_meter_that_a_later_plan_takes_out_of_mechanism_both_stays_silent(street, terms):
    street.adopt(terms(**BOTH))
    street.adopt(terms(**BOTH), version=2, valid_from_round=15, without={"m0"})
    assert isinstance(street.here.masking.cover("m0", 14), Masked)
    assert street.here.masking.cover("m0", 15) == Silent()
    street.here.begin()
    assert street.here.masking.cover("m0", 15) == Silent()


@pytest.mark.filterwarnings("ignore::hushgrid.core.pairwise_published.UnsafeNoiseWarning")
async def test_a_meter_of_mechanism_both_is_silent_until_the_published_draws_have_come(street, terms):
    street.adopt(terms(**BOTH, variant="published", noise_span_watt_hours=1000))
    for station in street.stations.values():
        await station.through(10)
    assert street.here.masking.cover("m0", 10) == Silent()
    await street.pass_pairs()
    assert isinstance(street.here.masking.cover("m0", 10), Masked)


def test_a_meter_of_mechanism_both_without_neighbours_is_covered_by_its_own_noise(street, terms):
    street.adopt(terms(**BOTH), neighbours_of={}, isolated_epsilon="1/2")
    covers = [street.here.masking.cover("m0", r) for r in range(10, 15)]
    assert sum(cover.terms[0][0] for cover in covers) % FIELD.modulus == 0
    street.here.begin()
    assert [street.here.masking.cover("m0", r) for r in range(10, 15)] == covers


async def test_under_mechanism_both_nothing_goes_to_a_consumer(street, terms):
    street.adopt(terms(**BOTH))
    await street.through(10)
    assert (street.here.published, street.here.asked, kept(street.here)) == ([], [], set())
