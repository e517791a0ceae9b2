"""A PPN whose link to single parties a testbed can cut: `python -m testbed.agents.ppn --config FILE.toml`.

Its configuration may have a `[link]`, which a deployed PPN's may not; the conductor's later stages are followed. In all else
it is an honest PPN.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from hushgrid.conducted.link_settings import LinkSection
from hushgrid.conducted.lossy_link import LossyLink
from hushgrid.shell.runtime import run
from hushgrid.shell.transport import Transport
from hushgrid.wire.aggregates import AggregateText
from ppn_node.aggregation import aggregate
from ppn_node.config import PpnConfig
from ppn_node.service import Ppn


class LinkedPpnConfig(PpnConfig):
    """A PPN's configuration with what its link does."""

    link: LinkSection = LinkSection()


def linked(
    config: LinkedPpnConfig,
    transport: Transport | None = None,
    *,
    add: Callable[..., AggregateText] = aggregate,
) -> Ppn:
    """A PPN behind such a link. add: see `Rounds`."""
    link = LossyLink(config.link.model, lambda: ppn.agent.pacing.link_stages, config.agent.state_directory)
    ppn = Ppn(config, transport, add=add, link=link)
    return ppn


async def serve(config: LinkedPpnConfig) -> None:
    """Run one PPN."""
    await linked(config).run()


def main() -> None:
    """Entry of the process."""
    sys.exit(run("hushgrid-ppn", LinkedPpnConfig, serve))


if __name__ == "__main__":
    main()
