"""`hushgrid experiment scaling`: what a million meters cost at 15-minute rounds, from unit costs measured in the same run.

The projections are plain arithmetic over `Units` (a test does it again for the numbers in docs/scaling.md): every cost but those
per PPN pair and per rule grows with the number of meters.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields
from pathlib import Path

import click

from configurator.one_line import stops_with_one_line
from experiments.options import check_outputs
from hushgrid.errors import ConfigurationError

ROUND_SECONDS = 900
#: PPNs that serve each rule, hence shares of each reading (w); and how many rounds a journal holds at most: a window of a day.
WIDTH, WINDOW_ROUNDS = 4, 96
#: Shares per envelope of a concentrator, as in the testbed.
PACKED = 250
FLEETS = (1_000_000, 10_000_000, 100_000_000)
#: Shares above this fraction of what was measured are not planned with.
HEADROOM_FRACTION = 0.5
_BEGIN, _END = "<!-- hushgrid experiment scaling: begin -->", "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Units:
    """What one thing costs, measured on one core unless a field says otherwise."""

    meter_seal_microseconds: float  # split and seal one reading into w shares
    meter_key_microseconds: float  # agree on one key, once per epoch and PPN
    open_microseconds: float  # unseal and check one share
    keep_microseconds: float  # put one share into the journal
    add_microseconds: float  # add one share to one sum, with its place in the digest
    receipt_microseconds: float  # sign one receipt
    carry_microseconds: float  # receive one message and publish its receipt, without what is in it
    front_microseconds: float  # what a PPN with workers does itself per share, in envelopes of 250
    roster_microseconds: float  # make one meter's part of a roster
    decide_microseconds: float  # one meter's part of the configurator's decision over w rosters
    single_bytes: float  # an envelope of one share, with its topic
    packed_bytes: float  # one share in an envelope of 250
    single_receipt_bytes: float
    packed_receipt_bytes: float  # per share
    journal_bytes: float  # one share on disk
    roster_bytes: float  # one meter in a roster
    decision_bytes: float  # one meter in a decision
    memory_bytes: float  # one meter in a PPN's memory, with one round's share
    mosquitto_single: float  # messages per second of the broker's CPU, QoS 1, to one reader
    mosquitto_packed: float
    nats_single: float
    nats_packed: float
    cluster_single: float
    cluster_packed: float
    connection_bytes: float  # one idle connection with mutual TLS in Mosquitto's resident memory
    handshake_microseconds: float  # the broker's CPU for one mutual TLS handshake with CONNECT


_NAMES = {
    "meter_seal_microseconds": "meter: split and seal one reading (w = 4), us",
    "meter_key_microseconds": "meter or PPN: agree on one key, once per epoch, us",
    "open_microseconds": "PPN: unseal and check one share, us",
    "keep_microseconds": "PPN: one share into the journal, us",
    "add_microseconds": "PPN: add one share to one sum, with the contributor digest, us",
    "receipt_microseconds": "PPN: sign one receipt, us",
    "carry_microseconds": "PPN: receive one message and publish its receipt, us",
    "front_microseconds": "PPN with workers: its own work per share, us",
    "roster_microseconds": "PPN: one meter of a roster, us",
    "decide_microseconds": "configurator: one meter of a decision over four rosters, us",
    "single_bytes": "envelope of one share with its topic, bytes",
    "packed_bytes": "one share in an envelope of 250, bytes",
    "single_receipt_bytes": "receipt for one share with its topic, bytes",
    "packed_receipt_bytes": "one share's part of a receipt for 250, bytes",
    "journal_bytes": "one share in the journal, bytes",
    "roster_bytes": "one meter in a roster, bytes",
    "decision_bytes": "one meter in a decision, bytes",
    "memory_bytes": "one meter in a PPN's memory with one round's share, bytes",
    "mosquitto_single": "Mosquitto: messages of one share, per second of CPU",
    "mosquitto_packed": "Mosquitto: envelopes of 250 shares, per second of CPU",
    "nats_single": "NATS, one node: messages of one share, per second of CPU",
    "nats_packed": "NATS, one node: envelopes of 250 shares, per second of CPU",
    "cluster_single": "NATS, three nodes together: messages of one share, per second of CPU",
    "cluster_packed": "NATS, three nodes together: envelopes of 250 shares, per second of CPU",
    "connection_bytes": "Mosquitto: one idle connection with mutual TLS, resident memory, bytes",
    "handshake_microseconds": "Mosquitto: one mutual TLS handshake with CONNECT, us",
}


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


def page(u: Units) -> str:
    """The tables, as Markdown."""
    lines = ["| measured | |", "|---|---|"]
    lines += [f"| {_NAMES[f.name]} | {number(getattr(u, f.name))} |" for f in fields(Units)]
    columns = [load(u, meters) for meters in FLEETS]
    lines += ["", "| at 15-minute rounds | " + " | ".join(f"{m // 1_000_000} million" for m in FLEETS) + " |"]
    lines += ["|---|" + "---|" * len(FLEETS)]
    lines += [f"| {name} | " + " | ".join(column[name] for column in columns) + " |" for name in columns[0]]
    lines += ["", "| one of these, half busy | carries so many meters |", "|---|---|"]
    lines += [f"| {name} | {number(meters)} |" for name, meters in limits(u)]
    return "\n".join(lines)


def rounded(u: Units) -> Units:
    """As the page shows them, so that the page can be computed again from itself."""
    return Units(**{f.name: float(number(getattr(u, f.name)).replace(",", "")) for f in fields(Units)})


def units_of(text: str) -> Units:
    """The measured units out of a page."""
    names = {name: key for key, name in _NAMES.items()}
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 2 and cells[0] in names:
            found[names[cells[0]]] = float(cells[1].replace(",", ""))
    return Units(**found)


def between_marks(text: str) -> tuple[str, str, str]:
    """What stands before, between and after the marks of a page."""
    before, begin, rest = text.partition(_BEGIN)
    middle, end, after = rest.partition(_END)
    if not begin or not end:
        raise click.UsageError(f"no place for the tables: {_BEGIN} and {_END} are not there")
    return before + begin + "\n\n", middle.strip(), "\n\n" + end + after


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{path}: cannot be read as text") from None


@click.command("scaling")
@click.option("--meters", default=4000, show_default=True, help="Meters that the unit costs are measured with.")
@click.option("--messages", default=20_000, show_default=True, help="Messages through each broker.")
@click.option(
    "--write",
    "target",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Put the tables into a page.",
)
@stops_with_one_line
def scaling(meters: int, messages: int, target: Path | None) -> None:
    """Measure unit costs, and say what 1, 10 and 100 million meters cost and what saturates first."""
    from experiments.scaling_costs import measure  # noqa: PLC0415  # it needs a PPN's and a configurator's packages

    if meters < PACKED:
        raise click.UsageError(f"--meters must be at least {PACKED}")
    if messages < 1:
        raise click.UsageError("--messages must be at least 1")
    before, after = "", ""
    if target is not None:
        check_outputs(target)
        before, _, after = between_marks(_text(target))
    tables = page(rounded(asyncio.run(measure(meters, messages))))
    click.echo(tables)
    if target is not None:
        target.write_text(before + tables + after, encoding="utf-8")
