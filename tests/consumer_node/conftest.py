"""An agent that a consumer's mechanism stands on, without a line: what it sends is kept, what it believes is set by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hushgrid.core.schedule import Pace
from hushgrid.core.sealing import Agreement, Identity
from hushgrid.plan.book import PlanBook
from hushgrid.plan.following import AdoptedPlan
from hushgrid.shell.keyring import EpochKeys
from hushgrid.shell.runtime import Counters


class HandFedAgent:
    """What of `hushgrid.shell.agent.Agent` the mechanisms of a consumer use."""

    id, grid = "supplier", "g"

    def __init__(self) -> None:
        self.identity, self.own = Identity.from_bytes(b"i" * 32), Agreement.from_bytes(b"o" * 32)
        self.configurator = Identity.from_bytes(b"c" * 32)
        self.config = SimpleNamespace(configurator=SimpleNamespace(identity=self.configurator.public))
        self.counters = Counters()
        self.pacing = SimpleNamespace(pace=None)
        self.keys = EpochKeys(lambda _epoch: self.own, self.grid)
        self.membership = SimpleNamespace(plans=PlanBook(), tell=self._tell)
        self.sent, self.told, self.changes = [], [], 0

    async def send(self, channel, recipient, payload):
        self.sent.append((channel, recipient, payload))

    async def _tell(self, member, body):
        assert member == self.id
        self.told.append(body)
        return True

    def changed(self):
        self.changes += 1

    def adopt(self, mechanism, head, *parts):
        adopted = AdoptedPlan(head, {self.id: parts})
        self.membership.plans.add(head, adopted)
        mechanism.adopt(adopted)

    def pace(self, metered, frozen):
        self.pacing.pace = Pace(metered, frozen)

    def taken(self):
        """What was sent since the last look."""
        found, self.sent = self.sent, []
        return found


@pytest.fixture
def agent():
    return HandFedAgent()
