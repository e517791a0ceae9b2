"""The verdict on sums: its truth is the sum over exactly the pairs that the configurator decided, whatever a consumer says."""

from __future__ import annotations

import dataclasses

import pytest
from support.consumer import opened_tables

from configurator.plans.building import build_plan
from configurator.registry.registry import Registry
from configurator.values import GrantedRule
from consumer_node.results.tables import ResultKind
from consumer_node.shares.collection import Aggregate, Outcome, result_row
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import Agreement, Identity
from hushgrid.plan.head import EpochKey, Head
from hushgrid.statements.rounds import Contributors, DecisionCore
from hushgrid.statements.rules import RequestRule
from hushgrid.wire.role import Role
from testbed.choices.layout import ConsumerWish
from testbed.deployment import Deployment
from testbed.households import Truth
from testbed.verdict.periods import BillingSpan
from testbed.verdict.sums import NOT_MASKED, Verdict, WindowRow, _as_masked, judge, windows_of

#: In the order of their numbers, which is not that of their names. The rule is about the first three.
METERS = ("m2", "m0", "m3", "m1")
COHORT = frozenset({0, 1, 2})
#: From round 9 to 14: of windows of two rounds, (10, 11) and (12, 13) are whole. m0 has no reading in round 11.
FIRST, ROUNDS = 9, 6
VALUES = {
    "m2": [1, 20, 300, 4000, 50000, 6],
    "m0": [7, 80, None, 1000, 20000, 3],
    "m3": [4, 50, 600, 7000, 80000, 9],
    "m1": [9000000] * ROUNDS,
}
ONE, TWO = Window(10, 2), Window(12, 2)
#: What is decided: round 11 without m0, which had a gap; round 12 without m3, which came too late.
INCLUDED = {10: {0, 1, 2, 3}, 11: {0, 2, 3}, 12: {0, 1, 3}, 13: {0, 1, 2, 3}}
GAPS = {11: {1}}
RIGHT_ONE, RIGHT_TWO = 20 + 80 + 50 + 300 + 600, 4000 + 1000 + 50000 + 20000 + 80000


class Stores:
    """What the configurator and the consumer `supplier` have on disk after a run."""

    def __init__(self, directory) -> None:
        wishes = {"supplier": (ConsumerWish("supplier", "total", METERS[:3], 2),)}
        stations = {"fleet": METERS}
        self.truth = Truth(tuple(sorted(METERS)), FIRST, ROUNDS, 1800, "constructed", VALUES)
        self.deployment = Deployment(directory, (), wishes, stations, Identity.generate(), Agreement.generate())
        self.registry = Registry(directory / "configurator" / "registry.sqlite")
        self._enrol()
        self.rule = self._plan()
        self.results = opened_tables(directory / "supplier")

    def close(self) -> None:
        self.registry.close()
        self.results.close()

    def _enrol(self) -> None:
        roles = dict.fromkeys(METERS, Role.METER) | {"supplier": Role.CONSUMER}
        roles |= {f"ppn-{point}": Role.PPN for point in (1, 2, 3, 4)}
        tokens = self.registry.agents.issue_tokens(list(roles.items()))
        for name, role in roles.items():
            identity = Identity.generate()
            self.registry.agents.enrol(name, role, tokens[name], identity.public, None, None)
            self.registry.agents.store_keys(name, [EpochKey.sign(identity, "g", 0, bytes(32))])

    def _plan(self) -> int:
        request = RequestRule(name="total", cohort=METERS[:3], window_rounds=2)
        granted = self.registry.rules.draft(request, "supplier", 8, 1, COHORT)
        rule = granted.rule.model_copy(update={"points": (1, 2, 3, 4)})
        self.registry.rules.grant(GrantedRule(rule, COHORT), request)
        template = Head.model_construct(
            grid="g", version=1, previous=b"", epoch=0, valid_from_round=8, interval_seconds=1800, threshold=3, width=4,
            modulus=2**61 - 1, slots=1, reading_bound_watt_hours=10**7, recovery=Recovery.AGREE, repair_attempts=0,
            minimum_contributors=1, coverage_floor_fraction=0.5, ppns=(), meters=0, parts=0, parts_root=b"",
        )  # fmt: skip
        self.registry.plans.add(build_plan(template, self.registry.agents.listed(0), [GrantedRule(rule, COHORT)]))
        return rule.number

    def decide(self, round_number: int) -> None:
        sets = (INCLUDED[round_number], GAPS.get(round_number, set()), set())
        pages = Contributors(*(Bitmap.of(len(METERS), each) for each in sets)).to_pages()
        digests = tuple(page.digest for page in pages)
        core = DecisionCore(round=round_number, version=1, pages=digests, withheld=(), punctual=(1, 2, 3))
        self.registry.decisions.add(core, bytes(64), pages)

    def conclude(self, window, watt_hours, outcome=Outcome.RELEASED, **said) -> None:
        """The consumer's result: of five included pairs and one gap unless said otherwise."""
        plain = Aggregate(self.rule, window, outcome, "", watt_hours, 6, 5, 1, 0, 0, 3, points=(1, 2, 3))
        self.results.add(ResultKind.SUM, [result_row("total", dataclasses.replace(plain, **said), 1800)])

    def verdict(self):
        return judge(self.deployment, self.truth)


