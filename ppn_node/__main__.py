"""hushgrid-ppn."""

from __future__ import annotations

import sys

from hushgrid import interrupt
from hushgrid.extras import needed

interrupt.quietly()

with needed("hushgrid-ppn", "ppn"):  # Ctrl-C first
    from hushgrid.shell.runtime import run
    from ppn_node.config import PpnConfig
    from ppn_node.service import serve


def main() -> None:
    """Entry of the command."""
    about = "A Privacy Preserving Node: adds shares of readings it cannot read."
    sys.exit(run("hushgrid-ppn", PpnConfig, serve, about=about))


if __name__ == "__main__":
    main()
