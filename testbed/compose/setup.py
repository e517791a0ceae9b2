"""Writes a whole testbed into the volumes of docker-compose.yml: `python -m testbed.compose.setup --directory DIR`.

Every agent's volume is mounted as a folder of DIR and gets what only that agent may know. Runs once, and then stays, idle: a
container that ends would end the whole of `docker-compose up --exit-code-from check`. What cannot be played is left for the check to
say, beside a deployment that comes up: a set-up that ends would be taken for the end of the run. Where not even that can be written,
it tells the check why (testbed/compose/failure.py).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from configurator.authority.authority import write_secret
from hushgrid.errors import ConfigurationError, HushgridError
from hushgrid.shell.runtime import exit_status
from testbed.brokers.broker import RunningBroker
from testbed.brokers.doors import write_doors
from testbed.choices.parameters import Parameters
from testbed.compose.failure import PORT, tell
from testbed.compose.health import METER, count_of
from testbed.compose.slot import READY
from testbed.deployment import GRID, Deployer
from testbed.households import constructed_truth
from testbed.places import (
    AUTHORITY,
    BROKER,
    BROKER_GROUP,
    CONDUCTOR,
    DESCRIPTION,
    HOME,
    METERS,
)

_CHOICES = ("meters", "ppns", "consumers", "threshold", "width", "rounds", "seed", "loss", "ppn_workers")


#: Households of a deployment that is not played, at least: enough for any count of meter containers below.
_ENOUGH_METERS = 20
#: All readings of a run are held in the memory of this container and the check's.
_MOST_ROUNDS = 10_000
#: More than any file that set-up writes.
_TRIED_BYTES = 1 << 18


def chosen(choices: Mapping[str, str], meters: int) -> Parameters:
    """What the command line asks for; ConfigurationError."""
    defaults = Parameters().options
    values: dict[str, Any] = {}
    for name, text in choices.items():
        kind = type(defaults[name])
        try:
            values[name] = kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise ConfigurationError(f"--{name.replace('_', '-')} {text}: expected {wanted}") from None
    parameters = Parameters.of(meters=meters, process_per_meter=True, **values)
    parameters.check()
    if parameters.play.rounds > _MOST_ROUNDS:
        raise ConfigurationError(f"--rounds {parameters.play.rounds} exceeds {_MOST_ROUNDS}")
    return parameters


def write_or_refuse(choices: Mapping[str, str], meters: int, directory: Path, broker_urls: tuple[str, ...] = ()) -> str:
    """Write what is asked for; what cannot be played is written down for the check, beside a deployment that comes up."""
    try:
        return write(chosen(choices, meters), directory, broker_urls)
    except HushgridError as error:
        refusal = str(error)
    unplayed = Parameters.of(meters=max(meters, _ENOUGH_METERS), process_per_meter=True)
    write(unplayed, directory, broker_urls, refusal)
    return f"refused: {refusal}"


def write(
    parameters: Parameters, directory: Path, broker_urls: tuple[str, ...] = (), refusal: str | None = None
) -> str:
    """Write everything; what is said of it. broker_urls: of an open broker, one per node; none for a broker with doors.

    refusal: why this is not what was asked for, and not to be played.
    """
    _clear(directory)
    _try(directory)
    truth = constructed_truth(parameters.grid.meters, parameters.play.rounds, seed=parameters.play.seed)
    wishes = parameters.wishes(truth.meters)
    broker = (
        RunningBroker(broker_urls, "the broker") if broker_urls else write_doors(directory, GRID, [BROKER], AUTHORITY)
    )
    deployer = Deployer(parameters, truth, wishes, directory, broker, home=HOME, stations=directory / METERS)
    deployer.prepare()
    launches = deployer.write()
    _give_to_broker(directory / BROKER)
    description = {
        "parameters": {name: parameters.options[name] for name in _CHOICES},
        "refusal": refusal,
        "broker_urls": list(broker.urls),
        "conductor_name": broker.entrance.conductor if broker.entrance else None,
        "conductor": deployer.deployment.conductor.to_bytes().hex(),
        "conductor_agreement": deployer.deployment.conductor_agreement.to_bytes().hex(),
    }
    write_secret(directory / CONDUCTOR / DESCRIPTION, json.dumps(description, indent=1).encode())
    (directory / METERS / READY).write_text(secrets.token_hex(8), encoding="ascii")
    first_door = min(broker.entrance.urls.values()) if broker.entrance else broker.urls[0]
    return (
        f"{len(truth.meters)} households, {truth.label}; seed {parameters.play.seed}; {len(launches)} agents are configured, "
        f"for the broker at {first_door}"
    )


def _clear(directory: Path) -> None:
    """Empty every volume; the meters' mark first, so that no meter takes up what is going away."""
    if not directory.is_dir():
        raise ConfigurationError(f"{directory}: no such directory")
    for volume in sorted(directory.iterdir(), key=lambda each: (each.name != METERS, each.name)):
        try:
            (volume / READY).unlink(missing_ok=True)
            for entry in volume.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        except OSError as error:
            raise _unusable(volume, error) from None


