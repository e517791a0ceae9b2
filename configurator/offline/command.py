"""`hushgrid plan` and `hushgrid audit`: the configurator's two questions, asked of a rules file."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from configurator.audit.approval import Audit, audit
from configurator.offline.rules_file import load_shared
from configurator.placement import exact as exact_placement
from configurator.placement.greedy import Placement, PpnId, Problem, place_greedily
from hushgrid.cli import NumberRange, stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.outputs import check_new, write_json
from hushgrid.printing import Terminal
from hushgrid.tables import Heading, Sheet, numbers, words

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
    check_new(report)
    book = load_shared(rules)
    before = _existing(existing) if existing is not None else None
    try:
        problem = book.problem(before)
        began = time.perf_counter()
        placement = _solve(problem, solver, time_limit, start_ppns)
    except ConfigurationError as error:
        raise ConfigurationError(f"{rules}: {error}") from None
    seconds = time.perf_counter() - began
    _show_plan(placement, problem, seconds, Terminal())
    if report is not None:
        write_json(report, _plan_json(placement, seconds))


def _solve(problem: Problem, solver: str, time_limit_seconds: float, start_ppns: int) -> Placement:
    if solver == "greedy":
        return place_greedily(problem, start_ppns=start_ppns)
    return exact_placement.place(
        problem, clock=time.monotonic, time_limit_seconds=time_limit_seconds, start_ppns=start_ppns
    )


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


def _show_plan(placement: Placement, problem: Problem, seconds: float, terminal: Terminal) -> None:
    capacity = {ppn.id: ppn.capacity_sums for ppn in problem.ppns}
    rules = {ppn: [r for r, ppns in placement.assignment.items() if ppn in ppns] for ppn in placement.loads_sums}
    loads = Sheet("Load of the PPNs (sums a round)", [*words("PPN"), *numbers("rules", "load", "capacity", "used")])
    for ppn, load_sums in placement.loads_sums.items():
        used = f"{load_sums / capacity[ppn]:.0%}" if capacity[ppn] else "-"
        loads.add(str(ppn), str(len(rules[ppn])), str(load_sums), str(capacity[ppn]), used)
    terminal.show(loads)
    plan = Sheet("Plan", [*words("rule"), *numbers("sums"), Heading("PPNs", wraps=True)])
    for rule, ppns in placement.assignment.items():
        plan.add(rule, str(problem.demands[rule]), " ".join(str(ppn) for ppn in ppns))
    terminal.show(plan)
    verdict = "proven optimal" if placement.proven else f"not proven, gap at most {placement.gap_fraction:.1%}"
    terminal.say(
        f"{placement.ppn_count} PPNs; lower bound {placement.lower_bound} ({verdict}); {placement.solver}, {seconds:.2f} s"
    )
    if problem.existing is not None:
        terminal.say(f"{placement.moved_shares} shares of rules moved ({placement.moved_sums} sums a round)")


@click.command("audit")
@_rules_argument
@_json_option
@stops_with_one_line
def audit_command(rules: Path, report: Path | None) -> None:
    """Say which rules of RULES (TOML or JSON) may exist together, in order, and why not.

    Exit status 0 also when rules are refused.
    """
    check_new(report)
    book = load_shared(rules)
    outcome = audit(book.requests, book.census, book.policy)
    _show_audit(outcome, Terminal())
    if report is not None:
        refused = [{"rule": r.rule, "reason": r.reason, "because_of": list(r.because_of)} for r in outcome.refused]
        write_json(report, {"granted": list(outcome.granted), "refused": refused})


def _show_audit(outcome: Audit, terminal: Terminal) -> None:
    terminal.say(f"granted: {len(outcome.granted)}; refused: {len(outcome.refused)}")
    for name in outcome.granted:
        terminal.say(f"  granted  {name}")
    for refusal in outcome.refused:
        because = f" [because of {', '.join(refusal.because_of)}]" if refusal.because_of else ""
        terminal.say(f"  refused  {refusal.rule}: {refusal.reason}{because}")
