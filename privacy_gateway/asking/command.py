"""`hushgrid ask KIND`: a question to a privacy gateway, and its answer in sentences."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from hushgrid.cli import stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.printing import Terminal
from hushgrid.shell.runtime import EXIT_FAILURE
from hushgrid.tables import Heading, Sheet
from hushgrid.wire.purpose import Purpose
from privacy_gateway.asking.door import AskingClient, GatewaySaysNoError, RemoteGateway
from privacy_gateway.questions.question import GatewayQuestion, StatisticKind

_ROUNDS = re.compile(r"([0-9]+)(?:\.\.([0-9]+))?")


@click.command("ask")
@click.argument("kind", type=click.Choice([kind.value for kind in StatisticKind]), metavar="KIND")
@click.option("--gateway", required=True, envvar="HUSHGRID_GATEWAY", metavar="URL", help="Its address.")
@click.option("--client", required=True, envvar="HUSHGRID_GATEWAY_CLIENT", metavar="NAME", help="As whom.")
@click.option(
    "--secret-file", required=True, envvar="HUSHGRID_GATEWAY_SECRET_FILE", metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False), help="The client's secret, in a file.",
)  # fmt: skip
@click.option(
    "--ca", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.crt",
    help="The authority that the gateway's certificate is from; the system's otherwise.",
)  # fmt: skip
@click.option("--cohort", default="all", show_default=True, help='"all", or ids and ranges "first..last", by commas.')
@click.option("--rounds", required=True, metavar="FIRST..LAST", help="Both are in it.")
@click.option(
    "--purpose",
    required=True,
    type=click.Choice([purpose.value for purpose in Purpose]),
    metavar="PURPOSE",
    help="What for: billing, operations, programmes, forecasting, statistics, research, services.",
)
@click.option("--epsilon", help="The most that the answer may cost each home.")
@click.option(
    "--error", metavar="WH|PERCENT%", help="Instead: the error wanted with 95 % confidence, such as 500 or 5%."
)
@click.option("--step", type=int, metavar="ROUNDS", help="Of a load curve.")
@click.option("--bins", metavar="WH,WH,...", help="Edges of a histogram.")
@click.option("--quantile", metavar="PERCENT")
@click.option("--threshold", type=int, metavar="WH", help="Of share-above.")
@click.option("--json", "as_json", is_flag=True, help="The answer as the gateway gave it.")
@stops_with_one_line
def ask(gateway: str, client: str, secret_file: Path, ca: Path | None, *, as_json: bool, **asked: Any) -> None:
    """Ask a privacy gateway about the sum of many homes.

    KIND: sum, mean, count, load-curve, histogram, quantile, share-above. The same question gets the same answer, free.

    Exit status 0: answered; 1: refused, and nothing is charged; 2: bad input, or no gateway is there.
    """
    question = _question(**asked)
    door = RemoteGateway(gateway, ca)
    try:
        said = door.ask(door.token(AskingClient(client, _secret(secret_file))), question.to_json())
    except GatewaySaysNoError as error:
        click.echo(f"hushgrid: {error}", err=True)
        sys.exit(EXIT_FAILURE)
    if as_json:
        click.echo(json.dumps(said))
    else:
        _show(Terminal(), question, said, gateway)


def _question(
    *, kind: str, cohort: str, rounds: str, purpose: str, epsilon: str | None, error: str | None, step: int | None,
    bins: str | None, quantile: str | None, threshold: int | None,
) -> GatewayQuestion:  # fmt: skip
    first, last = _rounds(rounds)
    percent = error is not None and error.endswith("%")
    fields = {
        "kind": kind,
        "cohort": "all" if cohort == "all" else [item.strip() for item in cohort.split(",")],
        "first_round": first,
        "until_round": last + 1,
        "purpose": purpose,
        "epsilon": epsilon,
        "error_percent": error.removesuffix("%").strip() if error and percent else None,
        "error_watt_hours": error if error and not percent else None,
        "step_rounds": step,
        "bin_edges_watt_hours": None if bins is None else [_whole(edge, "--bins") for edge in bins.split(",")],
        "quantile_percent": quantile,
        "threshold_watt_hours": threshold,
    }
    try:
        stated = {name: value for name, value in fields.items() if value is not None}
        return GatewayQuestion.model_validate_json(json.dumps(stated))
    except ValidationError as refused:
        wrong = refused.errors()[0]
        where = "".join(f"{step}: " for step in wrong["loc"][:1])
        raise ConfigurationError(f"no question: {where}{wrong['msg'].removeprefix('Value error, ')}") from None


def _rounds(text: str) -> tuple[int, int]:
    found = _ROUNDS.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"--rounds {text}: expected FIRST..LAST")
    first = _whole(found[1], "--rounds")
    last = first if found[2] is None else _whole(found[2], "--rounds")
    if last < first:
        raise ConfigurationError(f"--rounds {text}: the last one is before the first")
    return first, last


def _whole(text: str, option: str) -> int:
    try:
        return int(text) if len(text) <= 20 else _refuse(text)
    except ValueError:
        raise ConfigurationError(f"{option} {text}: not a whole number") from None


def _refuse(_: str) -> int:
    raise ValueError


def _secret(path: Path) -> str:
    try:
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or 'not ASCII text'}") from None
    if not secret or not secret.isprintable():
        raise ConfigurationError(f"{path}: expected a client's secret, on one line")
    return secret


def _show(terminal: Terminal, question: GatewayQuestion, said: dict[str, Any], gateway: str) -> None:
    """In sentences. ConfigurationError for an answer of which a number is not understood."""
    try:
        values = [_number(value) for value in said["values"]]
        width, homes = _number(said["half_width"]), _number(said["homes"])
        included, expected = _number(said["included"]), _number(said["expected"])
        epsilon, left, charged = _number(said["epsilon"]), _number(said["epsilon_left"]), said["charged"] is True
        rho = _number(said["rho"])
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError(f"{gateway}: its answer is not understood") from None
    unit = "readings" if question.kind is StatisticKind.COUNT else "Wh"
    last = question.until_round - 1
    terminal.say(
        f"{question.kind.value} of {homes:,} homes, rounds {question.first_round} to {last}, for {question.purpose}"
    )
    if len(values) == 1:
        terminal.say(
            f"{_plain(values[0])} {unit}{' per home and round' if question.kind is StatisticKind.MEAN else ''}"
        )
    else:
        _show_curve(terminal, question, values)
    if width:
        terminal.say(
            f"+-{_plain(width)} {unit} with {said['confidence_percent']} % confidence: {said['mechanism']} noise, drawn by the "
            f"{said['noise_by']}"
        )
    terminal.say(f"{included:,} of {expected:,} readings are in it")
    cost = f"epsilon {epsilon:g}" if epsilon or not rho else f"rho {rho:g}"
    paid = f"charged {cost} to each home" if charged else f"answered before ({cost} to each home then): free now"
    terminal.say(f"{paid}; an epsilon of {left:g} is left to all of them")


def _show_curve(terminal: Terminal, question: GatewayQuestion, values: list[int | float]) -> None:
    step = question.step_rounds or 1
    sheet = Sheet("", [Heading("rounds"), Heading("Wh", right=True)])
    for at, value in enumerate(values):
        first = question.first_round + at * step
        sheet.add(f"{first} to {first + step - 1}", _plain(value))
    terminal.show(sheet)


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return value


def _plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
