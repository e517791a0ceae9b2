"""Table I of the paper: the greedy for minPPN and the exact solver on random instances, and what the greedy's start does.

An instance is |C| cohort sizes M_c, binomial(|P|, 0.5) as in section V of the paper; w = t = 4 and L = alpha |P|. Only the M_c
enter the problem, so the membership itself is not drawn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from configurator.placement import exact as exact_placement
from configurator.placement.greedy import PpnCapacity, Problem, Receiver, place_greedily
from hushgrid.tables import Cell, Sheet, Style, numbers

#: Shares and threshold of the paper's experiments.
WIDTH = 4
MONITORED_FRACTION = 0.5

#: The alpha of the paper's Table I.
PUBLISHED_ALPHA = 8.0
#: The paper's Table I: (consumers, producers) -> greedy average, maximum and minimum, greedy seconds, optimum, ILP seconds.
PUBLISHED: Mapping[tuple[int, int], tuple[float, int, int, float, int | None, float | None]] = {
    (10, 100): (4, 4, 4, 0.0199, 4, 2.1),
    (10, 1000): (4, 4, 4, 0.0967, 4, 49.0),
    (10, 10000): (4, 4, 4, 0.9976, 4, 2700.0),
    (50, 100): (13.4, 14, 13, 0.0298, 13, 294.7),
    (50, 1000): (13.7, 14, 13, 0.2277, 13, 158400.0),
    (50, 10000): (14.5, 15, 14, 2.7, None, None),
}


@dataclass(frozen=True, slots=True)
class PlacementRow:
    """One row of the table; seconds are medians per instance.

    exact_: the best found by the exact solver. exact_proven: instances with a proof that nothing is better. bound_average: no
    placement uses fewer, average over instances; where all are proven, what was found. gap_: how far the greedy is above the bound;
    exact_gap_: how far the best found is above it, at most.
    """

    consumers: int
    producers: int
    alpha: float
    instances: int
    start_ppns: int
    greedy_average: float
    greedy_max: int
    greedy_min: int
    greedy_seconds: float
    exact_average: float
    exact_max: int
    exact_min: int
    exact_proven: int
    exact_seconds: float
    exact_seconds_max: float
    bound_average: float
    bound_max: int
    bound_min: int
    gap_average_fraction: float
    gap_max_fraction: float
    exact_gap_average_fraction: float
    exact_gap_max_fraction: float

    @property
    def proven(self) -> bool:
        """Whether every instance has its proof."""
        return self.exact_proven == self.instances

    @property
    def published(self) -> tuple[float, int, int, float, int | None, float | None] | None:
        """The paper's row of `PUBLISHED`; None where it has none, as for every other alpha."""
        return PUBLISHED.get((self.consumers, self.producers)) if self.alpha == PUBLISHED_ALPHA else None


@dataclass(frozen=True, slots=True)
class StartPoint:
    """The greedy's average over instances, from one starting number of PPNs, with one order of the receivers."""

    consumers: int
    producers: int
    receiver: str
    start_ppns: int
    greedy_average: float
    greedy_max: int
    greedy_min: int


def instances(consumers: int, producers: int, *, alpha: float, count: int, seed: int, ppns: int) -> Iterator[Problem]:
    """Random instances; the same for the same arguments, whatever the other rows are."""
    rng = np.random.default_rng([seed, consumers, producers])
    capacity = int(alpha * producers)
    for _ in range(count):
        sizes = rng.binomial(producers, MONITORED_FRACTION, consumers)
        demands = {f"consumer-{number}": int(size) for number, size in enumerate(sizes, 1)}
        yield Problem(demands, [PpnCapacity(number, capacity) for number in range(1, ppns + 1)], WIDTH, WIDTH)


def most_ppns(consumers: int, alpha: float, start_ppns: int) -> int:
    """PPNs that exist in an instance: enough for any start and for a wasteful phase 1."""
    return max(start_ppns, WIDTH, int(2 * WIDTH * consumers / alpha) + WIDTH)


