"""A concentrator with its meters in one process: `python -m testbed.agents.fleet --config FILE.toml`.

Every meter of the fleet has its own identity, keys and sealed shares; the concentrator has an identity and a connection of its
own and carries sealed bytes only. (In a pilot the meters would be boxes of their own behind the same concentrator.)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hushgrid.errors import ConfigurationError
from hushgrid.shell.config import read_token
from hushgrid.shell.membership import Member
from hushgrid.shell.runtime import run
from hushgrid.wire.model import Model
from hushgrid.wire.role import Role
from testbed.agents.meter import LinkedMeterConfig, linked


class FleetSection(Model):
    """tokens_file: JSON, one-time token by meter id; the ids are the fleet."""

    tokens_file: Path


class FleetConfig(LinkedMeterConfig):
    """A meter's configuration with the list of those it carries."""

    fleet: FleetSection


async def serve(config: FleetConfig) -> None:
    """Run one concentrator with its meters."""
    try:
        tokens = json.loads(config.fleet.tokens_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{config.fleet.tokens_file}: {error}") from None
    carrier = Member(config.agent.id, Role.CARRIER, read_token(config.agent.token_file))
    meters = [Member(meter, Role.METER, token, carrier=carrier.id) for meter, token in tokens.items()]
    await linked(config, meters, carrier).run()


def main() -> None:
    """Entry of the process."""
    sys.exit(run("hushgrid-fleet", FleetConfig, serve))


if __name__ == "__main__":
    main()
