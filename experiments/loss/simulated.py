"""`simulated`: the decision of the configurator, the sums of the PPNs and the recovery of the consumer, over arrays of meters.

What is decided is decided by the modules that the processes run (`configurator.rounds.contributors`, `hushgrid.plan.minimum`,
`consumer_node.shares.collection`); shares are made and added by `hushgrid.core.kernels`, which a test ties to the integers of
`hushgrid.core.shamir`. Losses are drawn from a seeded generator, not from `hushgrid.conducted.loss`: a million meters would take an hour
of hashes.
`tests/simulation` plays the same modules share by share, bytes and journals included.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configurator.rounds.contributors import Roster, contributors, too_few
from consumer_node.shares.collection import Outcome, conclude
from experiments.loss.formula import Point
from experiments.loss.row import LossRow, row
from hushgrid.core import kernels
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.field import Field, choose_modulus
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window
from hushgrid.plan.head import Head
from hushgrid.plan.minimum import below_floor
from hushgrid.plan.parts import Rule
from hushgrid.statements.rounds import Contributors
from hushgrid.wire.aggregates import AggregateStatus, AggregateText

Arrived = NDArray[np.bool_]  # [point, meter]

_BOUND_WATT_HOURS = 100_000


@dataclass(slots=True)
class _Round:
    """One round at all PPNs. shares: [point, meter]; readings: Wh [meter]."""

    arrived: Arrived
    shares: kernels.Elements
    readings: NDArray[np.int64]
    coverage: Contributors
    included: NDArray[np.bool_]


@dataclass(slots=True)
class _Tally:
    messages: int = 0
    readings: int = 0
    recovered: int = 0
    windows: int = 0
    wrong: int = 0
    included: int = 0
    expected: int = 0


def simulate(point: Point, rounds: int, seed: int) -> LossRow:
    """Play rounds // window windows of one rule over all meters; the same for the same arguments."""
    began = time.perf_counter()
    stream = list(Recovery).index(point.recovery), point.meters, point.width, point.window, round(point.loss * 1e9)
    rng = np.random.default_rng([seed, *stream])
    head, rule = _plan(point)
    tally = _Tally()
    for first in range(0, rounds - point.window + 1, point.window):
        window = Window(first, point.window)
        played = {r: _play_round(point, head, rng, tally) for r in window}
        _conclude(head, rule, window, played, tally)
    return row(
        point,
        "simulated",
        tally.windows * point.window,
        tally.recovered,
        tally.recovered / tally.windows if tally.windows else 0.0,
        tally.included / tally.expected if tally.expected else float("nan"),
        tally.messages / tally.readings if tally.readings else 0.0,
        tally.wrong,
        seconds=time.perf_counter() - began,
        seed=seed,
    )


def _plan(point: Point) -> tuple[Head, Rule]:
    """A plan as far as the decisions look at it: it has no keys, since nothing is sealed here."""
    none = point.recovery is Recovery.NONE
    head = Head.model_construct(
        grid="simulated",
        version=1,
        previous=b"",
        epoch=0,
        valid_from_round=0,
        interval_seconds=1800,
        ppns=(),
        parts=0,
        parts_root=b"",
        threshold=point.threshold,
        width=point.width,
        modulus=choose_modulus(point.meters, point.window, _BOUND_WATT_HOURS),
        slots=1,
        reading_bound_watt_hours=_BOUND_WATT_HOURS,
        recovery=point.recovery,
        minimum_contributors=point.minimum,
        coverage_floor_fraction=0.0 if none else point.coverage_floor,
        meters=point.meters,
    )
    rule = Rule(
        number=1,
        name="sum",
        consumer="consumer",
        window_rounds=point.window,
        minimum_contributors=point.minimum,
        points=tuple(range(1, point.width + 1)),
        from_round=0,
    )
    return head, rule


