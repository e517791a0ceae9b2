"""Whether a round is frozen, asked for again, settled: every case by hand, no network and no disk."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hushgrid.core.bitmap import Bitmap
from hushgrid.core.recovery import Recovery
from ppn_node import freezing
from ppn_node.freezing import Standing, Step
from ppn_node.intake import Admission
from ppn_node.repair import RepairStep, Turn
from ppn_node.shares.values import RoundState

EXPECTED = Bitmap.of(4, {0, 1, 2})
INCLUDED = Bitmap.of(4, {1, 2, 3})
OPEN = Standing(RoundState.OPEN, Recovery.REPAIR)
FROZEN = Standing(RoundState.FROZEN, Recovery.REPAIR)
DECIDED = Standing(RoundState.DECIDED, Recovery.REPAIR, INCLUDED)
RELEASED = Standing(RoundState.RELEASED, Recovery.REPAIR)


@pytest.mark.parametrize("lacks", [False, True])
def test_without_recovery_a_round_freezes_at_its_end_and_is_closed(lacks):
    assert freezing.at_its_end(Recovery.NONE, lacks=lacks) is Step.FREEZE_AND_CLOSE


@pytest.mark.parametrize("recovery", [Recovery.AGREE, Recovery.REPAIR])
def test_with_recovery_a_round_freezes_at_its_end_only_when_nothing_is_missing(recovery):
    assert freezing.at_its_end(recovery, lacks=False) is Step.FREEZE
    assert freezing.at_its_end(recovery, lacks=True) is Step.REPAIR


def test_only_open_rounds_that_are_not_waited_for_come_to_their_end():
    states = {10: RoundState.RELEASED, 11: RoundState.FROZEN, 12: RoundState.OPEN, 13: RoundState.OPEN}
    assert freezing.over(states, states.__getitem__, lambda r: r == 12) == [13]


@pytest.mark.parametrize("state", RoundState)
def test_while_something_is_missing_it_is_waited_for_and_asked_for(state):
    assert freezing.in_repair(state, RepairStep(Turn.WAIT)) is Step.WAIT
    assert freezing.in_repair(state, RepairStep(Turn.ASK, 1)) is Step.ASK


@pytest.mark.parametrize("repair", [None, RepairStep(Turn.OVER)])
@pytest.mark.parametrize(
    ("state", "step"),
    [
        (RoundState.OPEN, Step.FREEZE),
        (RoundState.FROZEN, Step.SETTLE),
        (RoundState.ROSTERED, Step.SETTLE),
        (RoundState.DECIDED, Step.SETTLE),
        (RoundState.RELEASED, Step.END),
    ],
)
def test_when_nothing_is_missing_or_it_is_given_up_the_round_goes_on(state, step, repair):
    assert freezing.in_repair(state, repair) is step


def test_after_a_restart_closings_are_repeated_and_included_shares_fetched():
    assert freezing.after_a_restart(replace(FROZEN, recovery=Recovery.NONE)) is Step.FREEZE_AND_CLOSE
    assert freezing.after_a_restart(FROZEN) is Step.WAIT
    assert freezing.after_a_restart(DECIDED) is Step.REPAIR


def test_included_shares_are_fetched_with_any_recovery_but_none():
    assert freezing.once_decided(Recovery.NONE) is Step.WAIT
    assert freezing.once_decided(Recovery.AGREE) is Step.REPAIR


@pytest.mark.parametrize(
    ("standing", "number", "admission"),
    [
        (OPEN, 0, Admission.TAKEN),
        (replace(OPEN, recovery=Recovery.NONE), 0, Admission.TAKEN),
        (FROZEN, 0, Admission.NOT_YET),
        (replace(FROZEN, recovery=Recovery.NONE), 0, Admission.CLOSED),
        (DECIDED, 0, Admission.CLOSED),
        (DECIDED, 1, Admission.TAKEN),
        (replace(DECIDED, given_up=True), 1, Admission.CLOSED),
        (RELEASED, 1, Admission.CLOSED),
    ],
)
def test_a_share_counts_while_the_round_is_open_and_later_only_when_it_is_included(standing, number, admission):
    assert freezing.takes(standing, number) is admission


@pytest.mark.parametrize(
    ("standing", "held", "lacks"),
    [
        (OPEN, {0, 1}, True),
        (OPEN, {0, 1, 2}, False),
        (FROZEN, set(), False),
        (DECIDED, {0, 1}, True),
        (DECIDED, {1, 2}, False),  # 0 is not included, 3 is another PPN's
        (replace(DECIDED, given_up=True), set(), False),
        (RELEASED, set(), False),
    ],
)
def test_shares_are_waited_for_as_long_as_they_would_count(standing, held, lacks):
    assert freezing.lacks(standing, EXPECTED, held) is lacks


def test_a_round_is_settled_when_nothing_of_it_is_waited_for():
    assert not freezing.is_settled(DECIDED, lacks=True)
    assert freezing.is_settled(DECIDED, lacks=False)
    assert freezing.is_settled(replace(DECIDED, given_up=True), lacks=True)
    assert freezing.is_settled(replace(DECIDED, recovery=Recovery.NONE), lacks=True)
