"""What a supervisor such as systemd is told: ready, alive, stopping (sd_notify(3)). Nothing is said where nobody listens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping

_MICROSECONDS = 1e-6


def notify(said: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send one message; False where there is no supervisor, or it does not take it."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.send(said.encode())
        return True
    return False


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often this process has to say that it lives; None when nobody asks it to."""
    microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or int(microseconds) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) * _MICROSECONDS


async def keep_alive(environment: Mapping[str, str] = os.environ) -> None:
    """Say ready, then, for ever, that the loop goes round; a loop that hangs is ended and started again."""
    notify("READY=1", environment)
    seconds = watchdog_seconds(environment)
    try:
        while seconds is not None:
            notify("WATCHDOG=1", environment)
            await asyncio.sleep(seconds / 3)
        await asyncio.Event().wait()
    finally:
        notify("STOPPING=1", environment)
