"""hushgrid-consumer: run, or ask for a rule, withdraw one, list them or print results while it runs."""

from __future__ import annotations

import sys

from hushgrid import interrupt
from hushgrid.extras import needed

interrupt.quietly()

with needed("hushgrid-consumer", "consumer"):  # Ctrl-C first
    from consumer_node.commands import COMMANDS
    from consumer_node.config import ConsumerConfig
    from consumer_node.service import serve
    from hushgrid.shell.runtime import run


def main() -> None:
    """Entry of the command."""
    about = "A consumer: recovers the sums that its rules grant. Without a command it runs."
    sys.exit(run("hushgrid-consumer", ConsumerConfig, serve, about=about, commands=lambda: COMMANDS))


if __name__ == "__main__":
    main()
