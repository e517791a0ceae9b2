"""How much anybody may ask in how much time: a bucket each, which fills evenly. No clock: the instant is an argument."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict


class Buckets:
    """One bucket for each key; those that were not used longest are forgotten, which fills them."""

    def __init__(self, *, per_minute: int, burst: int, most: int = 100_000) -> None:
        """burst: how much a full bucket holds; most: buckets that are remembered."""
        self._rate, self._burst, self._most = per_minute / 60, burst, most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str, now_seconds: float) -> int | None:
        """None where one was taken; else after how many whole seconds there is one again."""
        with self._lock:
            left, at = self._left.pop(key, (float(self._burst), now_seconds))
            left = min(float(self._burst), left + max(0.0, now_seconds - at) * self._rate)
            allowed = left >= 1
            self._left[key] = (left - 1 if allowed else left, now_seconds)
            while len(self._left) > self._most:
                self._left.popitem(last=False)
            return None if allowed else max(1, math.ceil((1 - left) / self._rate))
