"""What a million meters cost at 15-minute rounds, from unit costs.

The projections are plain arithmetic over `Units` (a test does it again for the numbers in docs/scaling.md): every cost but those
per PPN pair and per rule grows with the number of meters.
"""

from __future__ import annotations

from dataclasses import fields

import click

from experiments.scaling.units import PACKED, UNIT_NAMES, WIDTH, WINDOW_ROUNDS, Units
from hushgrid.tables import Heading, Sheet, numbers

ROUND_SECONDS = 900
FLEETS = (1_000_000, 10_000_000, 100_000_000)
#: Shares above this fraction of what was measured are not planned with.
HEADROOM_FRACTION = 0.5
_BEGIN, _END = "<!-- hushgrid experiment scaling: begin -->", "<!-- end -->"


def number(value: float) -> str:
    """Three significant figures, as a person reads them."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value / 10**digits) * 10**digits:,}"
    return f"{value:.3g}"


def amount(value: float) -> str:
    """Bytes, in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def ppn_core_seconds(u: Units, meters: float, sums: int = 2) -> float:
    """CPU of one PPN that gets one share of every meter, per round: opened, kept, rostered, added to this many sums."""
    return (
        meters * (u.open_microseconds + u.keep_microseconds + u.roster_microseconds + sums * u.add_microseconds) / 1e6
    )


def load(u: Units, meters: int) -> dict[str, str]:
    """What this many meters cost; one PPN of the w, all shares in a rule of one round and one of a day."""
    shares, seconds = meters * WIDTH, ROUND_SECONDS
    work = ppn_core_seconds(u, meters)
    per_message = (u.receipt_microseconds + u.carry_microseconds) / 1e6
    return {
        "readings per second": number(meters / seconds),
        "messages per second, one meter each (envelopes and receipts)": number(2 * shares / seconds),
        "messages per second, 250 meters each": number(2 * shares / PACKED / seconds),
        "bytes per second into the broker, one meter each": amount(
            shares * (u.single_bytes + u.single_receipt_bytes) / seconds
        ),
        "bytes per second into the broker, 250 meters each": amount(
            shares * (u.packed_bytes + u.packed_receipt_bytes) / seconds
        ),
        "brokers: memory of idle TLS connections, one meter each": amount(meters * u.connection_bytes),
        "brokers: memory of idle TLS connections, 250 meters each": amount(meters / PACKED * u.connection_bytes),
        "brokers: CPU seconds when all connect anew, one meter each": number(meters * u.handshake_microseconds / 1e6),
        "one PPN: CPU seconds per round, in its workers": number(work),
        "one PPN: cores busy, 250 meters per message": number((work + meters / PACKED * per_message) / seconds),
        "one PPN: cores busy, one meter per message": number((work + meters * per_message) / seconds),
        "one PPN: written to disk per round": amount(meters * u.journal_bytes),
        "one PPN: on disk with a window of a day": amount(meters * u.journal_bytes * WINDOW_ROUNDS),
        "one PPN: memory": amount(meters * u.memory_bytes),
        "one PPN: roster per round": amount(meters * u.roster_bytes),
        "configurator: decision per round": amount(meters * u.decision_bytes),
        "configurator: CPU seconds per decision": number(meters * u.decide_microseconds / 1e6),
        "key agreement of an epoch at one PPN, CPU seconds": number(meters * u.meter_key_microseconds / 1e6),
    }


def limits(u: Units) -> list[tuple[str, float]]:
    """How many meters one of each carries at 15-minute rounds and half its measured rate, fewest first."""
    seconds = ROUND_SECONDS * HEADROOM_FRACTION
    per_core = 1e6 * seconds
    work, answering = 1e6 * ppn_core_seconds(u, 1), u.receipt_microseconds + u.carry_microseconds
    per_message = 2 * WIDTH
    found = {
        "a core for a NATS cluster of three, one meter per message": u.cluster_single * seconds / per_message,
        "a core for one NATS node, one meter per message": u.nats_single * seconds / per_message,
        "one Mosquitto (it uses one core), one meter per message": u.mosquitto_single * seconds / per_message,
        "a core for a NATS cluster of three, 250 meters per message": u.cluster_packed * PACKED * seconds / per_message,
        "a core for one NATS node, 250 meters per message": u.nats_packed * PACKED * seconds / per_message,
        "one Mosquitto (it uses one core), 250 meters per message": u.mosquitto_packed * PACKED * seconds / per_message,
        "one PPN process without workers, 250 meters per message": per_core / (work + answering / PACKED),
        "one PPN process without workers, one meter per message": per_core / (work + answering),
        "one PPN with enough workers (its own process), 250 meters per message": per_core
        / (u.front_microseconds + u.roster_microseconds + answering / PACKED),
        "one configurator, decisions": per_core / u.decide_microseconds,
        "one Mosquitto, all connecting anew within a round, one meter each": per_core / u.handshake_microseconds,
        "16 GB of memory for a broker's TLS connections, one meter each": 16e9 * HEADROOM_FRACTION / u.connection_bytes,
        "16 GB of memory at one PPN": 16e9 * HEADROOM_FRACTION / u.memory_bytes,
    }
    return sorted(found.items(), key=lambda item: item[1])


def sheets(u: Units) -> list[Sheet]:
    """What was measured, what fleets of meters cost, and what carries how many."""
    measured = Sheet("", _headings("measured", ""))
    for each in fields(Units):
        measured.add(UNIT_NAMES[each.name], number(getattr(u, each.name)))
    columns = [load(u, meters) for meters in FLEETS]
    fleets = Sheet("", _headings("at 15-minute rounds", *(f"{m // 1_000_000} million" for m in FLEETS)))
    for name in columns[0]:
        fleets.add(name, *(column[name] for column in columns))
    carried = Sheet("", _headings("one of these, half busy", "carries so many meters"))
    for name, meters in limits(u):
        carried.add(name, number(meters))
    return [measured, fleets, carried]


def _headings(first: str, *others: str) -> list[Heading]:
    return [Heading(first, wraps=True), *numbers(*others)]


def page(u: Units) -> str:
    """The tables, as Markdown."""
    lines = []
    for sheet in sheets(u):
        titles = [heading.title for heading in sheet.headings]
        lines += ["".join(f"| {title} " if title else "| " for title in titles) + "|", "|---" * len(titles) + "|"]
        lines += ["| " + " | ".join(cell.text for cell in row) + " |" for row in sheet.rows]
        lines.append("")
    return "\n".join(lines[:-1])


def rounded(u: Units) -> Units:
    """As the page shows them, so that the page can be computed again from itself."""
    return Units(**{f.name: float(number(getattr(u, f.name)).replace(",", "")) for f in fields(Units)})


def between_marks(text: str) -> tuple[str, str, str]:
    """What stands before, between and after the marks of a page."""
    before, begin, rest = text.partition(_BEGIN)
    middle, end, after = rest.partition(_END)
    if not begin or not end:
        raise click.UsageError(f"no place for the tables: {_BEGIN} and {_END} are not there")
    return before + begin + "\n\n", middle.strip(), "\n\n" + end + after
