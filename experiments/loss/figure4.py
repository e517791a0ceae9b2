"""`hushgrid experiment figure4`: the PPNs that loss costs in the paper's model, and what they are with repair.

For |C| consumers, each summing M_c binomial(|P|, 0.5) meters: the smallest width w for which eq. 14 fails with at most 1e-3, then
how many PPNs of capacity L = alpha |P| a placement of w shares needs, averaged over random instances. The text of the paper does not
give the p_e, |P|, alpha and k that its Fig. 4 draws: the grid here is stated in the table.
"""

from __future__ import annotations

import heapq
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import click
import numpy as np

from experiments.loss.figure4_row import Figure4Row
from experiments.loss.formula import MINIMUM_CONTRIBUTORS, MONITORED_FRACTION, Point, coverage, released, smallest_width
from experiments.options import fractions, whole_numbers
from experiments.results import ResultFolder, result_options
from hushgrid.cli import stops_with_one_line
from hushgrid.core.recovery import Recovery
from hushgrid.errors import ConfigurationError
from hushgrid.printing import Terminal
from hushgrid.tables import Sheet, numbers

#: A width is looked for below this many PPNs.
MOST_PPNS = 3000


def width_with_repair(meters: int, loss: float, threshold: int, window: int, failure_most: float) -> int | None:
    """The smallest w >= t, below 2 t, for which a window over the mean cohort is withheld with at most this probability."""
    for width in range(threshold, 2 * threshold):
        point = Point(Recovery.REPAIR, int(meters * MONITORED_FRACTION), loss, width, threshold, window)
        if 1 - released(point) <= failure_most:
            return width
    return None


@cache
def ppns_needed(meters: int, consumers: int, alpha: float, width: int, instances: int, seed: int) -> float:
    """The fewest PPNs from which phase 1 of the paper's greedy succeeds, average over random instances."""
    rng = np.random.default_rng([seed, consumers, meters])
    capacity = int(alpha * meters)
    return statistics.fmean(
        _fewest(rng.binomial(meters, MONITORED_FRACTION, consumers), width, capacity) for _ in range(instances)
    )


