"""Rounds closed under self-masks, by the code that agents run: every single message of a 6 x 8 table dropped in turn."""

from __future__ import annotations

import itertools
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
from hushgrid.errors import MessageError, RefusedError
from hushgrid.plan.head import EpochKey, Head
from hushgrid.plan.parts import BillingPart, MaskingPart, Rule, part_from_json
from hushgrid.statements.masked import MaskedRoster
from hushgrid.statements.rules import RequestRule
from hushgrid.wire.masked import MaskedText, RoundClosing, masked_context
from hushgrid.wire.model import Mechanism
from hushgrid.wire.role import Role
from meter_agent.masked.carry import Carry
from meter_agent.masked.disclosure import Opening, Openings
from meter_agent.masked.stream import MaskedStream
from meter_agent.masked.values import PairTexts

GRID, PERIOD, METERS, MINIMUM, COLLUDERS = "g", Window(96, 8), 6, 3, 1
BOUND = 5000
RULE = Rule(
    number=1, name="bills", consumer="supplier", window_rounds=PERIOD.rounds, minimum_contributors=MINIMUM, points=(),
    from_round=0, mechanism=Mechanism.PAIRWISE,
)  # fmt: skip


class Village:
    """Six meters that have agreed on a period, and what they read."""

    def __init__(self, directory) -> None:
        rng = random.Random(9)
        self.configurator = Identity.generate()
        self.keys = {f"m{n}": Agreement.generate() for n in range(METERS)} | {"supplier": Agreement.generate()}
        identity = Identity.generate()
        agents = [
            Registered(
                agent, Role.CONSUMER if agent == "supplier" else Role.METER, number, identity.public, None, None,
                EpochKey.sign(identity, GRID, 0, key.public),
            )
            for number, (agent, key) in enumerate(self.keys.items())
        ]  # fmt: skip
        section = PairwiseSection(
            period_rounds=PERIOD.rounds, colluders=COLLUDERS, self_masks=True, losses_borne=1, graph="circulant:1,2"
        )
        self.masked = MaskedRules(section, directory, MINIMUM)
        request = RequestRule(name="bills", cohort="all", window_rounds=PERIOD.rounds, mechanism=Mechanism.PAIRWISE)
        built = self.masked.parts(
            agents, [StandingRule(GrantedRule(RULE, frozenset(range(METERS))), request)], PERIOD.first
        )
        parts = {part.recipient: part_from_json(part.json.encode()) for part in built}
        self.head = Head.model_construct(
            grid=GRID, version=1, previous=b"", epoch=0, valid_from_round=PERIOD.first, interval_seconds=1800, threshold=1,
            width=1, modulus=MODULI[0], slots=1, reading_bound_watt_hours=BOUND, recovery=Recovery.AGREE,
            repair_attempts=0, minimum_contributors=MINIMUM, coverage_floor_fraction=0.8, ppns=(), meters=METERS, parts=1,
            parts_root=bytes(32),
        )  # fmt: skip
        self.billing = parts["supplier"]
        assert isinstance(self.billing, BillingPart)
        self.billed = BilledStream.of(self.head, [self.billing])
        self.streams = {
            meter: MaskedStream.derive(meter, self.head, part, self.keys[meter], GRID)
            for meter, part in parts.items()
            if isinstance(part, MaskingPart)
        }
        self.masks = {m: s.self_mask(bytes([n]) * 32) for n, (m, s) in enumerate(self.streams.items())}
        said = {meter: s.texts(PERIOD, self.masks[meter]) for meter, s in self.streams.items()}
        self.texts = {
            meter: {peer: PairTexts(said[meter][peer], said[f"m{peer}"][s.part.number], True) for peer in s.pairs}
            for meter, s in self.streams.items()
        }
        self.truth = {(m, r): rng.randrange(-500, 3000) for m in self.streams for r in PERIOD}

    def table(self, lost):
        """The masked elements of a run in which one meter's round is closed without it and carried, and what each masked."""
        elements, put = {}, {}
        for meter, stream in self.streams.items():
            carry, noises = Carry(BOUND), stream.noises(PERIOD, {}, None)
            key = SealingKey.derive(
                self.keys["supplier"], self.keys[meter].public, kind=Kind.MASKED, grid=GRID, epoch=0,
                sender=self.keys[meter].public, recipient=self.keys["supplier"].public,
            )  # fmt: skip
            for r in PERIOD:
                put[meter, r], carry = carry.prepare(r, self.truth[meter, r])
                sealed = stream.seal((put[meter, r],), r, noises, self.masks[meter])
                context = masked_context(self.head.digest, 1, stream.part.number, r)
                plain = key.unseal(sealed, context, stream=1, round_number=r)
                elements[meter, r] = MaskedText.from_bytes(plain, 1, self.head.field).elements[0]
                carry = carry.exclude(r) if (meter, r) == lost else carry
            put[meter, "owed"] = carry.pending_watt_hours
        return elements, put

    def close(self, round_number, missing):
        roster = MaskedRoster(stream=1, round=round_number, version=1, missing=tuple(missing))
        ids = {meter.number: meter.id for meter in self.billing.meters}
        return self.masked.close_round(
            roster, self.billing, ids, 0.8, lambda fresh: fresh.signed(self.configurator, GRID)
        )


