"""hushgrid-meter."""

from __future__ import annotations

import sys

from hushgrid.runtime import run
from meter_agent.config import MeterConfig
from meter_agent.service import serve


def main() -> None:
    """Entry of the command."""
    sys.exit(run("hushgrid-meter", MeterConfig, serve))


if __name__ == "__main__":
    main()
