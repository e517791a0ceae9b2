"""A warm parent: it imports what agents import once, and forks an operating-system process for each of them.

Half of what a small testbed costs are the same imports in a dozen processes. `python -m testbed.warm NUMBER` serves the testbed over
the socket that has this file descriptor, a JSON object a line: who is to be started, with which arguments and which log. It answers
with a process id, and says later how that process ended. It runs no threads and no event loop, so that a fork copies nothing half done.
Randomness that protects someone comes from the operating system, behind the fork: nothing of it is shared.

Agents are started cold, as `python -m MODULE`, where this cannot be had (no Linux) or is not wanted (HUSHGRID_COLD_START=1).
Meters of a process each always are: what they load and weigh is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hushgrid.wire.model import Model
from testbed.launch import Launch

#: What may be started warm, by the name after `python -m`: where its `main` is.
MODULES = {
    "configurator": "configurator.__main__",
    "consumer_node": "consumer_node.__main__",
    "testbed.agents.fleet": "testbed.agents.fleet",
    "testbed.agents.liar": "testbed.agents.liar",
    "testbed.agents.ppn": "testbed.agents.ppn",
}
#: What agents import later, when something of it is first needed.
_LATER = (
    "alembic.ddl",
    "concurrent.futures.thread",
    "cryptography.hazmat.primitives.asymmetric.rsa",
    "encodings.idna",
    "hushgrid.conducted.pace",
    "hushgrid.relational.migrating",
    "meter_agent.sources.files.replay",
    "sqlalchemy.dialects.sqlite",
)
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
# Looked up here and not in the child: between fork and exec as little as possible may happen.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with_parent() -> None:
    """In a child: the kernel kills it when its parent dies, however that happens."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def available() -> bool:
    """Whether agents can be and are to be forked here."""
    return hasattr(os, "pidfd_open") and sys.platform == "linux" and not os.environ.get("HUSHGRID_COLD_START")


@dataclass(slots=True)
class WarmProcess:
    """One forked agent, with the face of `asyncio.subprocess.Process`."""

    pid: int
    _ended: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def returncode(self) -> int | None:
        """The exit status, minus the signal that killed it; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """The exit status, once there is one."""
        return await asyncio.shield(self._ended)

    def send_signal(self, number: int) -> None:
        """Send it a signal; ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError(self.pid)
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def end(self, status: int) -> None:
        """The parent said that it has ended."""
        if not self._ended.done():
            self._ended.set_result(status)


class WarmParent:
    """The testbed's end of the socket. Once the parent is gone, `alive` is false and all that it forked has died with it."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.alive = True
        self._process, self._reader, self._writer = process, reader, writer
        self._living: dict[int, WarmProcess] = {}
        self._asked: asyncio.Queue[asyncio.Future[WarmProcess]] = asyncio.Queue()
        self._listening = asyncio.create_task(self._listen(), name="listen to the warm parent")

    @classmethod
    async def begin(cls) -> WarmParent:
        """Start one; it imports while the testbed goes on. OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "testbed.warm",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
                preexec_fn=die_with_parent,
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """Of the parent itself."""
        return self._process.pid

    async def start(self, launch: Launch, log_file: Path) -> WarmProcess:
        """Fork an agent; OSError when the parent is gone."""
        if not self.alive:
            raise BrokenPipeError("the warm parent is gone")
        answer: asyncio.Future[WarmProcess] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait(answer)
        arguments = [*launch.options, "--config", str(launch.configuration)]
        request = {"module": launch.module, "arguments": arguments, "log": str(log_file), "name": launch.agent}
        self._writer.write(json.dumps(request).encode() + b"\n")
        return await answer

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                said: dict[str, int] = json.loads(line)
                if "started" in said:
                    process = self._living[said["started"]] = WarmProcess(said["started"])
                    answer = self._asked.get_nowait()
                    if not answer.done():
                        answer.set_result(process)
                else:
                    self._living.pop(said["ended"]).end(said["status"])
        except ConnectionError:
            pass
        self.alive = False
        for process in self._living.values():
            process.end(-signal.SIGKILL)
        while not self._asked.empty():
            answer = self._asked.get_nowait()
            if not answer.done():
                answer.set_exception(BrokenPipeError("the warm parent is gone"))

    async def close(self) -> None:
        """End the parent, and with it whatever it forked that still runs."""
        self._writer.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._listening


# What follows runs in the parent, and in what it forks.


def imported(*modules: str) -> bool:
    """Import all, and what is named; whether a fork is safe behind it: nothing imported may have left a thread."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy's would start one a core; sums of integers need none
    try:
        for module in (*MODULES.values(), *_LATER, *modules):
            importlib.import_module(module)
        _build(Model)
    finally:
        del os.environ["OPENBLAS_NUM_THREADS"]
    gc.collect()
    gc.freeze()  # what is shared stays shared
    return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208


def _build(model: type[Model]) -> None:
    """Make the validators of all models, which each agent would make for itself: half of what its start costs."""
    for each in model.__subclasses__():
        each.model_rebuild()
        _build(each)


def requested(channel: socket.socket) -> dict[str, Any] | None:
    """Fork whoever is asked for; in the parent None once the testbed is gone, in a child what it is to be."""
    selector = selectors.DefaultSelector()
    selector.register(channel, selectors.EVENT_READ)
    children: dict[int, int] = {}  # process id by its file descriptor
    unread = b""
    while True:
        for key, _ in selector.select():
            if key.fileobj is not channel:
                selector.unregister(key.fileobj)
                pid = children.pop(key.fd)
                os.close(key.fd)
                _, status = os.waitpid(pid, 0)
                _say(channel, {"ended": pid, "status": os.waitstatus_to_exitcode(status)})
                continue
            received = channel.recv(1 << 16)
            if not received:
                return None
            *lines, unread = (unread + received).split(b"\n")
            for line in lines:
                pid = os.fork()
                if not pid:
                    selector.close()
                    channel.close()
                    for descriptor in children:
                        os.close(descriptor)
                    request: dict[str, Any] = json.loads(line)
                    return request
                descriptor = os.pidfd_open(pid)
                children[descriptor] = pid
                _say(channel, {"started": pid})
                selector.register(descriptor, selectors.EVENT_READ)


def _say(channel: socket.socket, said: dict[str, int]) -> None:
    channel.sendall(json.dumps(said).encode() + b"\n")


def _become(request: dict[str, Any], parent: int) -> None:
    """In a child: what `create_subprocess_exec` would have done for it."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    _prctl(_PR_SET_NAME, ctypes.c_char_p(request["name"].encode()[:15]))
    sink = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.close(sink)
    sys.argv = [request["module"], *request["arguments"]]


def main() -> None:
    """Entry of the process: first of the parent, then of every agent that it forked."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    if not imported():
        sys.exit(1)
    serve(channel)


def serve(channel: socket.socket) -> None:
    """Be the parent until the testbed is gone, and in every agent that is forked the agent."""
    parent = os.getpid()
    request = requested(channel)
    if request is not None:
        _become(request, parent)
        importlib.import_module(MODULES[request["module"]]).main()


if __name__ == "__main__":
    main()