def _fewest(sizes: np.ndarray, width: int, capacity: int) -> int:
    """Largest consumer first over the least loaded PPNs (Fig. 3, phase 1), from the lower bound on. sizes: M_c [consumer]."""
    if capacity < sizes.max():
        raise ConfigurationError(f"a PPN of {capacity} sums a round cannot serve a rule over {sizes.max()} meters")
    ordered = np.sort(sizes)[::-1]
    ppns = max(width, -(-width * int(ordered.sum()) // capacity))
    while not _fits(ordered, width, capacity, ppns):
        ppns += 1
    return ppns


def _fits(ordered: np.ndarray, width: int, capacity: int, ppns: int) -> bool:
    """Whether that goes well with so many PPNs. They differ by their load alone, and few loads occur: (load, how many have it)."""
    loads = [(0, ppns)]
    for size in map(int, ordered):
        open_places, loaded = width, []
        while open_places:
            load, count = heapq.heappop(loads)
            if load + size > capacity:
                return False
            taken = min(count, open_places)
            open_places -= taken
            loaded.append((load + size, taken))
            if taken < count:
                heapq.heappush(loads, (load, count - taken))
        for group in loaded:
            heapq.heappush(loads, group)
    return True


def compute(
    meters: Sequence[int],
    losses: Sequence[float],
    alphas: Sequence[float],
    windows: Sequence[int],
    *,
    threshold: int,
    consumers: int,
    failure_most: float,
    instances: int,
    seed: int,
) -> list[Figure4Row]:
    """One row per combination."""
    found = []
    for count, window, loss in itertools.product(meters, windows, losses):
        width = smallest_width(count, loss, threshold, window, failure_most=failure_most, width_most=MOST_PPNS - 1)
        repair = width_with_repair(count, loss, threshold, window, failure_most)
        included = None
        if repair is not None:
            point = Point(Recovery.REPAIR, int(count * MONITORED_FRACTION), loss, repair, threshold, window)
            included = coverage(point)
        for alpha in alphas:
            ppns, with_repair = (
                None if w is None else ppns_needed(count, consumers, alpha, w, instances, seed) for w in (width, repair)
            )
            found.append(Figure4Row(count, loss, alpha, window, width, ppns, with_repair, repair, included))
    return found


def _shown(count: float | None, layout: str = ",.1f") -> str:
    return "-" if count is None else format(count, layout)


def _alphas(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in value.split(","))
    except ValueError:
        found = ()
    if not found or not all(1 <= alpha <= 1_000_000 for alpha in found):
        raise click.BadParameter(
            f"{value!r} is not a list of numbers from 1 to 1000000 such as 4,8", context, parameter
        )
    return found


@click.command()
@click.option("--meters", default="100,1000,10000", show_default=True, callback=whole_numbers, help="|P|, a list.")
@click.option("--loss", default="1e-6..1e-2", show_default=True, callback=fractions, help="p_e, a list or decades.")
@click.option("--alpha", "alphas", default="4,8,16", show_default=True, callback=_alphas, help="L / |P|, a list.")
@click.option("--window", "windows", default="1,4", show_default=True, callback=whole_numbers, help="k, a list.")
@click.option("--threshold", default=4, show_default=True, type=click.IntRange(1), help="Shares needed (t).")
@click.option("--consumers", default=50, show_default=True, type=click.IntRange(1), help="|C|.")
@click.option(
    "--failure", "failure_most", default=1e-3, show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True), help="A window fails at most so often.",
)  # fmt: skip
@click.option("--instances", default=10, show_default=True, type=click.IntRange(1), help="Random instances a point.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@result_options("figure4")
@stops_with_one_line
def figure4(
    meters: tuple[int, ...],
    loss: tuple[float, ...],
    alphas: tuple[float, ...],
    windows: tuple[int, ...],
    threshold: int,
    consumers: int,
    failure_most: float,
    instances: int,
    seed: int,
    out: Path,
    report: Path | None,
) -> None:
    """PPNs to install so that lost messages fail a window at most once in a thousand (Fig. 4), beside hushgrid with repair."""
    if min(meters) * MONITORED_FRACTION < MINIMUM_CONTRIBUTORS:
        raise ConfigurationError(f"{min(meters)} meters are too few: half of them is below the minimum of contributors")
    folder, terminal = ResultFolder("figure4", out, report), Terminal()
    rows = compute(
        meters, loss, alphas, windows, threshold=threshold, consumers=consumers, failure_most=failure_most,
        instances=instances, seed=seed,
    )  # fmt: skip
    terminal.show(sheet(rows, threshold, consumers, failure_most))
    content = [asdict(row) for row in rows]
    folder.json({"rows": content})
    folder.csv(content)
    folder.draw(lambda stem: _draw(rows, stem))
    folder.close(terminal, f"seed {seed}")


def sheet(rows: Sequence[Figure4Row], threshold: int, consumers: int, failure_most: float) -> Sheet:
    """One line per (|P|, k, p_e), the PPNs for each alpha side by side."""
    alphas = list(dict.fromkeys(row.alpha for row in rows))
    out = Sheet(
        f"Fig. 4: PPNs for a failure of at most {failure_most:g}, t = {threshold}, |C| = {consumers}",
        numbers("|P|", "k", "p_e", "w", *(f"alpha {alpha:g}" for alpha in alphas), "w, repair", "coverage"),
        "PPNs by eq. 14 / with repair, for each alpha; averages over the instances",
    )
    for row in rows:
        if row.alpha != alphas[0]:
            continue
        same = [r for r in rows if (r.meters, r.window, r.loss) == (row.meters, row.window, row.loss)]
        counts = [f"{_shown(r.ppns)} / {_shown(r.ppns_repair)}" for r in same]
        out.add(
            f"{row.meters:,}",
            str(row.window),
            f"{row.loss:g}",
            _shown(row.width, ","),
            *counts,
            _shown(row.width_repair, ","),
            _shown(row.coverage_repair, ".5f"),
        )
    return out


def _draw(rows: Sequence[Figure4Row], stem: Path) -> list[Path]:
    from experiments.loss.figure4_drawing import draw  # noqa: PLC0415  # matplotlib is an extra

    return draw(rows, stem)
