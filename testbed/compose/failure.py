"""Why set-up failed, told to the other containers of docker-compose.yml.

docker-compose 1.29 waits for set-up's health, shows no log meanwhile, and when set-up ends it says "Container 63ab... is unhealthy"
and no more. So a set-up that fails stays, is taken for healthy, and says at a port why it failed. It cannot leave that in a volume:
the volumes may be what is wrong. The check asks for it and ends the run with it. All others ask too, and keep still then.
"""

from __future__ import annotations

import signal
import socket
from typing import NoReturn

#: The service's name in the network, and where it tells; nobody listens there when set-up did its work.
SETUP, PORT = "setup", 8879
_PATIENCE_SECONDS = 10.0


def tell(reason: str, listening: socket.socket) -> NoReturn:
    """Say to whoever connects why set-up failed, for ever."""
    while True:
        caller, _ = listening.accept()
        with caller:
            try:
                caller.sendall(reason.encode())
            except OSError:  # it is gone, and asks again if it wants to know
                continue


def told(host: str = SETUP, port: int = PORT) -> str | None:
    """Why set-up failed; None when it did not, or is not there."""
    try:
        with socket.create_connection((host, port), timeout=_PATIENCE_SECONDS) as asked:
            return b"".join(iter(lambda: asked.recv(4096), b"")).decode(errors="replace") or None
    except OSError:
        return None


def keep_still_after_failure() -> None:
    """Return at once when set-up did its work; else never: the check says it, and a container that ends would end the run."""
    while told() is not None:
        signal.pause()
