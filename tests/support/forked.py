"""`hushgrid`, forked from a process that has imported what it imports: a process of its own for each call, without their second of imports.

`python -m support.forked NUMBER` serves one process of tests over the socket that has this file descriptor, as `testbed.warm` serves a
testbed. The testbed's own warm parent is forked likewise; how a person starts both is for tests/testbed/whole/test_warm_start.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from testbed import warm

_NAME = "hushgrid"


class Commands:
    """The tests' end of the socket. One command runs at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.forked", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )  # fmt: skip
        self._channel = ours

    def run(self, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """What `subprocess.run` would return for `hushgrid ARGUMENTS` here and now; subprocess.TimeoutExpired."""
        with tempfile.TemporaryDirectory(prefix="hushgrid-said-") as directory:
            out, err = Path(directory, "out"), Path(directory, "err")
            request = {
                "arguments": arguments, "environment": dict(os.environ), "directory": str(Path.cwd()), "out": str(out), "err": str(err),
            }  # fmt: skip
            self._channel.sendall(json.dumps(request).encode() + b"\n")
            pid = self._said()["started"]
            end = time.monotonic() + timeout
            try:
                while (said := self._said(end - time.monotonic())).get("ended") != pid:
                    pass
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                while self._said().get("ended") != pid:
                    pass
                raise subprocess.TimeoutExpired(
                    [_NAME, *arguments], timeout, out.read_bytes(), err.read_bytes()
                ) from None
            return subprocess.CompletedProcess([_NAME, *arguments], said["status"], out.read_text(), err.read_text())

    def _said(self, seconds: float | None = None) -> dict[str, int]:
        """The next line; TimeoutError, behind which nothing of it is lost: a line is sent at once."""
        self._channel.settimeout(None if seconds is None else max(seconds, 0.001))
        received = b""
        while not received.endswith(b"\n"):
            byte = self._channel.recv(1)
            if not byte:
                raise RuntimeError("the process that forks commands is gone")
            received += byte
        said: dict[str, int] = json.loads(received)
        return said

    def close(self) -> None:
        """End the server, and with it whatever it forked."""
        self._channel.close()
        self._process.wait()


class _Forked:
    """The testbed's warm parent as a fork, with the face of `asyncio.subprocess.Process`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        _, status = await asyncio.to_thread(os.waitpid, self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def _fork_warm_parent() -> None:
    """Let the testbed find its warm parent forked already. In an agent that this one forks this does not return."""
    ours, theirs = socket.socketpair()
    testbed = os.getpid()
    pid = os.fork()
    if not pid:
        warm.die_with_parent()
        if os.getppid() != testbed:
            os._exit(1)
        ours.close()
        os.setsid()
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silence, descriptor)
        warm.serve(theirs)
        os._exit(0)
    theirs.close()

    async def begin() -> warm.WarmParent:
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return warm.WarmParent(_Forked(pid), reader, writer)

    warm.WarmParent.begin = begin


def _become(request: dict[str, Any]) -> None:
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for descriptor, name in ((1, "out"), (2, "err")):
        sink = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(sink, descriptor)
        os.close(sink)
    sys.argv = [_NAME, *request["arguments"]]


def main() -> None:
    """Entry of the process: first of the server, then of every command that it forked."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    if not warm.imported("testbed.command"):
        sys.exit("a thread is left behind an import: nothing can be forked")
    request = warm.requested(channel)
    if request is not None:
        _become(request)
        _fork_warm_parent()
        sys.modules["testbed.command"].main()


if __name__ == "__main__":
    main()