def _try(directory: Path) -> None:
    """ConfigurationError for the first volume that takes no file: what writes there later could not name it."""
    for volume in sorted(directory.iterdir()):
        tried = volume / ".tried"
        try:
            tried.write_bytes(bytes(_TRIED_BYTES))
            tried.unlink()
        except OSError as error:
            with contextlib.suppress(OSError):
                tried.unlink()
            raise _unusable(volume, error) from None


def _unusable(volume: Path, error: OSError) -> ConfigurationError:
    """What is wrong with a volume, and whose it is where that matters."""
    said = f"the volume {volume.name} cannot be written: {error.strerror}"
    if isinstance(error, PermissionError):
        said += f"; it belongs to user {volume.stat().st_uid}, and set-up is user {os.geteuid()}"
    return ConfigurationError(said)


def _give_to_broker(directory: Path) -> None:
    """The broker's account is another one: it reads its files as their group."""
    for path in directory.iterdir():
        os.chown(path, -1, BROKER_GROUP)
        path.chmod(0o640)


def main() -> None:
    """Entry of the container."""
    parser = argparse.ArgumentParser(description="Write a testbed's deployment into the volumes of docker-compose.yml.")
    parser.add_argument("--directory", type=Path, required=True, metavar="DIR", help="every volume is a folder of it")
    parser.add_argument("--meters-service", default=METER, help="the service whose containers are counted")
    parser.add_argument("--done", type=Path, help="touched when everything is written")
    parser.add_argument(
        "--broker-url", action="append", help="a node of an open cluster; repeatable; default: one broker with doors"
    )
    for name in _CHOICES[1:]:
        default = str(Parameters().options[name])
        parser.add_argument(f"--{name.replace('_', '-')}", default=default, help=f"default: {default}")
    choices = vars(parser.parse_args())
    directory, service, done = (choices.pop(name) for name in ("directory", "meters_service", "done"))
    urls = tuple(choices.pop("broker_url") or ())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as a container's first process it would ignore it else
    try:
        if count_of(BROKER):
            raise ConfigurationError("the testbed of these volumes is running: docker-compose down, then up again")
        print(write_or_refuse(choices, count_of(service), directory, urls), flush=True)  # noqa: T201  # this is what the container says
    except HushgridError as error:
        _failed(error, done)
    except OSError as error:  # a volume that was tried and is full now
        _failed(ConfigurationError(f"the volumes cannot be written: {error}"), done)
    except Exception as error:  # noqa: BLE001  # a container that ends is named by nobody
        traceback.print_exc()
        _failed(HushgridError(f"{type(error).__name__}: {error}"), done)
    if done is not None:
        done.touch()
    signal.pause()


def _failed(error: HushgridError, done: Path | None) -> NoReturn:
    """Say why, and to everybody who asks; only a set-up that nobody waits for ends."""
    status = exit_status("set-up", error)
    if done is None:
        sys.exit(status)
    with socket.create_server(("", PORT)) as listening:
        done.touch()
        tell(str(error), listening)


if __name__ == "__main__":
    main()
