"""The options of `hushgrid testbed`, by what they are about; `testbed.choices.parameters` says which go together."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import click

from hushgrid.core.recovery import Recovery
from hushgrid.wire.model import Mechanism, Variant
from testbed.brokers.engines import ENGINES
from testbed.choices.layout import LateRequest
from testbed.choices.parameters import Parameters
from testbed.choices.rules import rules_options

_Decorated = Callable[..., Any]


def parameters_of(choices: dict[str, Any], given: Collection[str] = ()) -> Parameters:
    """What the command line says; ConfigurationError for what cannot be played. What is done to agents is checked once it is known
    who takes part: `Parameters.check_harms`. given: the options that a person gave, by name, of which a rules file decides none.
    """
    rules = choices.pop("rules", None)
    requests = (*choices.pop("asks"), *choices.pop("withdrawals"))
    kinds = {"recovery": Recovery, "mechanism": Mechanism, "variant": Variant}
    named = {name: kind(choices.pop(name)) for name, kind in kinds.items()}
    if rules is not None:
        choices |= rules_options(rules, given)
        named["mechanism"] = choices.pop("mechanism")
    parameters = Parameters.of(requests=requests, **named, **choices)
    parameters.check_choices()
    return parameters


def _windows(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 1,2") from None


def _round_seconds(_context: click.Context, _parameter: click.Parameter, value: str) -> float | None:
    if value == "auto":
        return None
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither auto nor a number of seconds") from None


def _start(_context: click.Context, _parameter: click.Parameter, value: str | None) -> dt.datetime | None:
    if value is None:
        return None
    try:
        start = dt.datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time such as 2013-03-11T00:00Z") from None
    return start.replace(tzinfo=dt.UTC) if start.tzinfo is None else start.astimezone(dt.UTC)


def _is_round(text: str) -> bool:
    """Whether a person wrote a number that rounds can be counted by."""
    return text.isdecimal() and len(text) <= 9


def _kills(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    found = []
    for item in value:
        agent, _, round_number = item.partition("@")
        if not agent or not _is_round(round_number):
            raise click.BadParameter(f"{item!r} is not AGENT@ROUND such as ppn-2@3")
        found.append((agent, int(round_number)))
    return tuple(found)


def _spans(
    _context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[tuple[str, int, int], ...]:
    found = []
    for item in value:
        agent, _, rounds = item.partition("@")
        first, _, last = rounds.partition("-")
        if not agent or not _is_round(first) or not _is_round(last):
            raise click.BadParameter(f"{item!r} is not AGENT@FROM-TO such as ppn-2@3-6")
        found.append((agent, int(first), int(last)))
    return tuple(found)


def _asks(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> tuple[LateRequest, ...]:
    found = []
    for number, item in enumerate(value, start=1):
        who, _, what = item.partition("=")
        consumer, _, round_number = who.partition("@")
        cohort, _, window = what.partition("/")
        if not consumer or not _is_round(round_number) or not cohort or (window and not _is_round(window)):
            raise click.BadParameter(f"{item!r} is not CONSUMER@ROUND=COHORT[/WINDOW] such as consumer-2@3=1..39/2")
        found.append(LateRequest(consumer, int(round_number), f"asked-{number}", cohort, int(window or 1)))
    return tuple(found)


def _withdrawals(
    _context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[LateRequest, ...]:
    found = []
    for item in value:
        who, _, name = item.partition("=")
        consumer, _, round_number = who.partition("@")
        if not consumer or not _is_round(round_number) or not name:
            raise click.BadParameter(f"{item!r} is not CONSUMER@ROUND=RULE such as consumer-2@5=sum-2")
        found.append(LateRequest(consumer, int(round_number), name))
    return tuple(found)


def _together(options: Iterable[Callable[[_Decorated], _Decorated]]) -> Callable[[_Decorated], _Decorated]:
    """One decorator of several, shown in this order."""
    ordered = list(options)

    def decorate(command: _Decorated) -> _Decorated:
        for option in reversed(ordered):
            command = option(command)
        return command

    return decorate


#: Who takes part, how many rounds are played, and what their plan says.
grid_options = _together(
    (
        click.option("--meters", default=100, show_default=True, help="Households."),
        click.option("--ppns", default=5, show_default=True, help="Privacy-preserving nodes."),
        click.option("--consumers", default=3, show_default=True, help="Consumers; the first asks for all meters."),
        click.option("--threshold", default=3, show_default=True, help="Shares needed to recover a sum (t)."),
        click.option("--width", default=4, show_default=True, help="PPNs that serve each rule (w)."),
        click.option("--rounds", default=8, show_default=True, help="Metering intervals to play."),
        click.option(
            "--window",
            "windows",
            default="1,2",
            show_default=True,
            callback=_windows,
            help="Window lengths, taken by the consumers in turn.",
        ),
        click.option(
            "--round-seconds",
            default="auto",
            show_default=True,
            callback=_round_seconds,
            help="Length of a compressed round; auto goes on when every share is receipted or given up.",
        ),
        click.option(
            "--minimum-contributors", default=15, show_default=True, help="No sum over fewer meters is released."
        ),
        click.option(
            "--recovery",
            type=click.Choice(["none", "agree", "repair"]),
            default="repair",
            show_default=True,
            help="What becomes of a lost share: none is the paper's model, agree leaves the reading out everywhere, "
            "repair asks for it again first.",
        ),
        click.option("--repair-attempts", default=5, show_default=True, help="How often a missing share is asked for."),
    )
)

#: The lossy link, and the seed of whatever is drawn.
link_options = _together(
    (
        click.option("--loss", default=0.0, show_default=True, help="Fraction of shares that the link loses."),
        click.option(
            "--link",
            "links",
            multiple=True,
            metavar="[ROUND:]WHAT=HOW,...",
            help="What the lossy link does, from that round on; repeatable. loss=0.1, bursts=ENTER/LEAVE, delay=SECONDS, "
            "late=FRACTION/SECONDS, twice=0.2, part=ONE/OTHER/ROUNDS.",
        ),
        click.option(
            "--seed", default=1, show_default=True, help="Of everything simulated: losses, constructed households."
        ),
    )
)

#: Whose readings, and who asks for what.
household_options = _together(
    (
        click.option(
            "--rules",
            type=click.Path(path_type=Path),
            metavar="RULES.toml",
            help="Play the rules of a file (docs/configurator.md): it says meters, consumers, cohorts, windows, minima and plan.",
        ),
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            help="Readings: London Datastore CSV, wide CSV, meter,start_utc,wh, or parquet.",
        ),
        click.option(
            "--start",
            callback=_start,
            metavar="TIME",
            help="First interval (UTC), e.g. 2013-03-11T00:00Z; default: the file's first.",
        ),
    )
)

#: The broker, and who comes in.
broker_options = _together(
    (
        click.option(
            "--broker",
            default="auto",
            show_default=True,
            metavar="auto|NAME|URL",
            help=f"The MQTT broker: one that is started ({', '.join(ENGINES)}) or one that runs.",
        ),
        click.option("--port", type=int, help="Port of the broker that is started; default: a free one."),
        click.option(
            "--secure",
            is_flag=True,
            help="Mutual TLS, access rules and a private authority; the doors are the ports from --port on.",
        ),
        click.option(
            "--certificate-seconds",
            default=86_400.0,
            show_default=True,
            help="Life of certificates with --secure; they are renewed after two thirds of it.",
        ),
    )
)

#: What runs as what, and how long keys last.
process_options = _together(
    (
        click.option(
            "--process-per-meter",
            is_flag=True,
            help="One hushgrid-meter process per household, instead of a few concentrators.",
        ),
        click.option(
            "--ppn-workers", default=0, show_default=True, help="Worker processes of every PPN, by meter partition."
        ),
        click.option(
            "--epoch-rounds", default=336, show_default=True, help="Rounds after which all agreement keys change."
        ),
        click.option(
            "--modulus", type=int, help="The prime q; default: the smallest known one that no sum can wrap around."
        ),
    )
)

#: What is done to agents while they run, and what an agent is.
harm_options = _together(
    (
        click.option(
            "--kill",
            "kills",
            multiple=True,
            metavar="AGENT@ROUND",
            callback=_kills,
            help="kill -9 a process in mid-run; repeatable.",
        ),
        click.option(
            "--stop",
            "stops",
            multiple=True,
            metavar="PPN@ROUND",
            callback=_kills,
            help="kill -9 a PPN, or a node of a cluster, for good; repeatable.",
        ),
        click.option(
            "--pause",
            "pauses",
            multiple=True,
            metavar="AGENT@FROM-TO",
            callback=_spans,
            help="Freeze a PPN when the first of these rounds has been played, until the second has; repeatable.",
        ),
        click.option(
            "--cut",
            "cuts",
            multiple=True,
            metavar="AGENT@FROM-TO",
            callback=_spans,
            help="Cut a PPN, or the broker, off from its network meanwhile; needs --runtime docker; repeatable.",
        ),
        click.option(
            "--runtime",
            type=click.Choice(["process", "docker"]),
            default="process",
            show_default=True,
            help="What every agent is: a process of this machine, or a container (make images).",
        ),
        click.option(
            "--away-seconds",
            default=60.0,
            show_default=True,
            help="How long a PPN may be gone before rules are placed elsewhere.",
        ),
    )
)

#: What consumers ask for in mid-run, and who lies to them.
request_options = _together(
    (
        click.option(
            "--ask",
            "asks",
            multiple=True,
            metavar="CONSUMER@ROUND=COHORT[/WINDOW]",
            callback=_asks,
            help="Ask for a rule in mid-run; COHORT is all, or positions of meters such as 1..39; repeatable.",
        ),
        click.option(
            "--withdraw",
            "withdrawals",
            multiple=True,
            metavar="CONSUMER@ROUND=RULE",
            callback=_withdrawals,
            help="Give a rule up in mid-run; repeatable.",
        ),
        click.option(
            "--liar",
            "liars",
            multiple=True,
            metavar="PPN[:CONSUMER]",
            help="A PPN whose aggregate shares are off by one, for all consumers or for one; repeatable.",
        ),
    )
)

#: Masked readings.
masking_options = _together(
    (
        click.option(
            "--mechanism",
            type=click.Choice([mechanism.value for mechanism in Mechanism]),
            default="shares",
            show_default=True,
            help="shares of readings to PPNs; pairwise: masked readings to one consumer, exact bills and grid sums; both: shares of "
            "masked readings.",
        ),
        click.option(
            "--graph",
            default="circulant:1,2",
            show_default=True,
            metavar="circulant:1,2|random:P",
            help="Who shares masks with whom (pairwise, both).",
        ),
        click.option(
            "--variant",
            type=click.Choice([variant.value for variant in Variant]),
            default="hardened",
            show_default=True,
            help="The pairwise noise; published is the paper's, which hides nothing.",
        ),
        click.option("--unsafe-published", is_flag=True, help="Yes, use the published noise, for study."),
        click.option("--period", default=48, show_default=True, help="Rounds of a billing period (pairwise, both)."),
        click.option(
            "--self-masks",
            is_flag=True,
            help="Rounds may be closed without silent meters (pairwise, hardened): two more messages a round.",
        ),
        click.option(
            "--losses-borne", default=2, show_default=True, help="Silent meters a round may be closed without."
        ),
        click.option(
            "--colluders", default=3, show_default=True, help="Meters that may pool what they know (pairwise, both)."
        ),
    )
)
