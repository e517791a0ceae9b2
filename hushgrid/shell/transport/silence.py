"""Which subscriptions have brought nothing for so long that they are to be made anew: nobody has to believe that a broker delivers.

Seen with NATS 2.9.10, three nodes: after one was killed, one subscription of a session that is otherwise well may bring nothing more.
Whoever made it cannot know, and a reconnection does not help. Unsubscribed and subscribed anew it goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

#: How long a subscription may bring nothing, where nobody says otherwise.
SILENCE_SECONDS = 1800.0
#: A subscription that brings nothing even so is made anew ever more seldom, down to this part of its first pace.
_MOST_PAUSES = 16


@dataclass(slots=True)
class _Quiet:
    """since: seconds of the caller's clock; pause: seconds of silence until it is made anew."""

    since: float
    pause: float


class Subscriptions(AbstractSet[str]):
    """What one connection has subscribed to. silence_seconds: how long a subscription may bring nothing."""

    def __init__(self, silence_seconds: float) -> None:
        self._silence_seconds = silence_seconds
        self._quiet: dict[str, _Quiet] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._quiet

    def __iter__(self) -> Iterator[str]:
        return iter(self._quiet)

    def __len__(self) -> int:
        return len(self._quiet)

    def made(self, filters: Iterable[str], now: float) -> None:
        """They stand from now on; one that stood before is patient for four times as long as then."""
        for name in filters:
            known = self._quiet.get(name)
            pause = self._silence_seconds if known is None else known.pause * 4
            self._quiet[name] = _Quiet(now, min(pause, _MOST_PAUSES * self._silence_seconds))

    def ended(self, filters: Iterable[str]) -> None:
        """They stand no longer."""
        for name in filters:
            self._quiet.pop(name, None)

    def heard(self, topic: str, now: float) -> None:
        """A message that was not retained came: what may have brought it works."""
        found = self._quiet.get(f"{topic.rpartition('/')[0]}/+")
        if found is not None:
            self._works(found, now)
            return
        for name, quiet in self._quiet.items():
            if not name.endswith("/+"):  # of another form: which of these it was does not matter
                self._works(quiet, now)

    def _works(self, quiet: _Quiet, now: float) -> None:
        quiet.since, quiet.pause = now, self._silence_seconds

    def silent(self, wanted: Collection[str], now: float) -> list[str]:
        """Those of `wanted` that are to be made anew."""
        return [name for name, quiet in self._quiet.items() if name in wanted and now - quiet.since >= quiet.pause]

    def seconds_to_next(self, now: float) -> float:
        """Until the next one may be silent for too long."""
        soonest = min(
            (quiet.since + quiet.pause for quiet in self._quiet.values()), default=now + self._silence_seconds
        )
        return max(1.0, soonest - now)
