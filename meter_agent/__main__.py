"""hushgrid-meter: run, check, read, replay, consent, consents. Without a command it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hushgrid import interrupt
from meter_agent.lean import spare_memory

interrupt.quietly()
spare_memory()

from hushgrid.shell.runtime import run  # noqa: E402 - Ctrl-C first, and what spares memory
from meter_agent.config import MeterConfig  # noqa: E402
from meter_agent.service import serve  # noqa: E402

if TYPE_CHECKING:
    from hushgrid.shell.command_line import Command


def main() -> None:
    """Entry of the command."""
    about = "A meter's agent. Without a command it runs."
    sys.exit(run("hushgrid-meter", MeterConfig, serve, about=about, commands=_commands))


def _commands() -> Sequence[Command]:
    from meter_agent.commands import COMMANDS  # noqa: PLC0415 - a running meter needs none of it in memory

    return COMMANDS


if __name__ == "__main__":
    main()
