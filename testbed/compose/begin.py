"""Begins an agent of docker-compose.yml once the authority is there: `python -m testbed.compose.begin MODULE --config FILE`.

Without a file, as for the authority itself, at once. When set-up failed: never.

Compose could wait for the authority's health instead. It would show nobody's log meanwhile, and when the authority never gets well it
would give up without a name or a reason. So everybody is started, and each waits by itself, without a word.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import tomllib
import urllib.parse
from pathlib import Path

from testbed.compose.failure import keep_still_after_failure

_LOOK_SECONDS = 0.5
#: In an agent's volume: the container that began there last.
_BEGUN = ".begun"


def wait_for_authority(configuration: Path) -> None:
    """Return once somebody listens where an agent is to get its certificates; at once when its configuration names no authority.

    An agent that asks in vain logs it, and its pauses grow. A configuration that cannot be read is the agent's to complain of.
    """
    try:
        url = tomllib.loads(configuration.read_text(encoding="utf-8")).get("authority", {}).get("url")
    except (OSError, ValueError):
        return
    address = urllib.parse.urlsplit(url or "")
    while address.hostname is not None and address.port is not None:
        try:
            socket.create_connection((address.hostname, address.port), timeout=_LOOK_SECONDS).close()
        except OSError:
            time.sleep(_LOOK_SECONDS)
        else:
            return


def say_if_started_again(directory: Path) -> None:
    """One line when this container ran before on what set-up wrote: Docker starts who ends again, and who was killed left no word."""
    mark, here = directory / _BEGUN, socket.gethostname()  # another one for every container
    try:
        again = mark.exists() and mark.read_text(encoding="utf-8") == here
        mark.write_text(here, encoding="utf-8")
    except OSError:  # what is wrong with it the agent says
        return
    if again:
        print(  # noqa: T201  # this is what the container says
            "started again: what ran here has ended; where no last word stands above it was killed, for the memory it took or from outside",
            flush=True,
        )


def main() -> None:
    """Entry of the container; the agent takes this process over."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as a container's first process it would ignore it else
    module, *arguments = sys.argv[1:]
    keep_still_after_failure()
    if "--config" in arguments:
        configuration = Path(arguments[arguments.index("--config") + 1])
        say_if_started_again(configuration.parent)
        wait_for_authority(configuration)
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606


if __name__ == "__main__":
    main()