@pytest.fixture
def stores(tmp_path):
    found = Stores(tmp_path)
    for round_number in INCLUDED:
        found.decide(round_number)
    yield found
    found.close()


def counts(verdict):
    return tuple(verdict.counts[name] for name in ("windows", "released", "wrong", "unrecovered", "withheld"))


def test_right_sums_pass(stores):
    stores.conclude(ONE, RIGHT_ONE)
    stores.conclude(TWO, RIGHT_TWO)
    verdict = stores.verdict()
    assert counts(verdict) == (2, 2, 0, 0, 0)
    assert [row.truth_watt_hours for row in verdict.rows] == [RIGHT_ONE, RIGHT_TWO]
    assert [row.gaps for row in verdict.rows] == [(("m0", 11),), ()]
    shown = verdict.rows[0].as_json()
    assert (shown["consumer"], shown["rule"], shown["first_round"], shown["last_round"]) == (
        "supplier",
        "total",
        10,
        11,
    )
    assert (shown["watt_hours"], shown["points"], shown["gaps"]) == (RIGHT_ONE, [1, 2, 3], 1)


def test_only_windows_that_lie_in_the_run_as_a_whole_are_judged(stores):
    assert [each.window for each in windows_of(stores.deployment, stores.truth)] == [ONE, TWO]


@pytest.mark.parametrize("watt_hours", [RIGHT_ONE - 1, RIGHT_ONE + 1, -RIGHT_ONE, 0, None])
def test_another_number_than_the_truth_is_wrong(stores, watt_hours):
    stores.conclude(ONE, watt_hours)
    stores.conclude(TWO, RIGHT_TWO)
    verdict = stores.verdict()
    assert counts(verdict) == (2, 2, 1, 0, 0)
    assert [row.wrong for row in verdict.rows] == [True, False]


@pytest.mark.parametrize(
    "watt_hours",
    [
        pytest.param(RIGHT_TWO + 7000, id="with m3, which was left out of round 12"),
        pytest.param(RIGHT_TWO - 80000, id="without m3 in round 13, where it is in"),
        pytest.param(RIGHT_TWO + 9000000, id="with m1, which is not of the cohort"),
        pytest.param(RIGHT_TWO - 4000 - 50000 + 7000 + 9000000, id="of meters in the order of their names"),
        pytest.param(RIGHT_ONE, id="of another window"),
    ],
)
def test_a_sum_over_others_than_decided_is_wrong(stores, watt_hours):
    stores.conclude(TWO, watt_hours)
    assert counts(stores.verdict()) == (2, 1, 1, 1, 0)


