"""hushgrid-consumer."""

from __future__ import annotations

import sys

from consumer_node.config import ConsumerConfig
from consumer_node.service import serve
from hushgrid.runtime import run


def main() -> None:
    """Entry of the command."""
    sys.exit(run("hushgrid-consumer", ConsumerConfig, serve))


if __name__ == "__main__":
    main()
