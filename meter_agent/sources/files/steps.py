"""Whether readings are as long as they are taken for. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby, pairwise

from hushgrid.errors import ConfigurationError

#: So many steps between readings, and none of them a round, show that a meter's readings are of something longer.
_ENOUGH_STEPS = 4
#: So many longer steps of one length, one after the other, are no readings that happen to be missing.
_ENOUGH_IN_A_ROW = 12


def longer_step(numbers: Iterable[int]) -> int | None:
    """The step that readings really have, at least for a while, where it is more than 1; numbers: ascending."""
    steps = [later - earlier for earlier, later in pairwise(numbers)]
    counted = Counter(steps)
    if len(steps) >= _ENOUGH_STEPS and 1 not in counted:
        usual = min(counted, key=lambda step: (-counted[step], step))
        if 2 * counted[usual] > len(steps):
            return usual
    for step, run in groupby(steps):
        if step > 1 and sum(1 for _ in run) >= _ENOUGH_IN_A_ROW:
            return step
    return None


def check_step(origin: str, meter: str, rounds: Mapping[int, int | None], interval_seconds: int) -> None:
    """Whether a meter's readings are of the grid's rounds: ConfigurationError naming the meter and its step.

    An hour's energy under the name of its first half hour would be a wrong reading and a gap, and nobody would be told. The
    usual step between readings decides, once there are enough of them, and so does a long run of longer steps; what a meter
    lacks now and then changes nothing.
    """
    step = longer_step(sorted(number for number, watt_hours in rounds.items() if watt_hours is not None))
    if step is not None:
        raise ConfigurationError(
            f"{origin}: meter {meter} has readings every {step * interval_seconds} s, the grid's rounds last "
            f"{interval_seconds} s"
        )
