"""hushgrid-configurator: run, or issue tokens, or print the key that agents trust."""

from __future__ import annotations

import sys

from hushgrid import interrupt
from hushgrid.extras import needed

interrupt.quietly()

with needed("hushgrid-configurator", "configurator"):  # Ctrl-C first
    from configurator.commands import COMMANDS
    from configurator.config import ConfiguratorConfig
    from configurator.service import serve
    from hushgrid.shell.runtime import run


def main() -> None:
    """Entry of the command."""
    about = "The configurator: grants rules, draws plans, decides rounds. Without a command it runs."
    sys.exit(run("hushgrid-configurator", ConfiguratorConfig, serve, about=about, commands=lambda: COMMANDS))


if __name__ == "__main__":
    main()
