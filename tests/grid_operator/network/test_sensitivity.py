"""Derivatives of the power flow, against differences of it."""

from __future__ import annotations

import numpy as np
import pytest

from grid_operator.network.feeder import BASE_VA
from grid_operator.network.power_flow import power_flow
from grid_operator.network.sensitivity import LoadOrder, sensitivity


@pytest.mark.parametrize("seed", range(6))
def test_derivatives_are_what_small_steps_show(random_feeder, seed: int):
    _, feeder = random_feeder(seed)
    rng = np.random.default_rng(seed)
    loads = rng.choice(np.arange(1, len(feeder)), 9)  # some nodes twice, some none
    p, q = rng.uniform(-3_000, 9_000, (2, 9)), rng.uniform(-1_000, 2_000, (2, 9))
    slack = np.array([1.01, 0.98])

    def solved(p, q, squared):
        return power_flow(
            feeder, feeder.at_nodes(loads, p), feeder.at_nodes(loads, q), slack_voltage_per_unit=np.sqrt(squared)
        )

    found = sensitivity(solved(p, q, slack**2), LoadOrder(feeder, loads), range(len(feeder)))
    step = 1e-4
    for column in range(1 + 2 * 9):
        moved = []
        for sign in (1, -1):
            near = [p.copy(), q.copy(), slack**2]
            if column == 0:
                near[2] = near[2] + sign * step
            else:
                near[(column - 1) // 9][:, (column - 1) % 9] += sign * step * BASE_VA
            moved.append(solved(*near))
        up, down = moved
        slack_p = (up.slack_watts - down.slack_watts) / BASE_VA / (2 * step)
        slack_q = (up.slack_vars - down.slack_vars) / BASE_VA / (2 * step)
        assert np.abs(found.flow_p[:, 0, column] - slack_p).max() < 2e-6
        assert np.abs(found.flow_q[:, 0, column] - slack_q).max() < 2e-6
        for ours, theirs in (
            (found.squared_voltage, (up.squared_voltage - down.squared_voltage) / (2 * step)),
            (found.flow_p, (up.branch_watts - down.branch_watts) / BASE_VA / (2 * step)),
            (found.flow_q, (up.branch_vars - down.branch_vars) / BASE_VA / (2 * step)),
            (found.squared_current, (up.squared_current - down.squared_current) / (2 * step)),
        ):
            assert np.abs(ours[:, 1:, column] - theirs[:, 1:]).max() < 2e-6


def test_a_part_of_the_nodes_has_the_derivatives_that_all_have(random_feeder):
    _, feeder = random_feeder(4)
    loads = np.arange(2, len(feeder))
    flow = power_flow(feeder, np.full((3, len(feeder)), 1_500.0))
    order = LoadOrder(feeder, loads)
    whole, part = sensitivity(flow, order, range(len(feeder))), sensitivity(flow, order, [7, 0, 3])
    for name in ("squared_voltage", "flow_p", "flow_q", "squared_current"):
        assert np.array_equal(getattr(whole, name)[:, [7, 0, 3]], getattr(part, name))
