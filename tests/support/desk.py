"""A configurator without its shell, that rules are asked of: for tests."""

from __future__ import annotations

import itertools

from configurator.config import ConfiguratorConfig
from configurator.masked.streams import MaskedRules
from configurator.plans.planner import Planner
from configurator.registry.history import PlanHistory
from configurator.registry.registry import Registry
from configurator.rules.requests import Asked, RuleRequests
from hushgrid.core.sealing import Agreement, Identity
from hushgrid.plan.head import EpochKey
from hushgrid.shell.config import AgentSection, PaceSection
from hushgrid.shell.pacing import pace_follower
from hushgrid.statements.rules import RequestRule, RuleState, WithdrawRule
from hushgrid.statements.statement import Statement
from hushgrid.wire.model import Mechanism
from hushgrid.wire.role import Role

GRID, FIRST, METERS = "g", 100, [f"m{number:02}" for number in range(20)]
CONSUMERS = ("consumer-1", "consumer-2", "consumer-3")
PPNS = tuple(f"ppn-{number}" for number in range(1, 6))


class Desk:
    """A configurator without its shell; `now` is whatever a test says it is."""

    def __init__(self, directory, **sections):
        agent = AgentSection(id="configurator", grid=GRID, state_directory=directory)
        plan = {"first_round": FIRST, "minimum_contributors": 15} | sections.pop("plan", {})
        config = ConfiguratorConfig(agent=agent, pace=PaceSection(), plan=plan, **sections)
        self.settle_seconds = config.plan.settle_seconds
        self.registry = Registry(directory / "registry.sqlite")
        self.history = PlanHistory(self.registry.plans)
        self.masked = MaskedRules(None, directory, 15)
        self.pacing = pace_follower(config.pace)
        self.planner = Planner(config, self.registry, self.history, self.masked, self.pacing, 0.0)
        self.requests = RuleRequests(config, self.registry, self.history, self.planner)
        self.tokens = {}
        self.sequences = itertools.count(1)

    def expect(self, role, *agents):
        self.tokens |= self.registry.agents.issue_tokens([(agent, role) for agent in agents])

    def enrol(self, role, *agents):
        for agent in agents:
            identity = Identity.generate()
            self.registry.agents.enrol(agent, role, self.tokens[agent], identity.public, None, None)
            self.registry.agents.store_keys(agent, [EpochKey.sign(identity, GRID, 0, Agreement.generate().public)])

    def _asked(self, consumer, body):
        return Asked(
            Statement(sender=consumer, recipient="configurator", sequence=next(self.sequences), body=body), "p"
        )

    def ask_at_once(self, consumer, window=1, name="sum", cohort="all", now=0.0, mechanism=Mechanism.SHARES):
        """All that is said when it comes."""
        body = RequestRule(name=name, cohort=cohort, window_rounds=window, mechanism=mechanism)
        return self.requests.request(self._asked(consumer, body), body, now)

    def ask(self, *args, **kwargs):
        """What is judged when it comes, or once it is settled that nothing follows."""
        answers = self.ask_at_once(*args, **kwargs)
        judged = [answer for answer in answers if answer.body.state is not RuleState.PENDING]
        return judged or self.requests.due(kwargs.get("now", 0.0) + self.settle_seconds)

    def give_up(self, consumer, name="sum", now=0.0):
        body = WithdrawRule(name=name)
        return self.requests.withdraw(self._asked(consumer, body), body, now)

    def gather(self, *consumers):
        """Everybody is expected, and comes."""
        for role, agents in ((Role.METER, METERS), (Role.PPN, PPNS), (Role.CONSUMER, consumers)):
            self.expect(role, *agents)
            self.enrol(role, *agents)

    def close(self):
        self.masked.close()
        self.registry.close()


def said(answers):
    return [(answer.asked.statement.sender, answer.body.state) for answer in answers]
