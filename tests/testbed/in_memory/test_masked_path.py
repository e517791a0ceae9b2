"""Masked readings from the configurator's plan through meters to bills and columns, by the code that agents run, without a broker."""

from __future__ import annotations

import random

import pytest

from configurator.masked.section import PairwiseSection
from configurator.masked.streams import MaskedRules
from configurator.values import GrantedRule, Registered, StandingRule
from consumer_node.masked.ledger import Ledger
from consumer_node.masked.stream import BilledStream, OpenPeriod
from hushgrid.core.field import MODULI
from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Agreement, Identity, Kind, SealingKey
from hushgrid.errors import MessageError, RecoveryError, RefusedError
from hushgrid.plan.floors import Floors, check_masking
from hushgrid.plan.head import EpochKey, Head
from hushgrid.plan.parts import MaskingPart, Rule, part_from_json
from hushgrid.statements.rules import RequestRule
from hushgrid.wire.masked import MaskedText, masked_context
from hushgrid.wire.model import Mechanism, Variant
from hushgrid.wire.role import Role
from meter_agent.masked.stream import MaskedStream

GRID, PERIOD, METERS = "g", Window(96, 8), 12


class Cast:
    """A grid of twelve meters and a supplier, as the configurator has them registered."""

    def __init__(self, directory, **section) -> None:
        self.rng = random.Random(5)
        self.keys = {f"m{n:02}": Agreement.generate() for n in range(METERS)} | {"supplier": Agreement.generate()}
        identities = {agent: Identity.generate() for agent in self.keys}
        self.agents = [
            Registered(
                agent, Role.CONSUMER if agent == "supplier" else Role.METER, number, identities[agent].public, None, None,
                EpochKey.sign(identities[agent], GRID, 0, self.keys[agent].public),
            )
            for number, agent in enumerate(self.keys)
        ]  # fmt: skip
        settings = {"period_rounds": PERIOD.rounds, "colluders": 2, "graph": "circulant:1,2"} | section
        self.masked = MaskedRules(PairwiseSection(**settings), directory, 4)
        self.head = Head.model_construct(
            grid=GRID, version=1, epoch=0, valid_from_round=PERIOD.first, interval_seconds=1800, modulus=MODULI[0], slots=1,
            reading_bound_watt_hours=5000, coverage_floor_fraction=0.8, minimum_contributors=4, previous=b"",
            threshold=1, width=1, recovery=Recovery.AGREE, ppns=(), meters=METERS, parts=1, parts_root=bytes(32), repair_attempts=0,
        )  # fmt: skip

    def parts(self, valid_from_round=PERIOD.first, agents=None):
        request = RequestRule(name="bills", cohort="all", window_rounds=PERIOD.rounds, mechanism=Mechanism.PAIRWISE)
        rule = Rule(
            number=1, name="bills", consumer="supplier", window_rounds=PERIOD.rounds, minimum_contributors=4, points=(),
            from_round=0, mechanism=Mechanism.PAIRWISE,
        )  # fmt: skip
        granted = GrantedRule(rule, frozenset(range(METERS)))
        built = self.masked.parts(agents or self.agents, [StandingRule(granted, request)], valid_from_round)
        return {part.recipient: part_from_json(part.json.encode()) for part in built}

    def play(self, parts):
        """Everybody masks the whole period; the supplier's open period and the truth."""
        streams = {
            meter: MaskedStream.derive(meter, self.head, part, self.keys[meter], GRID)
            for meter, part in parts.items()
            if isinstance(part, MaskingPart)
        }
        billed = BilledStream.of(self.head, [parts["supplier"]])
        period = OpenPeriod(billed, PERIOD, Ledger(billed.frame(PERIOD)), set(), set())
        truth = {}
        for meter, stream in streams.items():
            drawn = None if stream.pairs else stream.isolated_draws(PERIOD)
            noises = stream.noises(PERIOD, {}, drawn)
            own, consumer = self.keys[meter], self.keys["supplier"]
            key = SealingKey.derive(
                consumer, own.public, kind=Kind.MASKED, grid=GRID, epoch=0, sender=own.public, recipient=consumer.public
            )
            for round_number in PERIOD:
                truth[meter, round_number] = self.rng.randrange(-900, 3000)
                sealed = stream.seal((truth[meter, round_number],), round_number, noises, None)
                context = masked_context(self.head.digest, 1, stream.part.number, round_number)
                text = MaskedText.from_bytes(
                    key.unseal(sealed, context, stream=1, round_number=round_number), 1, self.head.field
                )
                period.record(meter, round_number, text.elements[0], reading=text.reading)
        return period, truth