@pytest.fixture
def village(tmp_path):
    return Village(tmp_path)


def test_every_single_drop_is_closed_exactly_and_what_comes_late_stays_shut(village):
    for meter, lost_round in itertools.product(village.streams, PERIOD):
        village.masked.graphs._database.execute("DELETE FROM closing")  # a run of its own for each drop
        elements, put = village.table((meter, lost_round))
        period = OpenPeriod(village.billed, PERIOD, Ledger(village.billed.frame(PERIOD)), set(), set())
        columns = {}
        for r in PERIOD:
            for each in village.streams:
                if (each, r) != (meter, lost_round):
                    period.record(each, r, elements[each, r], reading=True)
            missing = [village.billed.numbers[m] for m in period.ledger.missing(r)]
            period.close(village.close(r, missing))
            for holder, stream in village.streams.items():
                if (holder, r) == (meter, lost_round):
                    continue  # it is silent in every way
                openings = {peer: Openings() for peer in stream.pairs}
                text, answered = stream.opening_text(period.closings[r], PERIOD, village.texts[holder], openings)
                expected = Opening.PAIRS if r == lost_round else Opening.SELF
                gone = village.billed.numbers[meter]
                assert all(opening is (expected if peer == gone else Opening.SELF) for peer, opening in answered)
                for opened in period.openings(village.billed.meters[stream.part.number], r, text):
                    period.disclose(opened)
            for _, _, row in period.due_columns(r):
                columns[r] = row
        assert set(columns) == set(PERIOD)
        for r, row in columns.items():
            included = [m for m in village.streams if (m, r) != (meter, lost_round)]
            assert row["watt_hours"] == sum(put[m, r] for m in included)
            assert row["omitted"] == ([meter] if r == lost_round else [])
        bills = {who: row for _, who, row in period.due_bills()}
        for who, row in bills.items():
            rounds = [r for r in PERIOD if (who, r) != (meter, lost_round)]
            assert row["watt_hours"] == sum(put[who, r] for r in rounds)
        assert bills[meter]["watt_hours"] + put[meter, "owed"] == sum(village.truth[meter, r] for r in PERIOD)
        assert len(period.double_entries()) == 1
        with pytest.raises(MessageError, match="closed-round"):
            period.record(meter, lost_round, elements[meter, lost_round], reading=True)


def test_a_round_has_one_closing_for_ever(village):
    first = village.close(97, [2])
    assert village.close(97, []) == village.close(97, [3]) == first
    first.check(village.configurator.public, GRID)


def test_a_round_is_not_closed_where_the_rest_would_not_withstand_the_colluders(village):
    with pytest.raises(RefusedError):
        village.close(97, [1, 2])
    with pytest.raises(RefusedError, match="not in the plan"):
        village.close(97, [77])


def test_a_holder_that_opened_a_self_mask_keeps_its_pair_mask_shut_and_the_other_way_round(village):
    stream = village.streams["m0"]
    peer = min(stream.pairs)
    for absent, before in ((frozenset({peer}), Opening.SELF), (frozenset(), Opening.PAIRS)):
        openings = {each: Openings() for each in stream.pairs}
        openings[peer].ask(str(peer), 97, before)
        closing = RoundClosing(1, 97, stream.terms.graph, absent)
        with pytest.raises(RefusedError, match="stays shut for ever"):
            stream.opening_text(closing, PERIOD, village.texts["m0"], openings)


def test_an_answer_that_does_not_fit_the_closing_is_refused(village):
    period = OpenPeriod(village.billed, PERIOD, Ledger(village.billed.frame(PERIOD)), set(), set())
    stream = village.streams["m0"]
    closing = village.close(97, [])
    text, _ = stream.opening_text(closing, PERIOD, village.texts["m0"], {p: Openings() for p in stream.pairs})
    with pytest.raises(MessageError, match="not closed"):
        period.openings(village.billed.meters[0], 97, text)
    period.close(RoundClosing(1, 97, closing.graph, frozenset({min(stream.pairs)})))
    with pytest.raises(MessageError, match="against the closing"):
        period.openings(village.billed.meters[0], 97, text)
