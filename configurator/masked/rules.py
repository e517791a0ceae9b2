"""Whether a rule of masked readings may exist, beside which others, and what everybody who takes part is told. No I/O.

Mechanism pairwise: one consumer gets columns (whole components, single rounds) and bills (one meter, a whole billing period).
Mechanism both: masked readings are shared among PPNs; rules cover whole areas. Decisions depend on rules and registration
only, never on a reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise as successive

from configurator.masked.graphs import ConnectionGraph, GraphFloors, parse_shape
from configurator.masked.section import PairwiseSection
from configurator.values import BuiltPart, GrantedRule, Registered
from hushgrid.core.cohorts import resolve_cohort
from hushgrid.core.field import check_modulus
from hushgrid.errors import ConfigurationError, RefusedError
from hushgrid.plan.head import EpochKey
from hushgrid.plan.parts import BillingPart, ConsumerEntry, MaskedMeter, MaskingPart, MaskTerms, Neighbour, Rule
from hushgrid.statements.rules import RequestRule
from hushgrid.wire.model import PAGE_METERS, Mechanism, Variant

#: The stream of what is masked and then shared: one masked reading serves all rules of mechanism both.
SHARED_STREAM = 0


def floors_of(pairwise: PairwiseSection, minimum_group: int) -> GraphFloors:
    """What a graph has to keep: for the published variant, as printed, connectivity only."""
    if pairwise.variant is Variant.PUBLISHED:
        return GraphFloors(0, max(2, minimum_group))
    return GraphFloors(pairwise.colluders, max(2, minimum_group))


def drawn_floors(pairwise: PairwiseSection, minimum_group: int) -> GraphFloors:
    """What a graph is drawn for: the colluders, and the meters that a round may be closed without."""
    floors = floors_of(pairwise, minimum_group)
    return GraphFloors(floors.colluders + pairwise.losses_borne, floors.minimum_group)


def isolated_of(meters: Sequence[str], pairwise: PairwiseSection) -> tuple[str, ...]:
    """Those of these meters that share masks with nobody."""
    if not pairwise.isolated:
        return ()
    try:
        return resolve_cohort(pairwise.isolated, sorted(meters))
    except RefusedError:
        return ()


def areas_of(meters: Sequence[str], pairwise: PairwiseSection) -> tuple[tuple[str, ...], ...]:
    """The configured areas among these meters, and one of all the others; none is empty, and isolated meters are in none.

    RefusedError for a meter in two.
    """
    alone = set(isolated_of(meters, pairwise))
    known, taken, found = sorted(set(meters) - alone), set[str](), []
    for name, selector in sorted(pairwise.areas.items()):
        try:
            area = resolve_cohort(selector, known)
        except RefusedError:
            continue  # none of it is here now
        if taken & set(area):
            raise RefusedError(f"area {name} overlaps another")
        taken |= set(area)
        found.append(area)
    rest = tuple(meter for meter in known if meter not in taken)
    return (*found, rest) if rest else tuple(found)


def check_billing(
    request: RequestRule,
    ids: Sequence[str],
    *,
    minimum: int,
    pairwise: PairwiseSection,
    modulus: int,
    reading_bound_watt_hours: int,
) -> None:
    """RefusedError unless masked readings of these meters may go to a consumer that bills them (mechanism pairwise)."""
    if request.window_rounds != pairwise.period_rounds:
        raise RefusedError(
            f"the billing period here is {pairwise.period_rounds} rounds: no other row sum of masked readings leaves"
        )
    _check_areas(ids, minimum, pairwise)
    _check_modulus(modulus, len(ids), pairwise, reading_bound_watt_hours)


def check_shared(
    request: RequestRule, ids: Sequence[str], meters: Sequence[str], *, minimum: int, pairwise: PairwiseSection
) -> None:
    """RefusedError unless masked readings that are shared give this rule a sum (mechanism both): whole areas only."""
    if pairwise.period_rounds % request.window_rounds:
        raise RefusedError(
            f"a window of masked shares divides the billing period of {pairwise.period_rounds} rounds: "
            "no graph lasts through any other"
        )
    if isolated_of(ids, pairwise):
        raise RefusedError("the noise of an isolated meter would stay in every sum")
    for area in areas_of(meters, pairwise):
        inside = set(area) & set(ids)
        if inside and len(inside) < len(area):
            raise RefusedError(
                f"the cohort cuts an area of {len(area)} meters: masks cancel over whole components of the connection graph only"
            )
    _check_areas(ids, minimum, pairwise)


def _check_areas(ids: Sequence[str], minimum: int, pairwise: PairwiseSection) -> None:
    floors = drawn_floors(pairwise, minimum)
    for area in areas_of(ids, pairwise):
        if len(area) < floors.minimum_group + floors.colluders:
            raise RefusedError(
                f"an area of {len(area)} meters is below the minimum group {floors.minimum_group} "
                f"beside {floors.colluders} colluders and absent meters"
            )
        try:
            parse_shape(pairwise.graph).check(len(area))
        except ConfigurationError as error:
            raise RefusedError(str(error)) from None


def _check_modulus(modulus: int, meters: int, pairwise: PairwiseSection, bound_watt_hours: int) -> None:
    try:
        check_modulus(modulus, meters, pairwise.period_rounds, bound_watt_hours)
    except ConfigurationError as error:
        raise RefusedError(str(error)) from None


def check_beside(mechanism: Mechanism, cohort: frozenset[int], granted: Sequence[GrantedRule]) -> None:
    """RefusedError when a rule of this mechanism may not stand beside the granted ones.

    A meter's readings leave it in one way. Columns and sums of shares follow decisions of their own: where one of them lacks a
    reading that the other has, their difference is that reading. And two streams of masked readings of a meter would be two bills.
    """
    because_of: dict[str, list[str]] = {}
    for other in granted:
        reason = _clash(mechanism, other.rule.mechanism) if cohort & other.cohort else None
        if reason is not None:
            because_of.setdefault(reason, []).append(f"{other.rule.consumer}/{other.rule.name}")
    for reason, rules in because_of.items():
        raise RefusedError(reason, tuple(rules))


def _clash(mechanism: Mechanism, theirs: Mechanism) -> str | None:
    """Why rules of two mechanisms may not share a meter; None where they may."""
    if theirs is mechanism is Mechanism.PAIRWISE:
        return "a meter of the cohort is billed under another rule"
    if theirs is mechanism:
        return None
    if Mechanism.PAIRWISE in (theirs, mechanism):
        return (
            "a meter gives its readings to columns and bills or to sums of shares: one that is lost on one of the two ways "
            "would be their difference"
        )
    return "a meter shares its readings either masked or not"


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One stream of a plan: its terms and graph, and the rule and consumer that it serves (None under mechanism both).

    isolated: meters outside the graph, under noise of isolated_epsilon.
    """

    terms: MaskTerms
    graph: ConnectionGraph
    minimum_group: int
    rule: Rule | None
    isolated: tuple[str, ...] = ()
    isolated_epsilon: str | None = None


