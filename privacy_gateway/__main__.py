"""hushgrid-gateway: run, or say who may ask."""

from __future__ import annotations

import sys

from hushgrid import interrupt
from hushgrid.extras import needed

interrupt.quietly()

with needed("hushgrid-gateway", "gateway"):
    from hushgrid.shell.runtime import run
    from privacy_gateway.commands import COMMANDS
    from privacy_gateway.config import GatewayConfig
    from privacy_gateway.service import serve


def main() -> None:
    """Entry of the command."""
    about = "A privacy gateway: answers questions about sums. Without a command it runs."
    sys.exit(run("hushgrid-gateway", GatewayConfig, serve, about=about, commands=lambda: COMMANDS))


if __name__ == "__main__":
    main()