def test_a_sum_of_a_window_of_which_nothing_is_decided_is_wrong(tmp_path):
    stores = Stores(tmp_path)
    stores.conclude(ONE, RIGHT_ONE)
    verdict = stores.verdict()
    stores.close()
    assert counts(verdict) == (2, 1, 1, 1, 0)
    assert (verdict.rows[0].included, verdict.rows[0].truth_watt_hours) == (0, 0)


@pytest.mark.parametrize("outcome", [Outcome.UNRECOVERED, Outcome.WITHHELD])
def test_a_window_without_a_sum_is_counted_as_what_its_consumer_calls_it(stores, outcome):
    stores.conclude(ONE, None, outcome, reason="so it is")
    stores.conclude(TWO, RIGHT_TWO)
    verdict = stores.verdict()
    assert counts(verdict) == (2, 1, 0, int(outcome is Outcome.UNRECOVERED), int(outcome is Outcome.WITHHELD))
    row = verdict.rows[0]
    assert (row.status, row.reason, row.watt_hours, row.truth_watt_hours) == (outcome, "so it is", None, RIGHT_ONE)


def test_a_window_without_a_result_is_unrecovered(stores):
    stores.conclude(TWO, RIGHT_TWO)
    verdict = stores.verdict()
    assert counts(verdict) == (2, 1, 0, 1, 0)
    row = verdict.rows[0]
    assert (row.status, row.reason, row.wrong, row.recovered) == ("unrecovered", "no result", False, {})


def test_without_any_file_of_a_consumer_all_its_windows_are_unrecovered(stores):
    (stores.deployment.state("supplier") / "results.jsonl").unlink()
    verdict = stores.verdict()
    assert counts(verdict) == (2, 0, 0, 2, 0)
    assert verdict.coverage is None


def test_coverage_is_counted_from_the_decisions_not_from_what_the_consumer_counts(stores):
    stores.conclude(ONE, RIGHT_ONE, expected=1000, included=1000, gaps=0)
    stores.conclude(TWO, RIGHT_TWO, expected=6, included=2)
    verdict = stores.verdict()
    assert [(row.expected, row.included) for row in verdict.rows] == [(6, 5), (6, 5)]
    assert verdict.coverage == 10 / 12


def test_coverage_is_over_released_windows_only(stores):
    stores.conclude(ONE, RIGHT_ONE)
    stores.conclude(TWO, None, Outcome.WITHHELD)
    assert stores.verdict().coverage == 5 / 6


@pytest.mark.parametrize(
    ("number", "window"),
    [
        pytest.param(99, ONE, id="a rule that is not there"),
        pytest.param(1, Window(11, 1), id="a window that begins between two"),
        pytest.param(1, Window(8, 2), id="a window that began before the run"),
    ],
)
def test_a_result_that_nobody_asked_for_is_taken_for_no_other(stores, number, window):
    stores.conclude(window, RIGHT_ONE, rule=number)
    stores.conclude(TWO, RIGHT_TWO)
    assert counts(stores.verdict()) == (2, 1, 0, 1, 0)


def masked_row(first, gaps, status="withheld"):
    return WindowRow("supplier", "total", first, first + 1, 6, 6 - len(gaps), status, "minimum", None, 9, gaps, {})


def test_what_could_not_be_masked_before_the_first_period_is_neither_a_gap_nor_missing():
    billing = BillingSpan(10, 20, 13)  # masked readings begin with round 13
    whole = _as_masked(masked_row(10, (("m0", 10), ("m0", 11))), Window(10, 2), billing)
    assert (whole.status, whole.expected, whole.gaps) == (NOT_MASKED, 0, ())
    assert "bills run from round 13" in whole.reason
    half = _as_masked(masked_row(12, (("m0", 12), ("m1", 13))), Window(12, 2), billing)
    assert (half.status, half.expected, half.gaps) == ("withheld", 3, (("m1", 13),))
    assert Verdict((whole, half)).counts["windows"] == 1
    later = masked_row(14, ())
    assert _as_masked(later, Window(14, 2), billing) == later
