"""hushgrid-meter: run, check, read, replay. Without a command it runs."""

from __future__ import annotations

import sys

from hushgrid.lean import spare_memory

spare_memory()

from hushgrid.runtime import run  # noqa: E402 - after what spares memory
from meter_agent.config import MeterConfig  # noqa: E402
from meter_agent.service import serve  # noqa: E402

_PROGRAM = "hushgrid-meter"
_HELP = ("-h", "--help")


def main() -> None:
    """Entry of the command."""
    argv = sys.argv[1:]
    if argv[:1] and argv[0] != "run" and (argv[0] in _HELP or not argv[0].startswith("-")):
        from meter_agent.commands import main as command  # noqa: PLC0415 - a running meter needs none of it in memory

        sys.exit(command(_PROGRAM, argv))
    sys.exit(run(_PROGRAM, MeterConfig, serve, argv[1:] if argv[:1] == ["run"] else argv))


if __name__ == "__main__":
    main()
