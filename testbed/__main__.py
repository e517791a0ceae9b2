"""The command `hushgrid`."""

from __future__ import annotations

from hushgrid import interrupt
from hushgrid.extras import needed

interrupt.quietly()

with needed("hushgrid", "testbed"):  # Ctrl-C first
    from testbed.command import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