def _play_round(point: Point, head: Head, rng: np.random.Generator, tally: _Tally) -> _Round:
    """Readings shared, sent through the link, asked for again, decided upon."""
    readings = rng.integers(-2_000, 8_000, point.meters)
    arrived = _send(point, rng, tally)
    field = head.field
    lifted = np.where(readings < 0, readings + field.modulus, readings).astype(np.uint64)
    points = range(1, point.width + 1)
    shares = kernels.split_array(lifted, points, point.threshold, field, rng.bytes)
    everyone = Bitmap.full(point.meters)
    rosters = {p: Roster(_bitmap(arrived[p - 1]), Bitmap(point.meters), {}) for p in points}
    coverage = contributors(head, dict.fromkeys(points, everyone), rosters)
    return _Round(arrived, shares, readings, coverage, _members(coverage.included))


def _send(point: Point, rng: np.random.Generator, tally: _Tally) -> Arrived:
    """Which share is where in the end; every send and every request is counted."""
    shape = (point.width, point.meters)
    arrived = rng.random(shape) >= point.loss
    tally.messages += arrived.size
    tally.readings += point.meters
    for _ in range(point.repairs if point.recovery is Recovery.REPAIR else 0):
        missing = np.flatnonzero(~arrived)
        if not len(missing):
            break
        asked = missing[rng.random(len(missing)) >= point.loss]
        tally.messages += len(missing) + len(asked)
        arrived.flat[asked[rng.random(len(asked)) >= point.loss]] = True
    return arrived


def _bitmap(members: NDArray[np.bool_]) -> Bitmap:
    return Bitmap.from_bytes(len(members), np.packbits(members, bitorder="little").tobytes())


def _members(bitmap: Bitmap) -> NDArray[np.bool_]:
    octets = np.frombuffer(bitmap.to_bytes(), dtype=np.uint8)
    return np.unpackbits(octets, count=bitmap.size, bitorder="little").astype(np.bool_)


def _conclude(head: Head, rule: Rule, window: Window, played: Mapping[int, _Round], tally: _Tally) -> None:
    """Every PPN's aggregate share, and what the consumer makes of them."""
    cohort = Bitmap.full(head.meters)
    reason = too_few(head, rule, cohort, window, {r: one.coverage for r, one in played.items()})
    answers = {p: _answer(head, rule, p, window, played, reason) for p in rule.points}
    found = conclude(head, rule, window, answers, waited=True)
    tally.windows += 1
    if found is None or found.outcome is not Outcome.RELEASED:
        return
    truth = sum(int(one.readings[one.included].sum()) for one in played.values())
    tally.recovered += 1
    tally.wrong += found.watt_hours != truth
    tally.included += found.included
    tally.expected += found.expected


def _answer(
    head: Head, rule: Rule, point: int, window: Window, played: Mapping[int, _Round], reason: WithheldReason
) -> AggregateText:
    """What a PPN says: the sum of its shares of the included pairs, that it lacks one, or that the window is withheld."""
    counts = [int(one.included.sum()) for one in played.values()]
    included, expected = sum(counts), head.meters * window.rounds
    if reason is WithheldReason.NONE:
        reason = below_floor(head, rule, fewest=min(counts), included=included, expected=expected)
    complete = all(one.arrived[point - 1][one.included].all() for one in played.values())
    status = AggregateStatus.RELEASED if complete else AggregateStatus.UNUSABLE
    if reason is not WithheldReason.NONE:
        status = AggregateStatus.WITHHELD
    released = status is AggregateStatus.RELEASED
    digest = hashlib.sha256(b"".join(np.packbits(one.included).tobytes() for one in played.values())).digest()
    return AggregateText(
        status=status,
        reason=reason,
        window_rounds=window.rounds,
        expected=expected,
        included=included,
        gaps=0,
        lost=expected - included,
        inconsistent=0,
        meters=int(np.logical_or.reduce([one.included for one in played.values()]).sum()),
        repaired=0,
        digest=digest if released else bytes(32),
        elements=(_sum(head.field, point, played) if released else 0,),
    )


def _sum(field: Field, point: int, played: Mapping[int, _Round]) -> int:
    parts = (kernels.sum_elements(one.shares[point - 1][one.included], field) for one in played.values())
    return sum(parts) % field.modulus
