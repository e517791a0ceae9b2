"""The cast of `hushgrid experiment pairwise-cost`, and the tally of what is spent on its messages."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hushgrid.core.field import choose_modulus
from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Agreement, Identity
from hushgrid.plan.head import EpochKey, Head, PpnEntry

GRID, PERIOD, BOUND = "cost", Window(48_000, 48), 100_000
THRESHOLD, WIDTH, COLLUDERS = 3, 4, 3
#: Rounds of the period that are played: one as most of them are, and the last, which takes back all the others.
PLAYED = (PERIOD.first, PERIOD.last)


@dataclass(slots=True)
class Tally:
    """What was spent on one kind of meter. messages and wire_bytes: both directions, receipts included."""

    messages: float = 0.0
    wire_bytes: float = 0.0
    meter_seconds: float = 0.0
    receiver_seconds: float = 0.0

    def sent(self, *frames: bytes, times: float = 1.0) -> None:
        """Count frames on the wire."""
        self.messages += times * len(frames)
        self.wire_bytes += times * sum(map(len, frames))


@dataclass(slots=True)
class Stage:
    """The cast of one size: keys of meters, PPNs and a consumer, and a head that all of them know."""

    meters: int
    head: Head
    ppn_keys: list[Agreement]
    consumer: Agreement
    identities: list[Identity]
    own: list[Agreement] = field(default_factory=list)
    readings: list[int] = field(default_factory=list)


def stage(meters: int) -> Stage:
    """A grid of so many meters; degree 4, w = 4, t = 3."""
    identities = [Identity.generate() for _ in range(WIDTH + 1)]
    ppn_keys = [Agreement.generate() for _ in range(WIDTH)]
    entries = tuple(
        PpnEntry(
            id=f"ppn-{n}",
            point=n,
            operator=f"o{n}",
            identity=identity.public,
            key=EpochKey.sign(identity, GRID, 0, key.public),
        )
        for n, (identity, key) in enumerate(zip(identities, ppn_keys, strict=False), start=1)
    )
    head = Head(
        grid=GRID, version=1, previous=b"", epoch=0, valid_from_round=PERIOD.first, interval_seconds=1800,
        threshold=THRESHOLD, width=WIDTH, modulus=choose_modulus(meters, PERIOD.rounds, BOUND), slots=1,
        reading_bound_watt_hours=BOUND, recovery=Recovery.AGREE, minimum_contributors=3, coverage_floor_fraction=0.8,
        ppns=entries, meters=meters, parts=1, parts_root=bytes(32),
    )  # fmt: skip
    own = [Agreement.generate() for _ in range(meters)]
    readings = [secrets.randbelow(5001) for _ in range(meters)]
    return Stage(meters, head, ppn_keys, Agreement.generate(), identities, own, readings)


class _Clock:
    """CPU seconds of this process, added to one field of a tally."""

    def __init__(self, add: Callable[[float], None]) -> None:
        self._add = add

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self._add(time.process_time() - self._began)


def at_the_meter(tally: Tally, share: float = 1.0) -> _Clock:
    """A block whose CPU time is a meter's. share: how often it counts."""

    def add(seconds: float) -> None:
        tally.meter_seconds += share * seconds

    return _Clock(add)


def at_the_receiver(tally: Tally, share: float = 1.0) -> _Clock:
    """A block whose CPU time is the PPNs' or the consumer's."""

    def add(seconds: float) -> None:
        tally.receiver_seconds += share * seconds

    return _Clock(add)


def weight(round_number: int) -> float:
    """How many rounds of the period a played one stands for."""
    return 1.0 if round_number == PERIOD.last else PERIOD.rounds - 1.0
