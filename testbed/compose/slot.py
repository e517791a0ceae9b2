"""One of many meter containers that differ in nothing: `python -m testbed.compose.slot --volume DIR`.

`docker-compose up --scale meter=20` starts twenty equal containers on one volume. Set-up writes a folder for each household; a
container takes the first folder that no other holds, by locking it, and is that household's meter as long as it lives. When it
is killed the lock falls, and the container that comes after it takes the folder up with all its state. (In the field a meter
is a machine of its own, with a directory that nobody else can see.)
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from hushgrid.errors import HushgridError
from hushgrid.shell.runtime import run
from testbed.agents.meter import LinkedMeterConfig, serve
from testbed.compose.begin import say_if_started_again, wait_for_authority
from testbed.compose.failure import keep_still_after_failure

#: Written last by set-up; its content is another one for every deployment.
READY = "ready"
_LOOK_SECONDS = 0.5


class SupersededError(HushgridError):
    """Set-up has written another deployment over this one."""


def deployment_of(volume: Path) -> str | None:
    """Which deployment a volume holds; None while it is written."""
    try:
        return (volume / READY).read_text(encoding="ascii")
    except FileNotFoundError:
        return None


def take(volume: Path) -> Path | None:
    """The first household's folder that no other container holds, locked until this process ends; None when all are taken."""
    for folder in sorted(path for path in volume.iterdir() if path.is_dir()):
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return folder
    return None


def _wait_for_folder(volume: Path) -> tuple[Path, str]:
    while True:
        deployment = deployment_of(volume)
        folder = take(volume) if deployment is not None else None
        if folder is not None and deployment is not None:
            return folder, deployment
        time.sleep(_LOOK_SECONDS)


async def _watch(volume: Path, deployment: str) -> None:
    while deployment_of(volume) == deployment:  # noqa: ASYNC110  # a file in a volume tells nobody that it has changed
        await asyncio.sleep(_LOOK_SECONDS)
    raise SupersededError("another deployment has been written; this meter starts anew")


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(description="Be the meter of the next free household of a volume.")
    parser.add_argument("--volume", type=Path, required=True, metavar="DIR")
    volume = parser.parse_args().volume
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as a container's first process it would ignore it else
    folder, deployment = _wait_for_folder(volume)
    keep_still_after_failure()
    configuration = folder / f"{folder.name}.toml"
    say_if_started_again(folder)
    wait_for_authority(configuration)

    async def meter(config: LinkedMeterConfig) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(serve(config), name="meter")
            group.create_task(_watch(volume, deployment), name="deployment")

    status = run("hushgrid-meter", LinkedMeterConfig, meter, ["--config", str(configuration)])
    if deployment_of(volume) != deployment and status:  # anew in the same container: one that ends counts as ill
        os.execv(sys.executable, [sys.executable, "-m", "testbed.compose.slot", *sys.argv[1:]])  # noqa: S606
    sys.exit(status)


if __name__ == "__main__":
    main()
