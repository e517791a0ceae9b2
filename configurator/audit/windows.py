"""When rules and bills meet in time (docs/configurator.md, section Time).

The windows of a rule with length k are [m k, m k + k). What a rule can contribute to a combination jumps only at multiples of
k, so at a round b only the rules whose k divides b can make a jump. Two facts carry the audit:

- a combination that is not zero in some round is, there, a combination of the cohorts of the rules that cover the round;
- rules that share two window boundaries can be combined, with any coefficients, over the span between them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from configurator.audit.cohorts import Mask
from configurator.audit.modular import rank
from hushgrid.errors import RefusedError

#: Kinds of round boundary above which rules are refused.
MOST_KINDS = 4096
#: Rows and columns above which `singles_out` is not computed.
_LARGEST_ROWS = 400
_LARGEST_COLUMNS = 20_000


class Timed(Protocol):
    """A rule, as far as time goes: windows of k rounds inside [from_round, until_round)."""

    @property
    def window_rounds(self) -> int: ...
    @property
    def from_round(self) -> int: ...
    @property
    def until_round(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """The boundaries of a rule's whole windows: first, first + k, ..., last (infinity for a rule without end)."""

    first: int
    last: float


def stretch(rule: Timed) -> Stretch:
    """The rounds a rule's whole windows cover; last <= first when there is none."""
    first = -(-rule.from_round // rule.window_rounds) * rule.window_rounds
    if rule.until_round is None:
        return Stretch(first, math.inf)
    return Stretch(first, rule.until_round // rule.window_rounds * rule.window_rounds)


def together(
    rules: Sequence[Timed], new: Sequence[Timed], *, apart: Sequence[bool], touching: bool = False
) -> list[list[int]]:
    """Positions of the rules that cover one round together with some new rule.

    Of two such sets that agree on the rules marked `apart` only the larger counts. touching: a rule's last boundary
    counts as covered too.
    """
    spans = [stretch(rule) for rule in rules]
    changes = {span.first for span in spans} | {int(span.last) for span in spans if span.last < math.inf}
    found: set[frozenset[int]] = set()
    for own in {stretch(rule) for rule in new}:
        for at in (change for change in changes if own.first <= change < own.last + touching):
            found.add(frozenset(n for n, s in enumerate(spans) if s.first <= at < s.last + touching))
    marked = frozenset(itertools.compress(range(len(rules)), apart))
    largest: list[frozenset[int]] = []
    for met in sorted(found, key=len, reverse=True):
        if not any(met < larger and met & marked == larger & marked for larger in largest):
            largest.append(met)
    return [sorted(met) for met in largest]


def share_two_boundaries(rules: Sequence[Timed]) -> bool:
    """Whether every combination of these rules' cohorts is realised over some span."""
    spans = [stretch(rule) for rule in rules]
    step = math.lcm(*(rule.window_rounds for rule in rules))
    first = -(-max(span.first for span in spans) // step) * step
    return first + step <= min(span.last for span in spans)


def prime_powers(number: int) -> Iterator[int]:
    """The prime powers p^e that divide a number while p^(e+1) does not."""
    prime = 2
    while number > 1:
        if prime * prime > number:
            prime = number
        power = 1
        while number % prime == 0:
            number //= prime
            power *= prime
        if power > 1:
            yield power
        prime += 1


def boundary_kinds(periods: Iterable[int], windows: Iterable[int]) -> list[tuple[int, ...]]:
    """The kinds of round boundary that billing periods tell apart, one for every set of windows that fit; () comes first.

    A kind is a tuple of prime powers that do not divide the boundary: a period P is not a boundary exactly when some
    prime power of P does not divide it. The empty tuple is the boundary of everything. windows: the lengths that occur, of
    which two kinds are one when the same ones fit. RefusedError when there are more than `MOST_KINDS`.
    """
    ending = sorted(set(periods))
    lengths = sorted({*ending, *windows})
    kinds: dict[int, tuple[int, ...]] = {(1 << len(lengths)) - 1: ()}
    for period in ending:
        known = list(kinds.items())
        for power in prime_powers(period):
            multiples = sum(1 << at for at, length in enumerate(lengths) if length % power == 0)
            for fitting, kind in known:
                kinds.setdefault(fitting & ~multiples, (*kind, power))
            if len(kinds) > MOST_KINDS:
                raise RefusedError(f"the billing periods tell more than {MOST_KINDS} kinds of round apart")
    return list(kinds.values())


def fits(window_rounds: int, kind: Sequence[int]) -> bool:
    """Whether windows of this length can have a boundary of this kind."""
    return all(window_rounds % power for power in kind)


def singles_out(rules: Sequence[Timed], cohorts: Sequence[Mask], bills: Sequence[bool], meter: int) -> bool:
    """Whether these rules determine something of one meter that is not one of its own bills: exact, for small cases.

    cohorts: shape (columns,) each, over classes of meters or meters; meter: a position there. Rows are all windows up to
    the last change plus twice the common multiple of the windows, after which everything repeats; columns are (meter,
    time between two boundaries). Where that is too large the answer is True: refused rather than hoped.
    """
    spans = [stretch(rule) for rule in rules]
    step = math.lcm(*(rule.window_rounds for rule in rules))
    changes = [s.first for s in spans] + [int(s.last) for s in spans if s.last < math.inf]
    horizon = (-(-max(changes) // step) + 2) * step
    ends = [min(int(s.last), horizon) if s.last < math.inf else horizon for s in spans]
    windows = [
        (number, start)
        for number, (rule, span, end) in enumerate(zip(rules, spans, ends, strict=True))
        if (end - span.first) // rule.window_rounds <= _LARGEST_ROWS
        for start in range(span.first, end, rule.window_rounds)
    ]
    complete = sum(max(0, e - s.first) // r.window_rounds for r, s, e in zip(rules, spans, ends, strict=True))
    cuts = sorted({start for _, start in windows} | {start + rules[number].window_rounds for number, start in windows})
    piece_at = {cut: at for at, cut in enumerate(cuts)}
    pieces = np.arange(max(0, len(cuts) - 1))
    if complete > min(len(windows), _LARGEST_ROWS) or pieces.size * len(cohorts[0]) > _LARGEST_COLUMNS:
        return True
    matrix = np.zeros((len(cohorts[0]), pieces.size, len(windows)), dtype=np.bool_)
    for row, (number, start) in enumerate(windows):
        inside = (pieces >= piece_at[start]) & (pieces < piece_at[start + rules[number].window_rounds])
        matrix[:, :, row] = cohorts[number][:, None] & inside[None, :]
    own_bills = np.array([bills[number] and cohorts[number][meter] for number, _ in windows], dtype=np.bool_)
    outside = np.delete(matrix, meter, axis=0).reshape(-1, len(windows))
    return rank(matrix.reshape(-1, len(windows))) - rank(outside) > rank(matrix[meter][:, own_bills])
