"""Whether a meter speaks often enough for its rounds to have readings. Pure.

The register at a boundary is the first sample after it, at most the tolerance late. So a meter that speaks less often than
that must speak just after every boundary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

#: By so much of their distance samples may come early or late.
_JITTER_FRACTION = 0.02


@dataclass(frozen=True, slots=True)
class Rhythm:
    """What was said. enough: None when that cannot be told yet."""

    enough: bool | None
    text: str


def rhythm(
    at_seconds: Sequence[float], until_seconds: float, tolerance_seconds: float, interval_seconds: int | None
) -> Rhythm:
    """at_seconds: when sound samples came, in UTC, at least one; until_seconds: how long was listened. interval_seconds: of the
    installation's rounds, None where no plan says it.
    """
    apart = max((later - earlier for earlier, later in pairwise(at_seconds)), default=0.0)
    silent = until_seconds - at_seconds[-1]
    if len(at_seconds) > 1 and apart <= tolerance_seconds:
        return Rhythm(True, f"a sample every {apart:.0f} s")
    allowed = f"the first of a round may come {tolerance_seconds:.0f} s late (registers.tolerance_seconds)"
    if len(at_seconds) == 1:
        if silent <= tolerance_seconds:
            return Rhythm(None, f"one sample, no other within {silent:.0f} s; {allowed}")
        apart = silent
        said = f"one sample, no other within {silent:.0f} s"
    else:
        said = f"a sample every {apart:.0f} s"
    if interval_seconds is None:
        return Rhythm(
            False, f"{said}, and {allowed}: rounds would have no reading unless it comes just after they begin"
        )
    late = min(at % interval_seconds for at in at_seconds)
    steady = len(at_seconds) == 1 or abs(interval_seconds / apart - round(interval_seconds / apart)) <= _JITTER_FRACTION
    if late <= tolerance_seconds and steady:
        return Rhythm(True, f"{said}, {late:.0f} s after a round of {interval_seconds} s begins")
    share = min(1.0, tolerance_seconds / apart)
    return Rhythm(
        False,
        f"{said}, {late:.0f} s after a round of {interval_seconds} s began, and {allowed}: "
        f"about {share:.0%} of all rounds would have a reading",
    )
