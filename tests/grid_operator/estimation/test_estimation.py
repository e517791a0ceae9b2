"""Estimates of feeders whose truth is known: exact, with noise that is constructed, refused, robust."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import chi2

from grid_operator.estimation.bad_data import bad_data, p_values
from grid_operator.estimation.equations import MeasurementModel
from grid_operator.estimation.errors import EstimationError
from grid_operator.estimation.gain import NormalEquations
from grid_operator.estimation.least_squares import estimate
from grid_operator.estimation.measurements import GridQuantity, Measured, measured, of_each_load, of_group
from grid_operator.estimation.noise import group_sigma, reading_sigma
from grid_operator.estimation.observability import darkness
from grid_operator.estimation.robust import estimate_robustly
from grid_operator.network.power_flow import power_flow

VOLTS, WATTS, VARS, AMPERES = (
    GridQuantity.VOLTAGE_PER_UNIT, GridQuantity.BRANCH_WATTS, GridQuantity.BRANCH_VARS, GridQuantity.BRANCH_AMPERES,
)  # fmt: skip


class Constructed:
    """A random feeder with a truth, and measurements of it with Gaussian errors; everything from one seed."""

    def __init__(self, random_feeder, slots: int = 200, seed: int = 11) -> None:
        network, self.feeder = random_feeder(seed)
        self.names = [load.name for load in network.loads]
        self.nodes = np.array([self.feeder.node(load.node) for load in network.loads])
        self.rng, self.slots = np.random.default_rng(seed), slots
        self.p = self.rng.uniform(-2_000, 5_000, (slots, len(self.nodes)))
        self.q = 0.2 * self.p + self.rng.uniform(-300, 300, self.p.shape)
        self.truth = power_flow(
            self.feeder, self.feeder.at_nodes(self.nodes, self.p), self.feeder.at_nodes(self.nodes, self.q)
        )

    def near(self, values: np.ndarray, sigma: float) -> np.ndarray:
        return values + self.rng.normal(0, sigma, values.shape)

    def device(self, quantity: GridQuantity, place: str, sigma: float) -> Measured:
        feeder, truth = self.feeder, self.truth
        at = feeder.node(place) if quantity is VOLTS else feeder.branch(place)
        values = {
            VOLTS: truth.voltage_per_unit,
            WATTS: truth.sent_watts,
            VARS: truth.sent_vars,
            AMPERES: truth.amperes,
        }[quantity]
        return measured(feeder, quantity, place, self.near(values[:, at], sigma), sigma)

    def head(self) -> list[Measured]:
        return [self.device(VOLTS, "feed", 1e-3), self.device(WATTS, "slack", 300.0), self.device(VARS, "slack", 300.0)]

    def loads(self, sigma: float, *, pseudo: bool = False) -> list[Measured]:
        return [
            *of_each_load(self.names, GridQuantity.LOAD_WATTS, self.near(self.p, sigma), sigma, pseudo=pseudo),
            *of_each_load(self.names, GridQuantity.LOAD_VARS, self.near(self.q, sigma / 3), sigma / 3, pseudo=pseudo),
        ]

    def model(self, rows: list[Measured]) -> MeasurementModel:
        return MeasurementModel(self.feeder, self.nodes, rows)


@pytest.fixture
def made(random_feeder) -> Constructed:
    return Constructed(random_feeder)


def test_exact_measurements_give_the_truth(made):
    rows = [
        measured(made.feeder, VOLTS, "n3", made.truth.voltage_per_unit[:, made.feeder.node("n3")], 1e-3),
        measured(made.feeder, WATTS, "line l4", made.truth.sent_watts[:, made.feeder.branch("line l4")], 10.0),
        measured(made.feeder, AMPERES, "line l1", made.truth.amperes[:, made.feeder.branch("line l1")], 1e-4),
        *of_each_load(made.names, GridQuantity.LOAD_WATTS, made.p, 50.0),
        *of_each_load(made.names, GridQuantity.LOAD_VARS, made.q, 50.0),
    ]
    found = estimate(made.model(rows))
    assert np.abs(found.flow.voltage_per_unit - made.truth.voltage_per_unit).max() < 1e-8
    assert np.abs(found.watts - made.p).max() < 1e-2
    assert found.squared_residuals.max() < 1e-6


def test_errors_are_as_large_as_the_covariance_says(made):
    rows = [
        *made.head(), made.device(VOLTS, "n7", 1e-3), made.device(WATTS, "line l2", 200.0), made.device(AMPERES, "line l1", 0.2),
        of_group("four", GridQuantity.LOAD_WATTS, range(4), made.near(made.p[:, :4].sum(axis=1), 150.0), 150.0),
        *made.loads(900.0, pseudo=True),
    ]  # fmt: skip
    model = made.model(rows)
    found = estimate(model, covariance=True)
    assert found.covariance is not None
    error = np.column_stack([
        found.flow.squared_voltage[:, 0] - made.truth.squared_voltage[:, 0], (found.watts - made.p) / 1e6, (found.vars - made.q) / 1e6
    ])  # fmt: skip
    distance = np.einsum("si,sij,sj->s", error, np.linalg.inv(found.covariance), error)
    freedom = made.slots * model.states
    assert chi2.sf(distance.sum(), freedom) > 1e-6
    assert chi2.cdf(distance.sum(), freedom) > 1e-6
    judged = (found.squared_residuals.sum(), found.surplus.sum())
    assert min(chi2.sf(*judged), chi2.cdf(*judged)) > 1e-6
    volts = (found.flow.voltage_per_unit - made.truth.voltage_per_unit) / found.voltage_sigma
    assert 0.7 < np.mean(volts**2) < 1.3  # nodes move together: 200 slots are no more than 200
    assert np.nanstd(found.normalised) == pytest.approx(1, abs=0.05)
    own = np.sqrt(np.einsum("sii->si", found.covariance))
    assert own[:, 1 : 1 + model.loads] * 1e6 == pytest.approx(found.watts_sigma, rel=1e-6)


def test_the_covariance_is_the_inverse_of_the_gain_whichever_rows_are_there(made):
    """Readings of all loads, of some, and of none but flows: the elimination gives what a plain inverse does."""
    gaps = [
        Measured(
            row.name,
            row.quantity,
            row.where,
            row.values,
            np.where(np.arange(made.slots) % 7 == row.where[0] % 7, np.inf, row.sigmas),
        )
        for row in made.loads(700.0)
    ]
    flows = [
        made.device(kind, f"line l{at}", 50.0) for at in range(1, 12) for kind in (WATTS, VARS)
    ]  # fmt: skip
    for rows in ([*made.head(), *made.loads(700.0)], [*made.head(), *flows, *gaps], [*made.head(), *flows]):
        model = made.model(rows)
        found = estimate(model, covariance=True)
        slot = slice(5, 6)
        x = np.column_stack([found.flow.squared_voltage[slot, 0], found.watts[slot] / 1e6, found.vars[slot] / 1e6])
        h = np.zeros((len(model.rows), model.states))
        h[model.single, model.single_columns] = 1
        h[model.dense] = model.slopes(model.solved(x, slot))[0]
        weights = np.where(model.present[5], model.sigmas[5] ** -2.0, 0)
        assert found.covariance is not None
        unit = np.sqrt(np.diag(found.covariance[5]))
        product = (h.T * weights) @ h @ found.covariance[5]
        assert np.abs(product * unit[:, None] / unit - np.eye(model.states)).max() < 1e-5


@pytest.mark.parametrize("apart", [50.0, 1_000.0])
def test_sums_that_contradict_a_device_come_to_an_end_where_nothing_fits_better(random_feeder, apart):
    """Sums and devices of 10 W that are `apart` W apart: what is over goes into losses, which are bent, and plain steps come to no end."""
    made = Constructed(random_feeder, slots=40, seed=4)
    groups = [
        of_group(name, GridQuantity.LOAD_WATTS, loads, made.near(made.p[:, loads].sum(axis=1), apart), 10.0)
        for name, loads in (("six", [0, 1, 2, 3, 4, 5]), ("five", [6, 7, 8, 9, 10]))
    ]
    lines = [
        made.device(kind, place, 10.0) for kind, place in ((WATTS, "line l4"), (WATTS, "line l1"), (VARS, "line l1"))
    ]
    volts = [made.device(VOLTS, node, 1e-4) for node in ("feed", "n9", "n5")]
    model = made.model([*made.head()[1:], *groups, *lines, *volts, *made.loads(3_000.0, pseudo=True)])
    found, every = estimate(model), slice(0, made.slots)
    x = np.column_stack([found.flow.squared_voltage[:, 0], found.watts / 1e6, found.vars / 1e6])
    equations = NormalEquations(model, every, x, found.flow)
    promised = np.einsum("si,si->s", equations.step(), equations.pull())  # of J, by another plain step
    assert (promised < 1e-9 * (1 + found.squared_residuals)).all()
    for part in (1e-4, 1e-2):
        beside = x + part * made.rng.normal(size=x.shape) * np.column_stack(
            [np.full(made.slots, 1e-4), found.watts_sigma / 1e6, found.vars_sigma / 1e6]
        )
        misfit = ((model.values - model.expected(beside, model.solved(beside, every))) / model.sigmas) ** 2
        assert (misfit.sum(axis=1) > found.squared_residuals).all()


def test_another_pull_moves_the_state_as_the_inverse_of_the_gain_says(made):
    """Also where no single row speaks of a load."""
    model = made.model([*made.head(), *(made.device(kind, f"line l{at}", 50.0) for at in range(1, 12) for kind in (WATTS, VARS)),
                        *made.loads(700.0)[3:]])  # fmt: skip
    slots = slice(0, 3)
    x = model.first_state(slots)
    equations = NormalEquations(model, slots, x, model.solved(x, slots))
    assert equations.step_of(equations.pull()) == pytest.approx(equations.step(), rel=1e-6)
    other = made.rng.normal(size=x.shape)
    moved = np.einsum("sij,sj->si", equations.covariance().whole(), other)
    assert equations.step_of(other) == pytest.approx(moved, rel=1e-6, abs=1e-12)


def test_zero_injections_are_exact(made):
    found = estimate(made.model([*made.head(), *made.loads(500.0)]))
    children = [node for node in range(len(made.feeder)) if made.feeder.up[node] == made.feeder.node("n0")]
    bare = made.feeder.node("n0")
    given = found.flow.branch_watts[:, bare]
    passed = (found.flow.branch_watts + found.flow.loss_watts)[:, children].sum(axis=1)
    assert given == pytest.approx(passed + made.feeder.g[bare] * found.flow.squared_voltage[:, bare] * 1e6)


def test_what_is_not_determined_is_refused_by_name(made):
    head, loads = made.head(), made.loads(500.0)
    with pytest.raises(
        EstimationError, match=r"^slot 0: watts of load 2 at node n3 cannot be observed: .*\(1 such states\)"
    ):
        estimate(
            made.model(
                [*head[:1], *(row for row in loads if row.where != (2,) or row.quantity is GridQuantity.LOAD_VARS)]
            )
        )
    gone = np.where(np.arange(made.slots) == 42, np.inf, 500.0)
    late = [*loads[1:], Measured("h1", GridQuantity.LOAD_WATTS, (0,), made.p[:, 0], gone)]
    with pytest.raises(EstimationError, match=r"^slot 42: watts of load 0 at node n1 cannot be observed"):
        estimate(made.model([head[0], *late]))
    assert np.isfinite(estimate(made.model([*head, *late])).watts).all()  # the head's sum determines it
    with pytest.raises(EstimationError, match="no voltage is measured"):
        estimate(made.model([*head[1:], *loads]))


def test_the_dark_nodes_are_those_that_only_assumptions_speak_of(made):
    everything = made.model([*made.head(), *made.loads(500.0)])
    assert darkness(everything).nodes == ()
    assert darkness(everything).loads == ()
    dark = darkness(made.model([*made.head(), *made.loads(500.0, pseudo=True), made.device(VOLTS, "n5", 1e-3)]))
    assert set(made.feeder.at) - set(dark.nodes) == {"feed", "n0", "n1", "n5"}  # only line l1 leaves n0
    assert dark.loads == dark.reactive_loads == tuple(range(len(made.names)))


def test_one_wrong_reading_is_found_and_the_robust_state_stands(made):
    rows = [*made.head(), *made.loads(300.0), *made.loads(300.0), *made.loads(300.0)]
    spoilt = rows[7].values.copy()
    spoilt[17] += 30_000.0
    rows[7] = Measured(rows[7].name, rows[7].quantity, rows[7].where, spoilt, rows[7].sigmas)
    model = made.model(rows)
    found = estimate(model)
    listed = bad_data(model, found)
    assert [(one.slot, one.suspect) for one in listed] == [(17, rows[7].name)]
    assert listed[0].normalised_residual > 10
    load = rows[7].where[0]
    robust = estimate_robustly(model)
    assert abs(robust.watts[17, load] - made.p[17, load]) < 1_500
    assert abs(found.watts[17, load] - made.p[17, load]) > 3_000
    assert np.median(p_values(found)) == pytest.approx(0.5, abs=0.15)


def test_the_robust_state_has_the_least_sum_of_deviations(made):
    """Against linear programming, on the equations linearised at what was found."""
    model = made.model(
        [*made.head(), made.device(VOLTS, "n9", 1e-3), made.device(WATTS, "line l3", 100.0), *made.loads(300.0)]
    )
    found, slot = estimate_robustly(model), slice(3, 4)
    x = np.column_stack([found.flow.squared_voltage[slot, 0], found.watts[slot] / 1e6, found.vars[slot] / 1e6])
    h = np.zeros((len(model.rows), model.states))
    h[model.single, model.single_columns] = 1
    h[model.dense] = model.slopes(model.solved(x, slot))[0]
    h, r = h / model.sigmas[3][:, None], found.residuals[3]
    one = np.eye(len(r))
    best = linprog(
        np.concatenate([np.zeros(model.states), np.ones(len(r))]), bounds=(None, None),
        A_ub=np.block([[h, -one], [-h, -one]]), b_ub=np.concatenate([r, -r]),
    )  # fmt: skip
    assert np.abs(r).sum() == pytest.approx(best.fun, abs=5e-3 * len(r))


def test_what_no_measurement_can_be_is_refused(made):
    ones = np.ones(3)
    for values, sigmas, where, said in (
        ([1, np.nan, 1], ones, (0,), "x: slot 1: nan is no number"),
        (ones, [1, 0, 1], (0,), "x: slot 1: sigma is 0.0, not above 0"),
        (ones, [1, 1, np.nan], (0,), "x: slot 2: sigma is nan"),
        (ones, ones, (), "x: it is about nothing"),
        (ones, ones, (1, 1), "x: a load is there twice"),
    ):
        with pytest.raises(EstimationError, match=said):
            Measured("x", GridQuantity.LOAD_WATTS, where, np.asarray(values), np.asarray(sigmas))
    with pytest.raises(EstimationError, match="a current's magnitude is below 0"):
        Measured("x", AMPERES, (1,), -ones, ones)
    with pytest.raises(EstimationError, match="the slack is no branch"):
        measured(made.feeder, AMPERES, "slack", ones, 1.0)
    with pytest.raises(EstimationError, match="x: there is no load of that number"):
        made.model([Measured("x", GridQuantity.LOAD_WATTS, (99,), ones, ones)])
    with pytest.raises(EstimationError, match=r"different numbers of slots: \[3, 200\]"):
        made.model([*made.head(), Measured("x", GridQuantity.LOAD_WATTS, (1,), ones, ones)])


def test_noise_is_as_large_as_its_law():
    assert reading_sigma(1.0, 6_900.0) == pytest.approx(np.sqrt(2) * 6_900)
    assert group_sigma(1.0, 100.0, counted=5, fewest=4, threshold=3) == pytest.approx(np.sqrt(2 * 2.5) * 100)
    for wrong in ((0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0), (1.0, float("inf"))):
        with pytest.raises(EstimationError, match="both are numbers above 0"):
            reading_sigma(*wrong)
    with pytest.raises(EstimationError, match="no such rule"):
        group_sigma(1.0, 1.0, counted=3, fewest=4, threshold=3)
