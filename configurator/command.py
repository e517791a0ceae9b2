"""`hushgrid plan` and `hushgrid audit`: the configurator's two questions, asked of a rules file."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from configurator import exact_placement
from configurator.approval import Audit, audit
from configurator.one_line import NumberRange, stops_with_one_line
from configurator.placement import Placement, PpnId, Problem, place_greedily
from configurator.rulebook import load
from hushgrid.errors import ConfigurationError


def write_json(path: Path, content: object) -> None:
    """Write a result file; ConfigurationError when it cannot be written."""
    try:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None


_json_option = click.option(
    "--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write the result there as well."
)
_rules_argument = click.argument("rules", type=click.Path(path_type=Path))


@click.command("plan")
@_rules_argument
@click.option("--solver", type=click.Choice(["greedy", "exact"]), default="exact", show_default=True)
@click.option(
    "--time-limit", default=10.0, show_default=True, type=NumberRange(0), help="Seconds that the exact solver may take."
)
@click.option(
    "--start-ppns", default=20, show_default=True, type=click.IntRange(1), help="PPNs that the greedy starts from."
)
@click.option(
    "--existing",
    type=click.Path(path_type=Path),
    help="A plan (--json of an earlier run): move as few shares as possible.",
)
@_json_option
@stops_with_one_line
def plan_command(
    rules: Path, solver: str, time_limit: float, start_ppns: int, existing: Path | None, report: Path | None
) -> None:
    """Place the rules of RULES (TOML or JSON) on the fewest PPNs."""
    book = load(rules)
    before = _existing(existing) if existing is not None else None
    try:
        problem = book.problem(before)
        began = time.perf_counter()
        placement = _solve(problem, solver, time_limit, start_ppns)
    except ConfigurationError as error:
        raise ConfigurationError(f"{rules}: {error}") from None
    seconds = time.perf_counter() - began
    _show_plan(placement, problem, seconds, Console())
    if report is not None:
        write_json(report, _plan_json(placement, seconds))


def _solve(problem: Problem, solver: str, time_limit_seconds: float, start_ppns: int) -> Placement:
    if solver == "greedy":
        return place_greedily(problem, start_ppns=start_ppns)
    return exact_placement.place(problem, time_limit_seconds=time_limit_seconds, start_ppns=start_ppns)


def _existing(path: Path) -> dict[str, tuple[PpnId, ...]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(rule): tuple(str(ppn) for ppn in ppns) for rule, ppns in content["assignment"].items()}
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConfigurationError(f"{path}: not a plan written by hushgrid plan --json") from None


def _plan_json(placement: Placement, seconds: float) -> dict[str, object]:
    return {
        "solver": placement.solver,
        "ppns": placement.ppn_count,
        "lower_bound": placement.lower_bound,
        "proven": placement.proven,
        "gap": placement.gap_fraction,
        "seconds": seconds,
        "moved_shares": placement.moved_shares,
        "moved_sums": placement.moved_sums,
        "loads": {str(ppn): load for ppn, load in placement.loads_sums.items()},
        "assignment": {rule: [str(ppn) for ppn in ppns] for rule, ppns in placement.assignment.items()},
    }


def _show_plan(placement: Placement, problem: Problem, seconds: float, console: Console) -> None:
    capacity = {ppn.id: ppn.capacity_sums for ppn in problem.ppns}
    rules = {ppn: [r for r, ppns in placement.assignment.items() if ppn in ppns] for ppn in placement.loads_sums}
    table = Table(title="Load of the PPNs (sums a round)")
    for title in ("PPN", "rules", "load", "capacity", "used"):
        table.add_column(title, justify="left" if title == "PPN" else "right")
    for ppn, load_sums in placement.loads_sums.items():
        used = f"{load_sums / capacity[ppn]:.0%}" if capacity[ppn] else "-"
        table.add_row(Text(str(ppn)), str(len(rules[ppn])), str(load_sums), str(capacity[ppn]), used)
    console.print(table)
    plan = Table(title="Plan")
    plan.add_column("rule")
    plan.add_column("sums", justify="right")
    plan.add_column("PPNs")
    for rule, ppns in placement.assignment.items():
        plan.add_row(Text(rule), str(problem.demands[rule]), Text(" ".join(str(ppn) for ppn in ppns)))
    console.print(plan)
    verdict = "proven optimal" if placement.proven else f"gap at most {placement.gap_fraction:.1%}"
    console.print(
        f"{placement.ppn_count} PPNs; lower bound {placement.lower_bound} ({verdict}); {placement.solver}, {seconds:.2f} s"
    )
    if problem.existing is not None:
        console.print(f"{placement.moved_shares} shares of rules moved ({placement.moved_sums} sums a round)")


@click.command("audit")
@_rules_argument
@_json_option
@stops_with_one_line
def audit_command(rules: Path, report: Path | None) -> None:
    """Say which rules of RULES (TOML or JSON) may exist together, in order, and why not.

    Exit status 0 also when rules are refused.
    """
    book = load(rules)
    outcome = audit(book.requests, book.roster, book.policy)
    _show_audit(outcome, Console())
    if report is not None:
        refused = [{"rule": r.rule, "reason": r.reason, "because_of": list(r.because_of)} for r in outcome.refused]
        write_json(report, {"granted": list(outcome.granted), "refused": refused})


def _show_audit(outcome: Audit, console: Console) -> None:
    console.print(f"granted: {len(outcome.granted)}; refused: {len(outcome.refused)}")
    for name in outcome.granted:
        console.print(f"  granted  {name}", markup=False, highlight=False, soft_wrap=True)
    for refusal in outcome.refused:
        because = f" [because of {', '.join(refusal.because_of)}]" if refusal.because_of else ""
        console.print(
            f"  refused  {refusal.rule}: {refusal.reason}{because}", markup=False, highlight=False, soft_wrap=True
        )