def test_the_whole_path_gives_every_bill_and_column_to_the_watt_hour(tmp_path):
    cast = Cast(tmp_path)
    period, truth = cast.play(cast.parts())
    for round_number in PERIOD:
        ((_, _, row),) = period.due_columns(round_number)
        assert row["watt_hours"] == sum(wh for (_, r), wh in truth.items() if r == round_number)
    bills = {meter: row for _, meter, row in period.due_bills()}
    assert {m: row["watt_hours"] for m, row in bills.items()} == {
        f"m{n:02}": sum(truth[f"m{n:02}", r] for r in PERIOD) for n in range(METERS)
    }
    assert period.complete
    assert len(period.double_entries()) == 1


def test_a_meter_without_neighbours_has_an_exact_bill_and_is_in_no_column(tmp_path):
    cast = Cast(tmp_path, isolated=("m03",), isolated_epsilon="1")
    parts = cast.parts()
    assert parts["m03"].neighbours == ()
    assert all(n.number != 3 for part in parts.values() if isinstance(part, MaskingPart) for n in part.neighbours)
    period, truth = cast.play(parts)
    for round_number in PERIOD:
        ((_, _, row),) = period.due_columns(round_number)
        assert row["expected"] == METERS - 1
        assert row["watt_hours"] == sum(wh for (m, r), wh in truth.items() if r == round_number and m != "m03")
    bills = {meter: row["watt_hours"] for _, meter, row in period.due_bills()}
    assert bills["m03"] == sum(truth["m03", r] for r in PERIOD)
    assert period.complete


@pytest.mark.parametrize("epsilon", [None, "0", "5"])
def test_an_isolated_meter_without_a_sound_epsilon_is_refused_at_start(epsilon):
    with pytest.raises(ValueError, match="need an isolated_epsilon"):
        PairwiseSection(isolated=("m03",), isolated_epsilon=epsilon)


def test_a_meter_refuses_a_part_that_would_leave_it_open(tmp_path):
    cast = Cast(tmp_path)
    part = cast.parts()["m00"]
    check_masking(cast.head, part, Floors())
    published = part.terms.model_copy(update={"variant": Variant.PUBLISHED, "noise_span_watt_hours": 5000})
    for broken, reason in (
        (part.model_copy(update={"neighbours": part.neighbours[:2]}), "may all collude"),
        (part.model_copy(update={"neighbours": ()}), "no stated epsilon"),
        (part.model_copy(update={"terms": published}), "unsafe_published"),
    ):
        with pytest.raises(MessageError, match=reason):
            check_masking(cast.head, broken, Floors())


def test_the_graph_is_drawn_anew_at_a_period_boundary_when_a_meter_goes_and_when_it_comes_back(tmp_path):
    cast = Cast(tmp_path)
    first = cast.parts()["supplier"].terms
    assert cast.parts(PERIOD.first + 3)["supplier"].terms == first  # nobody came or went
    without = cast.parts(PERIOD.first + 3, [agent for agent in cast.agents if agent.id != "m05"])
    assert "m05" not in without
    assert without["supplier"].terms.from_round == PERIOD.last + 1
    assert without["supplier"].terms.graph != first.graph
    back = cast.parts(PERIOD.first + 11)["supplier"].terms
    assert back.from_round == PERIOD.first + 2 * PERIOD.rounds
    assert back.graph not in (first.graph, without["supplier"].terms.graph)
    for terms in (first, without["supplier"].terms, back):
        assert cast.masked.graphs.by_digest(1, terms.graph).period.first == terms.from_round


def test_a_stream_whose_meters_have_become_too_few_is_not_in_the_plan(tmp_path):
    cast = Cast(tmp_path)
    few = [agent for agent in cast.agents if agent.id == "supplier" or agent.number < 5]
    assert cast.parts(agents=few) == {}


def test_what_is_missing_is_absent_and_no_other_sum_is_offered(tmp_path):
    cast = Cast(tmp_path)
    parts = cast.parts()
    period, _ = cast.play(parts)
    fresh = OpenPeriod(period.stream, PERIOD, Ledger(period.ledger.frame), set(), set())
    for (meter, round_number), element in period.ledger._masked.items():
        if (meter, round_number) != ("m01", 99):
            fresh.record(meter, round_number, element, reading=True)
    assert fresh.due_columns(99) == []
    assert {meter for _, meter, _ in fresh.due_bills()} == {f"m{n:02}" for n in range(METERS)} - {"m01"}
    with pytest.raises(RecoveryError):
        fresh.ledger.column(fresh.groups[0], 99)
    with pytest.raises(RefusedError):
        fresh.ledger.close_without(99, frozenset({"m01"}))
    offered = {name for name in dir(OpenPeriod) if name.startswith(("due_", "double"))}
    assert offered == {"due_columns", "due_bills", "double_entries"}
