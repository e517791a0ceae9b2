"""A billing period is masked under one plan: that of its first round."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from support.builders import head

from hushgrid.core.schedule import Window, window_of
from hushgrid.plan.book import PlanBook
from hushgrid.plan.periods import stream_in_force


@dataclass(frozen=True)
class Terms:
    version: int
    period_rounds: int = 4
    from_round: int = 0
    until_round: int = 1000

    def period_of(self, round_number):
        return window_of(round_number, self.period_rounds)

    def covers(self, period):
        return self.from_round <= period.first and period.last < self.until_round


def found(streams, round_number, valid_from=(0, 10, 21)):
    """streams: what plans 1, 2, ... say, valid from rounds 0, 10 and 21."""
    plans = PlanBook()
    for version, _ in enumerate(streams, start=1):
        plans.add(head(version, valid_from_round=valid_from[version - 1]), None)
    by_version = dict(enumerate(streams, start=1))
    return stream_in_force(plans, by_version.get, round_number)


@pytest.mark.parametrize(
    ("round_number", "version", "first"),
    [(0, 1, 0), (7, 1, 4), (8, 1, 8), (10, 1, 8), (11, 1, 8), (12, 2, 12), (20, 2, 20), (22, 2, 20), (24, 3, 24)],
)
def test_a_round_is_masked_under_the_plan_of_its_periods_first_round(round_number, version, first):
    assert found([Terms(1), Terms(2), Terms(3)], round_number) == (Terms(version), Window(first, 4))


@pytest.mark.parametrize(
    ("why", "streams", "round_number"),
    [
        ("no plan yet", [], 5),
        ("before the first plan", [Terms(1)], -1),
        ("no word of the stream now", [Terms(1), None], 10),
        ("no word of it at the period's first round", [None, Terms(2)], 10),
        ("the length of periods changed within", [Terms(1, period_rounds=2), Terms(2)], 10),
        ("the period begins before the stream", [Terms(1, from_round=9), Terms(2, from_round=9)], 10),
        ("the period ends after the stream", [Terms(1, until_round=11)], 9),
    ],
)
def test_outside_a_whole_period_nothing_is_masked(why, streams, round_number):
    assert found(streams, round_number) is None, why


def test_the_last_round_of_a_stream_may_be_the_last_of_a_period():
    assert found([Terms(1, from_round=8, until_round=12)], 11) == (Terms(1, 4, 8, 12), Window(8, 4))