def terms_of(graph: ConnectionGraph, rule: Rule | None, pairwise: PairwiseSection, from_round: int) -> MaskTerms:
    """What all who take part agree on. rule: None under mechanism both."""
    published = pairwise.variant is Variant.PUBLISHED
    return MaskTerms(
        stream=rule.number if rule is not None else SHARED_STREAM,
        mechanism=Mechanism.PAIRWISE if rule is not None else Mechanism.BOTH,
        variant=pairwise.variant,
        period_rounds=pairwise.period_rounds,
        from_round=from_round,
        until_round=rule.until_round if rule is not None else None,
        graph=graph.digest,
        self_masks=pairwise.self_masks and rule is not None,
        colluders=0 if published else pairwise.colluders,
        noise_span_watt_hours=pairwise.noise_span_watt_hours if published else 0,
    )


def stream_parts(plan: StreamPlan, ready: Mapping[str, Registered]) -> list[BuiltPart]:
    """The parts of one stream: a line of the graph for each meter, pages of the whole for the consumer."""
    neighbours = plan.graph.neighbours() | dict.fromkeys(plan.isolated, ())
    consumer = None
    if plan.rule is not None:
        agent = ready[plan.rule.consumer]
        consumer = ConsumerEntry(id=agent.id, identity=agent.identity, key=key_of(agent))
    parts = []
    for meter, others in neighbours.items():
        part = MaskingPart(
            number=ready[meter].number,
            terms=plan.terms,
            consumer=consumer,
            neighbours=tuple(_neighbour(ready[other], ready) for other in others),
            isolated_epsilon=plan.isolated_epsilon if meter in plan.isolated else None,
        )
        parts.append(BuiltPart(meter, 0, 1, part.to_json().decode()))
    if plan.rule is not None:
        parts += _billing_parts(plan, plan.rule, ready)
    return parts


def _neighbour(meter: Registered, ready: Mapping[str, Registered]) -> Neighbour:
    return Neighbour(number=meter.number, identity=meter.identity, key=key_of(meter), sender=_sender(meter, ready))


def _sender(meter: Registered, ready: Mapping[str, Registered]) -> str:
    carrier = ready[meter.carrier] if meter.carrier else meter
    return key_of(carrier).pseudonym


def _billing_parts(plan: StreamPlan, rule: Rule, ready: Mapping[str, Registered]) -> list[BuiltPart]:
    named = [*(meter for area in plan.graph.areas for meter in area), *plan.isolated]
    meters = sorted((ready[meter] for meter in named), key=lambda agent: agent.number)
    starts = [*range(0, len(meters), PAGE_METERS), len(meters)]
    parts = []
    for page, (start, stop) in enumerate(successive(starts)):
        here = meters[start:stop]
        names = {agent.id for agent in here}
        edges = sorted((ready[low].number, ready[high].number) for low, high in plan.graph.edges if low in names)
        part = BillingPart(
            page=page,
            pages=len(starts) - 1,
            rule=rule,
            terms=plan.terms,
            minimum_group=plan.minimum_group,
            meters=tuple(
                MaskedMeter(
                    number=agent.number, id=agent.id, agreement=key_of(agent).agreement, sender=_sender(agent, ready)
                )
                for agent in here
            ),
            edges=tuple(edges),
        )
        parts.append(BuiltPart(rule.consumer, 0, 1, part.to_json().decode()))
    return parts


def key_of(agent: Registered) -> EpochKey:
    """Its key of the plan's epoch; ValueError without one."""
    if agent.key is None:
        raise ValueError(f"{agent.id} has no key of this epoch")
    return agent.key
