"""Where devices go: how sure they make an estimate, the fewest that are enough, and what they tell of homes."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from experiments.pricing.feeders import scene_of
from grid_operator.market.errors import MarketError
from grid_operator.market.placement import Placing
from grid_operator.market.scene import LEAST_READING
from grid_operator.market.state_error import Targets
from grid_operator.network.feeder import BASE_VA
from grid_operator.network.power_flow import power_flow


def scene(seed):
    return scene_of(np.random.default_rng(seed))


def outcome(own, x):
    """Voltages, receiving-end watts and vars of branches (the slack's own in front), loadings: of one state, per unit."""
    homes = own.homes
    flow = power_flow(
        own.feeder, own.feeder.at_nodes(own.nodes, x[None, 1 : 1 + homes] * BASE_VA),
        own.feeder.at_nodes(own.nodes, x[None, 1 + homes :] * BASE_VA), slack_voltage_per_unit=math.sqrt(x[0]),
    )  # fmt: skip
    watts, reactive = flow.branch_watts[0].copy(), flow.branch_vars[0].copy()
    watts[0], reactive[0] = flow.slack_watts[0], flow.slack_vars[0]
    rated = own.feeder.rated_amperes / np.where(own.feeder.base_amperes > 0, own.feeder.base_amperes, 1)
    loading = np.hypot(watts, reactive)[1:] / BASE_VA / rated[1:]
    return flow.voltage_per_unit[0], watts / BASE_VA, reactive / BASE_VA, loading, rated


def direct(own, devices, targets):
    """The largest 95 % half width in units of its target: numeric slopes, and the inverse of the normal matrix of all states."""
    widest = 0.0
    for slot in range(own.slots):
        x = np.concatenate([[1.0], own.expected_watts[slot] / BASE_VA, own.expected_reactive[slot] / BASE_VA])
        steps = np.eye(len(x)) * 1e-6
        sides = [(outcome(own, x + step), outcome(own, x - step)) for step in steps]
        slopes = [np.stack([(up[k] - down[k]) / 2e-6 for up, down in sides], axis=1) for k in range(4)]
        at, rated = outcome(own, x), outcome(own, x)[4]
        weights = np.diag(1 / np.concatenate([[1.0], own.spread_watts / BASE_VA, own.spread_reactive / BASE_VA]) ** 2)
        for node in (0, *(own.devices[name] for name in devices)):
            least = LEAST_READING * (rated[node] if node else rated[1:].max())
            for k in range(3):
                sigma = own.class_fraction * (at[k][node] if k == 0 else max(abs(at[k][node]), least))
                weights = weights + np.outer(slopes[k][node], slopes[k][node]) / sigma**2
        spread = np.linalg.inv(weights)
        for k, target in ((0, targets.voltage_per_unit), (3, targets.loading_fraction)):
            deviation = np.sqrt(np.einsum("ij,jk,ik->i", slopes[k], spread, slopes[k]))
            widest = max(widest, 1.959964 * deviation.max() / target)
    return widest


@pytest.mark.parametrize("seed", range(3))
def test_how_sure_devices_make_the_state_is_what_the_normal_matrix_of_all_states_says(seed):
    own, targets = scene(seed), Targets(0.02, 0.05)
    placing = Placing(own, targets)
    for devices in ((), placing.names[:1], placing.names[1:4], placing.names):
        assert placing.error(devices) == pytest.approx(direct(own, devices, targets), rel=1e-4)


def brute_force(placing):
    """How many devices are needed, by looking at all sets; None where none is enough."""
    for count in range(len(placing.names) + 1):
        for each in itertools.combinations(placing.names, count):
            if placing.allowed(each) and placing.error(each) <= 1:
                return count
    return None


@pytest.mark.parametrize("minimum", [1, 2, 3])
def test_the_exact_search_finds_the_fewest_and_greed_never_fewer(minimum):
    reached = []
    for seed in range(12):
        own = scene(seed)
        everything, nothing = (Placing(own, Targets(1.0, 1.0)).error(each) for each in (own.devices, ()))
        targets = Targets(1.0, 0.6 * everything + 0.4 * nothing)
        exact, greedy = Placing(own, targets, minimum).exact(), Placing(own, targets, minimum).greedy()
        fewest = brute_force(Placing(own, targets, minimum))
        assert exact.reached is (fewest is not None)
        assert min(exact.fewest_homes, greedy.fewest_homes) >= minimum
        if exact.reached:
            assert len(exact.devices) == fewest
            assert not greedy.reached or len(greedy.devices) >= fewest
            reached.append((greedy.reached, len(greedy.devices) - len(exact.devices)))
    assert reached
    assert minimum > 1 or all(done for done, _ in reached)


def test_more_devices_never_make_the_state_less_sure_and_sums_never_larger():
    placing = Placing(scene(4), Targets())
    for order in itertools.permutations(placing.names, 3):
        errors = [placing.error(order[:count]) for count in range(4)]
        assert errors == sorted(errors, reverse=True)
        fewest = [placing.fewest_homes(order[:count]) for count in range(4)]
        assert fewest == sorted(fewest, reverse=True)


def test_devices_tell_the_sum_of_the_homes_between_them():
    """A line of nine homes, h1 to h9 downwards."""
    own = scene(1)
    feeder = replace(own.feeder, up=np.arange(-1, 9))
    own = replace(own, feeder=feeder, nodes=np.arange(1, 10), devices={"a": 3, "b": 7, "c": 8})
    placing = Placing(own, Targets(), 2)
    assert placing.cells([]) == {"head": tuple(range(9))}
    assert placing.cells(["a", "b"]) == {"a": (2, 3, 4, 5), "b": (6, 7, 8), "head": (0, 1)}
    assert placing.fewest_homes(["a", "b"]) == 2
    assert not placing.allowed(["b", "c"]), "home 6 alone is between them"
    assert placing.allowed(["a", "c"])


def test_a_device_above_one_home_tells_it_and_a_meter_at_the_head_hardly():
    own = scene(2)
    leaf = next(name for name, node in sorted(own.devices.items()) if node not in own.feeder.up)
    home = int(np.flatnonzero(own.nodes == own.devices[leaf])[0])
    placing = Placing(own, Targets())
    before, after = placing.told([])[home], placing.told([leaf])[home]
    assert after.assumed_watts == pytest.approx(own.spread_watts[home])
    assert after.left_watts < 0.1 * before.left_watts
    assert after.epsilon > 10 * before.epsilon
    sigma = math.sqrt(2) * own.sensitivity_watts / after.epsilon
    combined = 1 / math.sqrt(1 / after.assumed_watts**2 + 1 / sigma**2)
    assert combined == pytest.approx(after.left_watts), "as much as a reading with the noise of that epsilon"


def test_what_cannot_be_placed_is_refused():
    own = scene(3)
    for minimum in (0, 10):
        with pytest.raises(MarketError, match="minimum"):
            Placing(own, Targets(), minimum)
    with pytest.raises(MarketError, match="no device nowhere"):
        Placing(own, Targets()).error(["nowhere"])
    with pytest.raises(MarketError, match="too long"):
        Placing(own, Targets(1e-9, 1e-9)).exact(most=4)
    best = Placing(own, Targets(1e-9, 1e-9)).exact()
    assert (best.reached, len(best.devices)) == (False, 5), "the least error is that of all devices"
