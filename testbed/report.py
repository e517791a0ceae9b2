"""What a person sees of a run: progress while it goes, tables when it is done."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from hushgrid.schedule import round_start
from testbed.households import Truth
from testbed.play import Run
from testbed.verdict import BillRow, Row, coverage_in

_MOST_ROWS = 24


def show(run: Run, truth: Truth, console: Console) -> None:
    """The tables and the closing lines."""
    rows = run.verdict.rows
    console.print(_windows_table(_chosen(rows), truth))
    if len(rows) > _MOST_ROWS:
        console.print(f"  {len(rows) - len(_chosen(rows))} more windows not shown; --json FILE has them all")
    console.print(_consumers_table(rows))
    if run.verdict.bills:
        console.print(_bills_table(run.verdict.bills))
    for line in left_out(rows, truth):
        console.print(line)
    for answer in run.answers:
        console.print(answer.describe(), markup=False, highlight=False, soft_wrap=True)
    counts = run.verdict.counts
    console.print(
        f"{counts['windows']} windows: {counts['released']} released, {counts['wrong']} wrong, {counts['unrecovered']} unrecovered, "
        f"{counts['withheld']} withheld. {run.shares_sent} shares sent, {run.shares_lost} lost by the link, "
        f"{run.wall_seconds:.1f} s (rounds {run.rounds_seconds:.1f} s). Seed {run.parameters.seed}."
    )
    if run.losses is not None and run.shares_lost:
        losses = run.losses
        verdict = (
            "just those that the link wrote down as lost"
            if losses.agrees
            else (
                f"{len(losses.unexplained)} of them not lost by the link, {len(losses.held_anyway)} lost by it and held"
            )
        )
        console.print(f"{len(losses.missed)} shares were missing when rounds froze: {verdict}.")
    for finding in run.findings:
        console.print(f"[yellow]wrong aggregate shares:[/yellow] {finding}")
    if run.verdict.bills:
        console.print(
            f"{counts['bills']} bills: {counts['bills_exact']} exact, {counts['bills_wrong']} wrong, {counts['bills_absent']} "
            f"absent; {counts['double_entries']} double entries balance. {run.total('masked')} masked readings sent, "
            f"{run.total('masked_lost')} lost at first and sent again."
        )
    if run.stalled:
        console.print(f"[red]ended early: {run.stalled}[/red]")
    if run.succeeded and counts["released"]:
        console.print("[green]Every released sum equals the truth to the watt-hour.[/green]")


def _chosen(rows: Sequence[Row]) -> list[Row]:
    """All rows when they are few; else the unusual ones and the first."""
    if len(rows) <= _MOST_ROWS:
        return list(rows)
    unusual = [row for row in rows if row.wrong or row.status != "released" or row.included != row.expected]
    usual = [row for row in rows if row not in unusual]
    shown = unusual[: _MOST_ROWS - 6] + usual[:6]
    return sorted(shown, key=lambda row: (row.first_round, row.consumer))


def _windows_table(rows: Sequence[Row], truth: Truth) -> Table:
    table = Table(title="Sums recovered from aggregate shares")
    for name in ("consumer", "window (UTC)", "rounds"):
        table.add_column(name)
    for name in ("readings", "recovered Wh", "truth Wh"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in rows:
        start = round_start(row.first_round, truth.interval_seconds)
        verdict = {
            "released": "[green]exact[/green]",
            "withheld": "withheld",
            "unrecovered": "[yellow]unrecovered[/yellow]",
        }[row.status]
        if row.wrong:
            verdict = "[red]WRONG[/red]"
        table.add_row(
            row.consumer,
            start.strftime("%Y-%m-%d %H:%M"),
            str(row.last_round - row.first_round + 1),
            f"{row.included} of {row.expected}",
            "-" if row.watt_hours is None else f"{row.watt_hours:,}",
            f"{row.truth_watt_hours:,}",
            verdict + (f": {row.reason}" if row.reason else ""),
        )
    return table


def _consumers_table(rows: Sequence[Row]) -> Table:
    table = Table(title="By consumer")
    table.add_column("consumer")
    for name in ("windows", "released", "exact", "readings included"):
        table.add_column(name, justify="right")
    for consumer in sorted({row.consumer for row in rows}):
        own = [row for row in rows if row.consumer == consumer]
        released = [row for row in own if row.status == "released"]
        coverage = coverage_in(own)
        share = "-" if coverage is None else f"{100 * coverage:.2f} %"
        table.add_row(consumer, str(len(own)), str(len(released)), str(sum(not r.wrong for r in released)), share)
    return table


def _bills_table(bills: Sequence[BillRow]) -> Table:
    """The unusual bills and the first ones."""
    unusual = [bill for bill in bills if bill.wrong or bill.watt_hours is None or bill.omitted]
    usual = [bill for bill in bills if bill not in unusual]
    chosen = unusual[: _MOST_ROWS - 6] + usual[:6]
    table = Table(title=f"Bills ({len(chosen)} of {len(bills)} shown)")
    for name in ("meter", "period"):
        table.add_column(name)
    for name in ("rounds left out", "billed Wh", "truth Wh"):
        table.add_column(name, justify="right")
    table.add_column("")
    for bill in sorted(chosen, key=lambda bill: (bill.period, bill.meter)):
        verdict = "[green]exact[/green]"
        if bill.wrong or bill.watt_hours is None:
            verdict = "[red]WRONG[/red]" if bill.wrong else f"[yellow]absent[/yellow]: {bill.reason}"
        billed = "-" if bill.watt_hours is None else f"{bill.watt_hours:,}"
        row = (bill.meter, str(bill.period), str(len(bill.omitted)), billed, f"{bill.truth_watt_hours:,}", verdict)
        table.add_row(*row)
    return table


def left_out(rows: Sequence[Row], truth: Truth) -> list[str]:
    """Who had no reading, by name and time: a gap is not a loss."""
    gaps = sorted({gap for row in rows for gap in row.gaps})
    lines = []
    for meter in sorted({meter for meter, _ in gaps}):
        times = [round_start(r, truth.interval_seconds).strftime("%Y-%m-%d %H:%MZ") for m, r in gaps if m == meter]
        shown = ", ".join(times[:6]) + (f" and {len(times) - 6} more" if len(times) > 6 else "")
        lines.append(f"gap: {meter} had no reading at {shown}; left out of the sums, not lost and not a zero")
    return lines
