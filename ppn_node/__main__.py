"""hushgrid-ppn."""

from __future__ import annotations

import sys

from hushgrid.runtime import run
from ppn_node.config import PpnConfig
from ppn_node.service import serve


def main() -> None:
    """Entry of the command."""
    sys.exit(run("hushgrid-ppn", PpnConfig, serve))


if __name__ == "__main__":
    main()
