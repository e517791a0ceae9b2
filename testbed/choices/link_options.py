"""`--link`: what the lossy link does, from which round of the run on, as a person writes it.

loss=0.1,bursts=0.05/0.5            from the first round: one in ten lost, and bursts (enter/leave fraction a round)
5:loss=0.3,delay=0.2,late=0.1/0.5   from round 5: up to 0.2 s on the way, one in ten held back for 0.5 s more
7:twice=0.2,part=ppn-1/m0003/3      from round 7: one in five twice; ppn-1 and m0003 parted for three rounds ("*": anybody)

Parted can be a meter and a PPN, a PPN and a consumer or `configurator`, and, where masked readings go to it, a meter and a consumer.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import ValidationError

from hushgrid.conducted.link_settings import LinkStage
from hushgrid.conducted.loss import EVERYBODY
from hushgrid.errors import ConfigurationError
from hushgrid.wire.role import Role

#: Between whom a link can be parted.
_PARTED = (
    {Role.METER, Role.PPN},
    {Role.PPN, Role.CONFIGURATOR},
    {Role.PPN, Role.CONSUMER},
    {Role.METER, Role.CONSUMER},
)


def parse_stages(texts: Sequence[str], first_round: int, seed: int) -> tuple[LinkStage, ...]:
    """The stages in the order of their rounds; ConfigurationError for what cannot be read. first_round: the run's first."""
    found = sorted((_parse(text, first_round, seed) for text in texts), key=lambda stage: stage.from_round)
    rounds = [stage.from_round for stage in found]
    if len(set(rounds)) != len(rounds):
        raise ConfigurationError("--link: two stages begin in one round")
    return tuple(found)


def check_rounds(stages: Sequence[LinkStage], first_round: int, rounds: int) -> None:
    """ConfigurationError for a stage that is in force in none of the run's rounds."""
    for stage in stages:
        if stage.from_round >= first_round + rounds:
            at = stage.from_round - first_round + 1
            raise ConfigurationError(f"--link {at}: is never in force: rounds are counted from 1 to {rounds}")


def check_parties(stages: Sequence[LinkStage], parties: dict[Role, Collection[str]]) -> None:
    """ConfigurationError for a partition that parts nobody. parties: who takes part, by role; meters and consumers send nothing to
    each other where PPNs take part.
    """
    for partition in (partition for stage in stages for partition in stage.partitions):
        named = f"--link part={partition.one}/{partition.other}"
        roles = []
        for party in (partition.one, partition.other):
            roles.append({role for role, ids in parties.items() if party == EVERYBODY or party in ids})
            if not roles[-1]:
                raise ConfigurationError(f"{named}: {party} is no meter, PPN or consumer of this run, nor configurator")
        linked = _PARTED[:-1] if parties[Role.PPN] else _PARTED
        if not any({one, other} in linked for one, other in itertools.product(*roles)):
            raise ConfigurationError(f"{named}: the lossy link carries nothing between them")


def _parse(text: str, first_round: int, seed: int) -> LinkStage:
    number, colon, rest = text.partition(":")
    if not colon:
        number, rest = "1", text
    try:
        at = first_round + int(number) - 1
        if at < first_round:
            raise ValueError("rounds are counted from 1")
        content: dict[str, Any] = {"from_round": at, "seed": seed}
        seen: set[str] = set()
        for item in rest.split(","):
            name, _, value = item.strip().partition("=")
            if name in seen and name != "part":
                raise ValueError(f"{name} is there twice")
            seen.add(name)
            _add(content, name, value, at)
        return LinkStage.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(f"--link {text}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (ValueError, KeyError) as error:
        raise ConfigurationError(f"--link {text}: cannot be read: {error}") from None


def _add(content: dict[str, Any], name: str, value: str, at: int) -> None:
    match name:
        case "loss":
            content["loss_fraction"] = float(value)
        case "bursts":
            enter, leave, *loss = (float(part) for part in value.split("/"))
            content["bursts"] = {
                "enter_fraction": enter,
                "leave_fraction": leave,
                "loss_fraction": loss[0] if loss else 1.0,
            }
        case "delay":
            content["delay_most_seconds"] = float(value)
        case "late":
            fraction, seconds = value.split("/")
            content["reorder_fraction"], content["reorder_seconds"] = float(fraction), float(seconds)
        case "twice":
            content["duplicate_fraction"] = float(value)
        case "part":
            one, other, rounds = value.split("/")
            if int(rounds) < 1:
                raise ValueError("a partition lasts at least 1 round")
            parted = {"one": one, "other": other, "first_round": at, "until_round": at + int(rounds)}
            content.setdefault("partitions", []).append(parted)
        case _:
            raise ValueError(f"{name!r} is none of loss, bursts, delay, late, twice, part")
