"""A PPN that adds wrongly: every aggregate share it releases is off by one. For showing what consumers make of it.

It differs from an honest PPN in nothing else, and starts the same way: `python -m testbed.agents.liar --config FILE.toml`. With
`--towards CONSUMER` in front it lies to that consumer only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from hushgrid.plan.head import Head
from hushgrid.plan.parts import Rule
from hushgrid.shell.runtime import run
from hushgrid.wire.aggregates import AggregateStatus, AggregateText
from ppn_node.aggregation import aggregate
from testbed.agents.ppn import LinkedPpnConfig, linked


def off_by_one(towards: str | None) -> Callable[..., AggregateText]:
    """What an honest PPN would release, with one added to every element; towards: for one consumer only."""

    def add(head: Head, rule: Rule, *place: object, **content: object) -> AggregateText:
        text = aggregate(head, rule, *place, **content)  # type: ignore[arg-type]
        if text.status is not AggregateStatus.RELEASED or towards not in (None, rule.consumer):
            return text
        return replace(text, elements=tuple((element + 1) % head.modulus for element in text.elements))

    return add


def main() -> None:
    """Entry of the process."""
    arguments = sys.argv[1:]
    towards = arguments[1] if arguments[:1] == ["--towards"] else None

    async def serve(config: LinkedPpnConfig) -> None:
        await linked(config, add=off_by_one(towards)).run()

    sys.exit(run("hushgrid-ppn", LinkedPpnConfig, serve, arguments[2:] if towards else arguments))


if __name__ == "__main__":
    main()
