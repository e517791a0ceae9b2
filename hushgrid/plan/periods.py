"""Which plan a masked reading is under: that of the first round of its billing period (docs/protocol.md, Masked readings).

Noises cancel over a whole period, so that a period is masked under one plan from end to end, whatever comes meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from hushgrid.core.schedule import Window
from hushgrid.plan.book import PlanBook


class StreamTerms(Protocol):
    """What one plan says of one stream, to whoever masks or unmasks."""

    def period_of(self, round_number: int) -> Window:
        """The billing period of a round."""
        ...

    def covers(self, period: Window) -> bool:
        """Whether the period lies wholly inside the stream's rounds."""
        ...


Stream = TypeVar("Stream", bound=StreamTerms)


def stream_in_force(
    plans: PlanBook[Any], stream_of: Callable[[int], Stream | None], round_number: int
) -> tuple[Stream, Window] | None:
    """The stream that a round is masked under, and its billing period; None when the round is in no period.

    stream_of: what the plan of a version says of the stream, None for nothing. The round's own plan says how long periods are;
    the plan in force for the period's first round must say the same, and is the one that counts.
    """
    now = plans.in_force(round_number)
    current = stream_of(now[0].version) if now else None
    if current is None:
        return None
    period = current.period_of(round_number)
    then = plans.in_force(period.first)
    stream = stream_of(then[0].version) if then else None
    if stream is None or stream.period_of(round_number) != period or not stream.covers(period):
        return None
    return stream, period
