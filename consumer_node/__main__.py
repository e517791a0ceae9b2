"""hushgrid-consumer: run, or ask for a rule, withdraw one, or list them while it runs."""

from __future__ import annotations

import sys

from hushgrid import interrupt

interrupt.quietly()

from consumer_node.commands import COMMANDS  # noqa: E402 - Ctrl-C first
from consumer_node.config import ConsumerConfig  # noqa: E402
from consumer_node.service import serve  # noqa: E402
from hushgrid.shell.runtime import run  # noqa: E402


def main() -> None:
    """Entry of the command."""
    about = "A consumer: recovers the sums that its rules grant. Without a command it runs."
    sys.exit(run("hushgrid-consumer", ConsumerConfig, serve, about=about, commands=lambda: COMMANDS))


if __name__ == "__main__":
    main()
