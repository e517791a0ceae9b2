"""What the last steps tell of the curvature that Gauss-Newton leaves out.

H' W H is not the whole curvature of J: where measurements contradict each other and h is bent, the rest of it makes every step too long or
too short. Two exact sums that differ by more than they may, as an example, leave the difference to losses, which are bent. So the pull,
half of how fast J falls, is compared before and after each step, and the next step is that of limited-memory BFGS (Nocedal 1980), begun
with the (H' W H)^-1 of its own state.
"""

from __future__ import annotations

import numpy as np

from grid_operator.arrays import Floats
from grid_operator.estimation.gain import NormalEquations

#: So many steps are remembered.
_REMEMBERED = 10
#: A step that keeps more than this part of the last pull along the last step comes to no end by itself soon.
_SLOW = 0.5
#: No step goes farther than so many times Gauss-Newton's: beyond it no memory reaches.
_FARTHEST = 4.0
#: A pull that fell by less along a step, in parts of both lengths, tells nothing.
_LEAST = 1e-10


class Curvature:
    """Of some slots, from the first step of their solution on."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Floats, Floats, Floats]] = []
        self._last: tuple[Floats, Floats, Floats] | None = None
        self._slow: np.typing.NDArray[np.bool_] | None = None

    def step(self, equations: NormalEquations) -> Floats:
        """dx, (slots, states): Gauss-Newton's, and where that has been slow once, what is remembered makes of it."""
        plain, pull = equations.step(), equations.pull()
        step = plain
        if self._last is not None:
            before, pulled, taken = self._last
            self._remember(taken, pulled - pull)
            slow = np.abs(_along(before, pull)) > _SLOW * _along(before, pulled)
            self._slow = slow if self._slow is None else self._slow | slow
            if self._slow.any():
                bent = self._bent(equations, pull)
                reach = _FARTHEST * np.abs(plain).max(axis=1) / np.maximum(np.abs(bent).max(axis=1), 1e-300)
                better = self._slow & (_along(bent, pull) > 0)
                step = np.where(better[:, None], np.minimum(reach, 1.0)[:, None] * bent, plain)
        self._last = plain, pull, step
        return step

    def took(self, step: Floats) -> None:
        """What became of the last step, halved or not."""
        if self._last is not None:
            self._last = *self._last[:2], step

    def _remember(self, taken: Floats, change: Floats) -> None:
        along = _along(taken, change)
        told = along > _LEAST * np.sqrt(_along(taken, taken) * _along(change, change))
        self._pairs = [
            *self._pairs[1 - _REMEMBERED :],
            (taken, change, np.where(told, 1 / np.where(told, along, 1), 0)),
        ]

    def _bent(self, equations: NormalEquations, pull: Floats) -> Floats:
        """The two loops of limited-memory BFGS."""
        parts = []
        for taken, change, inverse in reversed(self._pairs):
            parts.append(inverse * _along(taken, pull))
            pull = pull - parts[-1][:, None] * change
        step = equations.step_of(pull)
        for (taken, change, inverse), part in zip(self._pairs, reversed(parts), strict=True):
            step = step + (part - inverse * _along(change, step))[:, None] * taken
        return step


def _along(one: Floats, other: Floats) -> Floats:
    """(slots,)"""
    return np.asarray(np.einsum("si,si->s", one, other))
