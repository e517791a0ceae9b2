"""The configurator's part in masked readings: it keeps the connection graphs and says who is in every plan's streams."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from configurator.masked.graph_book import GraphBook, first_period
from configurator.masked.graphs import GraphFloors, check_graph, parse_shape
from configurator.masked.rules import (
    SHARED_STREAM,
    StreamPlan,
    areas_of,
    drawn_floors,
    isolated_of,
    stream_parts,
    terms_of,
)
from configurator.masked.section import PairwiseSection
from configurator.registry.history import PlanHistory
from configurator.values import BuiltPart, GrantedRule, Registered, StandingRule
from hushgrid.core.minimum import covers, spare_rounds
from hushgrid.core.schedule import window_of
from hushgrid.errors import ConfigurationError, MessageError, RefusedError, RejectReason
from hushgrid.plan.parts import BillingPart
from hushgrid.statements.masked import MaskedClosing, MaskedRoster
from hushgrid.wire.masked import RoundClosing
from hushgrid.wire.model import Mechanism
from hushgrid.wire.role import Role

Sign = Callable[[RoundClosing], RoundClosing]

log = logging.getLogger("hushgrid.configurator")


def left_out(missing: frozenset[int], closed: Mapping[int, frozenset[int]], spare: int) -> frozenset[int]:
    """Whom a round is closed without: those missing, and those who stay out of the whole period.

    missing, closed: meter numbers, of this round and of the rounds of the period that are closed; spare: of
    `hushgrid.core.minimum.spare_rounds`. The columns of a period less the bills of all others are one meter's row: so every
    meter is in all but `spare` rounds of the period, or in none. RefusedError where it would be in a few.
    """
    away = Counter(number for absent in closed.values() for number in absent)
    out = frozenset(number for number, rounds in away.items() if rounds > spare)
    for number in missing - out:
        if away[number] + 1 > spare and away[number] < len(closed):
            raise RefusedError(
                f"meter {number} would be in too few rounds of its period: in {len(closed) - away[number]}, out of {away[number] + 1}"
            )
    return missing | out


class MaskedRules:
    """See the module. section: None where no rule of masked readings is served."""

    def __init__(self, section: PairwiseSection | None, directory: Path, minimum_contributors: int) -> None:
        self.section = section
        self._minimum = minimum_contributors
        self.graphs = GraphBook(directory / "graphs.sqlite")
        if section is not None and section.unsafe_published:
            log.warning("the published pairwise noise is allowed: it does not hide readings")

    def parts(
        self, agents: Sequence[Registered], rules: Sequence[StandingRule], valid_from_round: int
    ) -> list[BuiltPart]:
        """The parts of all streams in a plan that holds from this round. A stream whose meters have become too few is left
        out of the plan and said so.
        """
        if self.section is None:
            return []
        ready = {agent.id: agent for agent in agents if agent.key is not None}
        ready = {name: agent for name, agent in ready.items() if agent.carrier is None or agent.carrier in ready}
        meters = {agent.number: agent.id for agent in ready.values() if agent.role is Role.METER}
        found: list[BuiltPart] = []
        shared: set[str] = set()
        for each in rules:
            granted, rule = each.granted, each.granted.rule
            # Who asked for all gets those who enrol later, too: from the next period on.
            numbers = meters.keys() if each.request.cohort == "all" else granted.cohort & meters.keys()
            members = [meters[number] for number in numbers]
            if rule.mechanism is Mechanism.BOTH:
                shared.update(meters[n] for n in granted.cohort & meters.keys())
            elif rule.mechanism is Mechanism.PAIRWISE and rule.consumer in ready:
                found += self._stream(rule.number, granted, members, ready, max(rule.from_round, valid_from_round))
        if shared:
            found += self._stream(SHARED_STREAM, None, sorted(shared), ready, valid_from_round)
        return found

    def hear_roster(
        self, consumer: str, asked: MaskedRoster, history: PlanHistory, metered_through: int, sign: Sign
    ) -> MaskedClosing:
        """The closing of a round that a consumer's roster asks for. MessageError when it does not fit the plan in force for the
        period's first round, or the round is still to come; RefusedError as `close_round`.
        """
        pages = history.billing_pages(asked.version, consumer, asked.stream)
        head = next((head for head in history.heads if head.version == asked.version), None)
        if not pages or head is None:
            raise MessageError(RejectReason.WRONG_PLAN, f"stream {asked.stream} of plan {asked.version}")
        own = history.head_of(asked.round - asked.round % pages[0].terms.period_rounds)
        if own is not head or asked.round > metered_through:
            raise MessageError(RejectReason.WRONG_PLAN, f"roster of round {asked.round}")
        ids = {meter.number: meter.id for page in pages for meter in page.meters}
        closing = self.close_round(asked, pages[0], ids, head.coverage_floor, sign)
        if closing.absent:
            log.info(
                "round %d of stream %d is closed without %d meters", asked.round, asked.stream, len(closing.absent)
            )
        return MaskedClosing(
            stream=closing.stream,
            round=closing.round,
            graph=closing.graph,
            absent=tuple(sorted(closing.absent)),
            signature=closing.signature,
        )

    def close_round(
        self, asked: MaskedRoster, part: BillingPart, ids: Mapping[int, str], floor: Fraction, sign: Sign
    ) -> RoundClosing:
        """The one closing of a round: the standing one, or a new one without the missing meters, on disk before it is given.

        part: of the consumer, in the plan in force for the period's first round.
        ids: by number, of all its pages. floor: the coverage floor.
        RefusedError where what remains of an area would not keep what the graph promises, or of a meter's period too little. The
        round then waits for the same bytes. Meters of which this period has too little for a row stay out of it to its end.
        """
        standing = self.graphs.closing(asked.stream, asked.round)
        if standing is not None:
            return standing
        terms = part.terms
        graph = self.graphs.by_digest(asked.stream, terms.graph)
        if graph is None or not set(asked.missing) <= ids.keys():
            raise RefusedError("the roster names meters or a graph that are not in the plan")
        if not terms.self_masks:
            raise RefusedError("without self-masks a round waits for every meter")
        period = window_of(asked.round, terms.period_rounds)
        closed = self.graphs.closings(asked.stream, period.first, period.last)
        numbers = left_out(frozenset(asked.missing), closed, spare_rounds(period.rounds, floor))
        absent = frozenset(ids[number] for number in numbers)
        if absent:
            check_graph(graph, GraphFloors(terms.colluders, max(2, part.minimum_group)), absent)
            for area in graph.areas:
                if not covers(len(set(area) - absent), len(area), floor):
                    raise RefusedError("the round would fall below the coverage floor")
        closing = sign(RoundClosing(asked.stream, asked.round, terms.graph, numbers))
        self.graphs.add_closing(closing)
        return closing

    def _stream(
        self,
        stream: int,
        granted: GrantedRule | None,
        members: Sequence[str],
        ready: Mapping[str, Registered],
        valid_from_round: int,
    ) -> list[BuiltPart]:
        section = self.section
        if section is None:
            return []
        minimum = granted.rule.minimum_contributors if granted is not None else self._minimum
        period = first_period(valid_from_round, section.period_rounds)
        try:
            areas = areas_of(members, section)
            floors = drawn_floors(section, minimum)
            graph = self.graphs.graph_for(stream, areas, parse_shape(section.graph), floors, period)
        except (RefusedError, ConfigurationError) as error:
            log.warning("stream %d of masked readings is not in the plan: %s", stream, error)
            return []
        rule = granted.rule if granted is not None else None
        # The graph's own first period, so that a plan which changes nothing for the stream says the same.
        terms = terms_of(graph, rule, section, graph.period.first)
        alone = isolated_of(members, section) if rule is not None else ()
        plan = StreamPlan(terms, graph, minimum, rule, alone, section.isolated_epsilon)
        return stream_parts(plan, ready)

    def close(self) -> None:
        """Close the store."""
        self.graphs.close()
