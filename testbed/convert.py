"""`hushgrid convert`: what a portal exported, as a file that the testbed and every meter read."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import click

from hushgrid.cli import stops_with_one_line
from hushgrid.errors import ConfigurationError
from meter_agent.sources.files.exports import UNITS, Exported, read_export
from meter_agent.sources.files.meanings import Label, Quantity
from meter_agent.sources.files.portals import described
from testbed.households import METER_ID

_NAMED = "A known portal's columns are found by themselves; what is said here counts before that."


@click.command("convert", epilog=_NAMED)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to.  [default: FILE.long.csv]")
@click.option("--time", "time", multiple=True, help="Column of the time; twice for a date and a time of day.")
@click.option("--energy", help="Column of what was taken from the grid.")
@click.option("--feed-in", help="Column of what was given to the grid: it is subtracted.")
@click.option("--meter", help="Column of the meter's name.")
@click.option("--name", help="The meter's name where no column has it.  [default: from FILE]")
@click.option("--unit", type=click.Choice(list(UNITS)), help="Of the numbers.")
@click.option("--unit-column", help="Column of each row's own unit.")
@click.option("--quantity", type=click.Choice([each.value for each in Quantity]), help="What the numbers are.")
@click.option(
    "--label", type=click.Choice([each.value for each in Label]), help="Which end of its interval a time names."
)
@click.option("--zone", help="Time zone of times that name none, such as Europe/Berlin.")
@click.option("--format", "formats", multiple=True, help="Of the time, as strptime has it, such as %d.%m.%Y %H:%M.")
@click.option("--step", type=click.IntRange(min=1), help="Seconds of an interval.  [default: the usual one]")
@click.option("--delimiter", help="Between columns.")
@click.option("--decimal-comma/--decimal-point", default=None, help="In numbers.")
@click.option("--encoding", help="Of the text, such as cp1252.")
@click.option("--most-watts", type=click.IntRange(min=1), help="A row that says more is refused.  [default: 1000000]")
@stops_with_one_line
def convert(file: Path, output: Path | None, time: tuple[str, ...], name: str | None, **said: object) -> None:
    """Convert FILE, the export of a portal, to meter,start_utc,wh in whole Wh and UTC."""
    chosen = {key: value for key, value in said.items() if value not in (None, ())}
    if "quantity" in chosen:
        chosen["quantity"] = Quantity(str(chosen["quantity"]))
    if "label" in chosen:
        chosen["label"] = Label(str(chosen["label"]))
    if "step" in chosen:
        chosen["step_seconds"] = chosen.pop("step")
    layout = described(file, chosen | ({"time": time} if time else {}))
    found = read_export(file, layout, name or _name_of(file))
    for each in found:
        if not METER_ID.fullmatch(each.meter):
            raise ConfigurationError(f"{file}: {each.meter!r} cannot be a meter's id; --name gives another")
    target = output or file.with_name(f"{file.name}.long.csv")
    _write(target, found)
    click.echo(f"{file}: read as {layout.name}")
    for each in found:
        click.echo(_summary(each))
    click.echo(f"written to {target}")


def _name_of(file: Path) -> str:
    """A meter's id made of the file's name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in file.name.split(".")[0])[:64]


def _write(target: Path, found: Sequence[Exported]) -> None:
    try:
        with target.open("x", newline="", encoding="utf-8") as out:
            rows = csv.writer(out)
            rows.writerow(["meter", "start_utc", "wh"])
            for each in found:
                for start, watt_hours in sorted(each.starts.items()):
                    when = f"{dt.datetime.fromtimestamp(start, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
                    rows.writerow([each.meter, when, "" if watt_hours is None else watt_hours])
    except FileExistsError:
        raise ConfigurationError(f"{target} is there already: --output names another place") from None
    except OSError as error:
        raise ConfigurationError(f"{target}: {error.strerror}") from None


def _summary(each: Exported) -> str:
    starts = sorted(each.starts)
    stated = [watt_hours for watt_hours in each.starts.values() if watt_hours is not None]
    first, last = (dt.datetime.fromtimestamp(at, dt.UTC) for at in (starts[0], starts[-1] + each.step_seconds))
    listed = (starts[-1] - starts[0]) // each.step_seconds + 1
    return (
        f"{each.meter}: {first:%Y-%m-%dT%H:%MZ} to {last:%Y-%m-%dT%H:%MZ}, every {each.step_seconds} s, "
        f"{len(stated)} readings, {listed - len(stated)} gaps, {sum(stated)} Wh"
    )
