"""What a person sees of a run: progress while it goes, tables when it is done."""

from __future__ import annotations

from collections.abc import Sequence

from hushgrid.core.schedule import round_start
from hushgrid.printing import Terminal
from hushgrid.tables import Cell, Heading, Sheet, Style, numbers, words
from hushgrid.wire.model import Mechanism
from testbed.households import Truth
from testbed.run.play import Run
from testbed.verdict.sums import BillRow, WindowRow, coverage_in

_MOST_ROWS = 24
_VERDICTS = {
    "released": ("exact", Style.GOOD),
    "withheld": ("withheld", Style.PLAIN),
    "unrecovered": ("unrecovered", Style.ODD),
}


def show(run: Run, truth: Truth, terminal: Terminal) -> None:
    """The tables and the closing lines."""
    rows = run.verdict.due
    masked = run.parameters.masking.mechanism is Mechanism.PAIRWISE
    terminal.show(_windows_table(_chosen(rows), truth, "masked readings" if masked else "aggregate shares"))
    if len(rows) > _MOST_ROWS:
        terminal.say(f"  {len(rows) - len(_chosen(rows))} more windows not shown; --json FILE has them all")
    terminal.show(_consumers_table(rows))
    if run.verdict.bills:
        terminal.show(_bills_table(run.verdict.bills))
    for line in (*left_out(rows, truth), *run.verdict.notes):
        terminal.say(line)
    for answer in run.outcome.answers:
        terminal.say(answer.describe())
    counts = run.verdict.counts
    terminal.say(
        f"{counts['windows']} windows: {counts['released']} released, {counts['wrong']} wrong, {counts['unrecovered']} unrecovered, "
        f"{counts['withheld']} withheld. {_shares(run)}"
        f"{run.wall_seconds:.1f} s (rounds {run.outcome.rounds_seconds:.1f} s). Seed {run.parameters.play.seed}."
    )
    if run.losses is not None and run.outcome.shares_lost:
        losses = run.losses
        verdict = (
            "just those that the link wrote down as lost"
            if losses.agrees
            else (
                f"{len(losses.unexplained)} of them not lost by the link, {len(losses.held_anyway)} lost by it and held"
            )
        )
        terminal.say(f"{len(losses.missed)} shares were missing when rounds froze: {verdict}.")
    for finding in run.outcome.findings:
        terminal.say(f"wrong aggregate shares: {finding}", Style.ODD)
    if run.verdict.bills:
        terminal.say(
            f"{counts['bills']} bills: {counts['bills_exact']} exact, {counts['bills_wrong']} wrong, {counts['bills_absent']} "
            f"absent; {counts['double_entries']} double entries balance. {run.outcome.total('masked')} masked readings sent, "
            f"{run.outcome.total('masked_lost')} lost at first and sent again."
        )
    for note in run.notes:
        terminal.say(note)
    short = run.shortfalls
    for shortfall in short:
        terminal.say(shortfall.describe())
    if due := sum(shortfall.count for shortfall in short if shortfall.due):
        terminal.say(f"{due} sums or bills that should have been exact were not recovered.", Style.BAD)
    if run.outcome.stalled:
        terminal.say(f"ended early: {run.outcome.stalled}", Style.BAD)
    if run.succeeded and counts["released"]:
        terminal.say("Every released sum equals the truth to the watt-hour.", Style.GOOD)


def _chosen(rows: Sequence[WindowRow]) -> list[WindowRow]:
    """All rows when they are few; else the unusual ones and the first."""
    if len(rows) <= _MOST_ROWS:
        return list(rows)
    unusual = [row for row in rows if row.wrong or row.status != "released" or row.included != row.expected]
    usual = [row for row in rows if row not in unusual]
    shown = unusual[: _MOST_ROWS - 6] + usual[:6]
    return sorted(shown, key=lambda row: (row.first_round, row.consumer))


def _shares(run: Run) -> str:
    """What became of shares; nothing where readings are masked and not shared."""
    if run.parameters.masking.mechanism is Mechanism.PAIRWISE:
        return ""
    return f"{run.outcome.shares_sent} shares sent, {run.outcome.shares_lost} lost by the link, "


def _windows_table(rows: Sequence[WindowRow], truth: Truth, source: str = "aggregate shares") -> Sheet:
    sheet = Sheet(
        f"Sums recovered from {source}",
        [
            *words("consumer", "window (UTC)"),
            *numbers("rounds", "readings", "recovered Wh", "truth Wh"),
            Heading("verdict", wraps=True),
        ],
    )
    for row in rows:
        start = round_start(row.first_round, truth.interval_seconds)
        verdict, style = ("WRONG", Style.BAD) if row.wrong else _VERDICTS[row.status]
        sheet.add(
            row.consumer,
            start.strftime("%Y-%m-%d %H:%M"),
            str(row.last_round - row.first_round + 1),
            f"{row.included} of {row.expected}",
            "-" if row.watt_hours is None else f"{row.watt_hours:,}",
            f"{row.truth_watt_hours:,}",
            Cell(verdict + (f": {row.reason}" if row.reason else ""), style),
        )
    return sheet


def _consumers_table(rows: Sequence[WindowRow]) -> Sheet:
    sheet = Sheet("By consumer", [*words("consumer"), *numbers("windows", "released", "exact", "readings included")])
    for consumer in sorted({row.consumer for row in rows}):
        own = [row for row in rows if row.consumer == consumer]
        released = [row for row in own if row.status == "released"]
        coverage = coverage_in(own)
        share = "-" if coverage is None else f"{100 * coverage:.2f} %"
        sheet.add(consumer, str(len(own)), str(len(released)), str(sum(not r.wrong for r in released)), share)
    return sheet


def _bills_table(bills: Sequence[BillRow]) -> Sheet:
    """The unusual bills and the first ones."""
    unusual = [bill for bill in bills if bill.wrong or bill.watt_hours is None or bill.omitted]
    usual = [bill for bill in bills if bill not in unusual]
    chosen = unusual[: _MOST_ROWS - 6] + usual[:6]
    sheet = Sheet(
        f"Bills ({len(chosen)} of {len(bills)} shown)",
        [
            *words("meter"),
            *numbers("period", "rounds left out", "billed Wh", "truth Wh"),
            Heading("verdict", wraps=True),
        ],
    )
    for bill in sorted(chosen, key=lambda bill: (bill.period, bill.meter)):
        verdict = Cell("exact", Style.GOOD)
        if bill.wrong or bill.watt_hours is None:
            verdict = Cell("WRONG", Style.BAD) if bill.wrong else Cell(f"absent: {bill.reason}", Style.ODD)
        billed = "-" if bill.watt_hours is None else f"{bill.watt_hours:,}"
        left_out_rounds, truth = str(len(bill.omitted)), f"{bill.truth_watt_hours:,}"
        sheet.add(bill.meter, str(bill.period), left_out_rounds, billed, truth, verdict)
    return sheet


def left_out(rows: Sequence[WindowRow], truth: Truth) -> list[str]:
    """Who had no reading, by name and time: a gap is not a loss."""
    gaps = sorted({gap for row in rows for gap in row.gaps})
    lines = []
    for meter in sorted({meter for meter, _ in gaps}):
        times = [round_start(r, truth.interval_seconds).strftime("%Y-%m-%d %H:%MZ") for m, r in gaps if m == meter]
        shown = ", ".join(times[:6]) + (f" and {len(times) - 6} more" if len(times) > 6 else "")
        lines.append(f"gap: {meter} had no reading at {shown}; left out of the sums, not lost and not a zero")
    return lines
