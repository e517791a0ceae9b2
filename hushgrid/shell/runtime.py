"""What every service's shell has: logging, counters, signals, an exit status a supervisor understands."""

from __future__ import annotations

import asyncio
import collections
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hushgrid.errors import ConfigurationError, HushgridError, MessageError
from hushgrid.shell.config import Config, load

if TYPE_CHECKING:
    from hushgrid.shell.command_line import Command

#: Exit status for what a person must change; a supervisor does not restart on it.
EXIT_CONFIGURATION = 2
EXIT_FAILURE = 1
#: Of a program that a person ended with Ctrl-C.
EXIT_INTERRUPTED = 130
#: How often an agent that reaches its broker touches its pulse file.
PULSE_SECONDS = 3.0

log = logging.getLogger("hushgrid")


class Counters:
    """Counts by name, for status reports and metrics. Names come from enums, never from messages."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()

    def refuse(self, channel: str, error: MessageError) -> None:
        """Count a refused message by channel and reason."""
        self.counts[f"refused {channel} {error.reason.value}"] += 1
        log.debug("refused on %s: %s", channel, error)

    def add(self, name: str, count: int = 1) -> None:
        """Count something else."""
        self.counts[name] += count


class Backoff:
    """When to repeat what has had no answer: at once, then after growing pauses."""

    def __init__(self, first_seconds: float = 0.5, most_seconds: float = 30.0, factor: float = 2.0) -> None:
        self._first, self._most, self._factor = first_seconds, most_seconds, factor
        self._due: dict[object, tuple[float, float]] = {}

    def due(self, key: object, now_seconds: float) -> bool:
        """True when `key` is to be sent now; the next time is then set further off."""
        at, pause = self._due.get(key, (now_seconds, self._first))
        if now_seconds < at:
            return False
        self._due[key] = (now_seconds + pause, min(self._most, pause * self._factor))
        return True

    def remind(self, key: object, at_seconds: float) -> None:
        """`key` is to be looked at when this instant comes."""
        self._due[key] = (at_seconds, self._first)

    def settle(self, key: object) -> None:
        """`key` has its answer."""
        self._due.pop(key, None)

    def restart(self) -> None:
        """Everything is due again (after a reconnection)."""
        self._due.clear()

    def seconds_to_next(self, now_seconds: float, most_seconds: float = 1.0) -> float:
        """Seconds until the next key is due, at most `most_seconds`."""
        soonest = min((at for at, _ in self._due.values()), default=now_seconds + most_seconds)
        return min(most_seconds, max(0.01, soonest - now_seconds))


async def keep_pulse(file: Path | None, alive: Callable[[], bool]) -> None:
    """Touch a file every few seconds while `alive`, for ever: its age tells a container's health check how the agent is.

    ConfigurationError when the file cannot be written; None: wait for ever.
    """
    while file is None:
        await asyncio.Event().wait()
    while True:
        if alive():
            _touch(file)
        await asyncio.sleep(PULSE_SECONDS)


def _touch(file: Path) -> None:
    try:
        file.touch()
    except OSError as error:
        raise ConfigurationError(f"pulse_file {file}: {error.strerror}") from None


async def until_signalled(service: Callable[[], Awaitable[None]]) -> None:
    """Run a service until it ends or SIGTERM or SIGINT asks it to; it is cancelled then and may close its stores."""
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(service())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("stopped")


def describe(error: BaseException) -> BaseException:
    """The first cause inside exception groups: TaskGroups wrap what ends them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def run(
    program: str,
    config: type[Config],
    service: Callable[[Config], Awaitable[None]],
    argv: list[str] | None = None,
    *,
    about: str = "",
    commands: Callable[[], Sequence[Command]] = tuple,
) -> int:
    """Entry of a role: read `--config FILE`, run until stopped; returns the exit status.

    about: what the program is, for its help.
    commands: gives what a person may ask of it beside `run`; called when that is asked for.
    """
    match sys.argv[1:] if argv is None else argv:
        case ["--config", named] | ["run", "--config", named] if not named.startswith("-"):
            return _run(program, config, service, Path(named))
        case asked:
            # Imported here: what a supervisor says is read above, and this is a megabyte of a meter's memory.
            from hushgrid.shell.command_line import Command, obey  # noqa: PLC0415

            here = Command("run", "Run until SIGTERM.", lambda chosen: _run(program, config, service, chosen.config))
            try:
                return obey(program, about or f"Run one {program}.", [here, *commands()], asked)
            except KeyboardInterrupt:
                return EXIT_INTERRUPTED
            except (HushgridError, ExceptionGroup) as raised:
                return exit_status(program, raised)


def _run(program: str, config: type[Config], service: Callable[[Config], Awaitable[None]], path: Path) -> int:
    try:
        loaded = load(config, path)
        logging.basicConfig(
            level=loaded.log.level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, force=True
        )
        asyncio.run(until_signalled(lambda: service(loaded)))
    except (HushgridError, ExceptionGroup) as raised:
        return exit_status(program, raised)
    return 0


def exit_status(program: str, raised: BaseException) -> int:
    """Say in one line what ended the program; 2 for what a person must change, 1 for what a restart may mend."""
    error = describe(raised)
    if isinstance(error, ConfigurationError):
        sys.stderr.write(f"{program}: {error}\n")
        return EXIT_CONFIGURATION
    if isinstance(error, HushgridError):
        sys.stderr.write(f"{program}: {error}\n")
        return EXIT_FAILURE
    raise raised
