"""A clock for tests that moves when told."""

from __future__ import annotations


class FakeClock:
    """Unix seconds that stand still until advanced. Callable, for whoever takes `now` as a function."""

    def __init__(self, now_seconds: float = 0.0) -> None:
        self._now_seconds = now_seconds

    def __call__(self) -> float:
        return self._now_seconds

    def now(self) -> float:
        """The time in Unix seconds."""
        return self._now_seconds

    def advance(self, seconds: float) -> float:
        """Let time pass; returns the new time. ValueError for a step back."""
        if seconds < 0:
            raise ValueError("this clock does not go back")
        self._now_seconds += seconds
        return self._now_seconds
