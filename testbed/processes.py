"""Every child is an operating-system process of its own; what dies is restarted, and nothing outlives the testbed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from hushgrid.errors import ConfigurationError
from hushgrid.shell.runtime import EXIT_CONFIGURATION
from testbed.faults import Harm
from testbed.launch import Launch
from testbed.warm import MODULES, WarmParent, WarmProcess, available, die_with_parent

log = logging.getLogger("hushgrid.processes")

_STOP_SECONDS = 10.0
_RESTART_FIRST_SECONDS, _RESTART_MOST_SECONDS = 0.2, 3.0
_LONG_LIFE_SECONDS = 5.0


@dataclass(slots=True)
class Child:
    """One role's process, through its restarts.

    exit_code: of the last incarnation that ended. on_trial: that it ends is no failure yet, whoever started it sees to that.
    launch: what it is, for those that a warm parent may fork.
    """

    role: str
    id: str
    command: list[str]
    log_file: Path
    restarts: int
    process: asyncio.subprocess.Process | WarmProcess | None = None
    exit_code: int | None = None
    pids: list[int] = field(default_factory=list)
    stopping: bool = False
    on_trial: bool = False
    watcher: asyncio.Task[None] | None = None
    launch: Launch | None = None

    @property
    def pid(self) -> int:
        """Of the newest incarnation."""
        return self.pids[-1]

    @property
    def running(self) -> bool:
        """Whether the newest incarnation lives."""
        return self.process is not None and self.process.returncode is None

    def last_line(self) -> str:
        """The last thing it said."""
        try:
            lines = self.log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""


class Supervisor:
    """Starts, watches, restarts and stops the children of one testbed."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._warm: WarmParent | None = None

    async def warm_up(self) -> None:
        """From now on agents are forked from a parent that has imported what they import, where that can be had."""
        if available():
            with contextlib.suppress(OSError):
                self._warm = await WarmParent.begin()

    async def start(
        self, role: str, agent: str, command: list[str], log_file: Path, restarts: int = 20, *, on_trial: bool = False,
        launch: Launch | None = None,
    ) -> Child:  # fmt: skip
        """Start a child; it is started again up to `restarts` times when it ends unasked, but not for exit status 2.

        ConfigurationError when there is no such program.
        """
        child = Child(role, agent, command, log_file, restarts, on_trial=on_trial, launch=launch)
        try:
            await self._spawn(child)
        except OSError as error:
            raise ConfigurationError(f"{agent} cannot be started: {error}") from None
        self.children.append(child)
        child.watcher = asyncio.create_task(self._watch(child), name=f"watch {agent}")
        return child

    async def launch(self, launch: Launch, directory: Path) -> Child:
        """Start an agent as it was written down; its log goes to `directory/log`."""
        command = [sys.executable, *launch.arguments]
        log_file = directory / "log" / f"{launch.agent}.log"
        return await self.start(launch.role, launch.agent, command, log_file, launch=launch)

    async def _spawn(self, child: Child) -> None:
        child.log_file.parent.mkdir(parents=True, exist_ok=True)
        child.process = await self._forked(child) or await self._started(child)
        child.pids.append(child.process.pid)

    async def _forked(self, child: Child) -> WarmProcess | None:
        """Its process from the warm parent; None when it is to be started cold."""
        if self._warm is None or child.launch is None or child.launch.module not in MODULES:
            return None
        try:
            return await self._warm.start(child.launch, child.log_file)
        except OSError:
            return None

    @staticmethod
    async def _started(child: Child) -> asyncio.subprocess.Process:
        with child.log_file.open("ab") as sink:
            return await asyncio.create_subprocess_exec(
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    async def _watch(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        pause_seconds = _RESTART_FIRST_SECONDS
        while child.process is not None:
            began = loop.time()
            child.exit_code = await child.process.wait()
            if child.stopping:
                return
            if child.exit_code == EXIT_CONFIGURATION or len(child.pids) > child.restarts:
                if not child.on_trial:
                    self._fail(f"{child.id} ended with status {child.exit_code}: {child.last_line()}")
                return
            log.warning("%s ended with status %s and is started again", child.id, child.exit_code)
            if loop.time() - began > _LONG_LIFE_SECONDS:
                pause_seconds = _RESTART_FIRST_SECONDS
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(_RESTART_MOST_SECONDS, 2 * pause_seconds)
            if child.stopping:
                return
            try:
                await self._spawn(child)
            except OSError as error:
                self._fail(f"{child.id} cannot be started again: {error}")
                return

    def _fail(self, reason: str) -> None:
        if not self.failure.done():
            self.failure.set_result(reason)

    def child(self, agent: str) -> Child:
        """A child by its agent's id; KeyError."""
        for child in self.children:
            if child.id == agent:
                return child
        raise KeyError(agent)

    def kill(self, agent: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a child; the watcher starts it again."""
        process = self.child(agent).process
        if process is not None and process.returncode is None:
            process.send_signal(number)

    def hurt(self, harm: Harm, agent: str) -> None:
        """Do something to a child; ConfigurationError for what only a container can suffer."""
        match harm:
            case Harm.KILL:
                self.kill(agent)
            case Harm.STOP:
                self.child(agent).stopping = True
                self.kill(agent)
            case Harm.PAUSE:
                self.kill(agent, signal.SIGSTOP)
            case Harm.RESUME:
                self.kill(agent, signal.SIGCONT)
            case _:
                raise ConfigurationError(f"{agent} is a process: only a container can be {harm.value}")

    async def stop(self, child: Child) -> None:
        """SIGTERM, patience, SIGKILL."""
        child.stopping = True
        process = child.process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            child.exit_code = process.returncode
        if child.watcher is not None:
            child.watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await child.watcher
        for pid in child.pids:  # what an incarnation started itself is in its process group
            if not psutil.pid_exists(pid):  # else somebody else has the number by now
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)

    async def give_up(self, child: Child) -> None:
        """Stop a child on trial and forget it: another takes its place."""
        await self.stop(child)
        self.children.remove(child)

    async def stop_all(self) -> None:
        """Stop everything, the agents together, the broker last."""
        await asyncio.gather(*(self.stop(child) for child in self.children if child.role != "broker"))
        for child in self.children:
            if child.role == "broker":
                await self.stop(child)
        if self._warm is not None:
            await self._warm.close()

    def left_running(self) -> list[int]:
        """Started processes that still live, and what they started; empty after `stop_all`."""
        sessions = {pid for child in self.children for pid in child.pids}
        if self._warm is not None:
            sessions.add(self._warm.pid)
        living = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                    living.append(process.pid)
        return living

    def gone(self) -> list[str]:
        """Which children do not run now, in words."""
        found = []
        for child in self.children:
            if not child.running:
                status = "" if child.exit_code is None else f" (ended with status {child.exit_code})"
                found.append(f"{child.id}{status}")
            elif _stands_still(child.pid):
                found.append(f"{child.id} (stopped)")
        return found

    def rows(self) -> list[dict[str, object]]:
        """One row per child for the report."""
        return [{"role": c.role, "id": c.id, "pid": c.pid, "exit_code": c.exit_code} for c in self.children]


def _stands_still(pid: int) -> bool:
    """Whether a process waits for SIGCONT."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False