def measure(
    consumers: int, producers: int, *, alpha: float, count: int, seed: int, start_ppns: int, time_limit_seconds: float
) -> PlacementRow:
    """One row of Table I."""
    greedy, greedy_seconds, exact, exact_seconds = [], [], [], []
    ppns = most_ppns(consumers, alpha, start_ppns)
    for problem in instances(consumers, producers, alpha=alpha, count=count, seed=seed, ppns=ppns):
        began = time.perf_counter()
        greedy.append(place_greedily(problem, start_ppns=start_ppns).ppn_count)
        greedy_seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
        exact.append(
            exact_placement.place(
                problem, clock=time.monotonic, time_limit_seconds=time_limit_seconds, start_ppns=start_ppns
            )
        )
        exact_seconds.append(time.perf_counter() - began)
    counts = [placement.ppn_count for placement in exact]
    bounds = [placement.lower_bound for placement in exact]
    gaps = [found / bound - 1 for found, bound in zip(greedy, bounds, strict=True)]
    exact_gaps = [found / bound - 1 for found, bound in zip(counts, bounds, strict=True)]
    return PlacementRow(
        consumers=consumers,
        producers=producers,
        alpha=alpha,
        instances=count,
        start_ppns=start_ppns,
        greedy_average=statistics.fmean(greedy),
        greedy_max=max(greedy),
        greedy_min=min(greedy),
        greedy_seconds=statistics.median(greedy_seconds),
        exact_average=statistics.fmean(counts),
        exact_max=max(counts),
        exact_min=min(counts),
        exact_proven=sum(placement.proven for placement in exact),
        exact_seconds=statistics.median(exact_seconds),
        exact_seconds_max=max(exact_seconds),
        bound_average=statistics.fmean(bounds),
        bound_max=max(bounds),
        bound_min=min(bounds),
        gap_average_fraction=statistics.fmean(gaps),
        gap_max_fraction=max(gaps),
        exact_gap_average_fraction=statistics.fmean(exact_gaps),
        exact_gap_max_fraction=max(exact_gaps),
    )


def influence_of_start(
    consumers: int, producers: int, *, alpha: float, count: int, seed: int, starts: Sequence[int]
) -> list[StartPoint]:
    """How many PPNs the greedy ends with, by how many it begins with and in which order it offers shares to receivers."""
    found = []
    for receiver in Receiver:
        for start in starts:
            counts = [
                place_greedily(problem, start_ppns=start, receiver=receiver).ppn_count
                for problem in instances(consumers, producers, alpha=alpha, count=count, seed=seed, ppns=max(starts))
            ]
            average = statistics.fmean(counts)
            found.append(StartPoint(consumers, producers, receiver.value, start, average, max(counts), min(counts)))
    return found


def sheet(rows: Sequence[PlacementRow]) -> Sheet:
    """Table I, ours beside the paper's."""
    start = rows[0].start_ppns if rows else 0
    out = Sheet(
        f"Table I: PPNs needed (w = t = {WIDTH}); greedy (min-max) from {start} PPNs",
        numbers(
            "|C|",
            "|P|",
            "greedy",
            "paper",
            "greedy time",
            "best found",
            "bound",
            "proven",
            "exact time",
            "greedy's gap",
        ),
        "bound: no placement uses fewer; greedy's gap: how far it is above the bound; best found: by the exact solver, the optimum "
        "where it is proven",
    )
    for row in rows:
        paper = row.published
        out.add(
            str(row.consumers),
            str(row.producers),
            f"{row.greedy_average:g} ({row.greedy_min}-{row.greedy_max})",
            f"{paper[0]:g} ({paper[2]}-{paper[1]})" if paper else "",
            _duration(row.greedy_seconds),
            f"{row.exact_average:g}",
            f"{row.bound_average:g}",
            Cell(_proof(row), Style.PLAIN if row.proven else Style.ODD),
            _duration(row.exact_seconds),
            f"{row.gap_average_fraction:.1%}",
        )
    return out


def unproven(rows: Sequence[PlacementRow]) -> list[str]:
    """A sentence about each row in which something is not proven."""
    return [
        f"|C| = {row.consumers}, |P| = {row.producers}: {row.instances - row.exact_proven} of {row.instances} not proven. The best "
        f"found is {row.exact_average:g} PPNs, the bound {row.bound_average:g}: at most {row.exact_gap_max_fraction:.1%} too many "
        "(--time-limit gives the solver longer)"
        for row in rows
        if not row.proven
    ]


def _proof(row: PlacementRow) -> str:
    if row.proven:
        return f"{row.exact_proven}/{row.instances}"
    return f"{row.exact_proven}/{row.instances}, not proven" if row.exact_proven else "not proven"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{1000 * seconds:.0f} ms"
    return f"{seconds:.2g} s"


def report_of(
    rows: Sequence[PlacementRow], starts: Sequence[StartPoint], parameters: Mapping[str, object]
) -> dict[str, object]:
    """Everything measured, with what it was measured for."""
    return {
        "parameters": dict(parameters),
        "rows": [asdict(row) | {"proven": row.proven} for row in rows],
        "starts": [asdict(point) for point in starts],
    }
