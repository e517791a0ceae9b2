"""What is assumed of homes that are not read."""

from __future__ import annotations

import numpy as np
import pytest

from grid_operator.estimation.errors import EstimationError
from grid_operator.estimation.pseudo import assumed, class_shape

DAYS, SLOTS = 28, 4
SLOT = np.tile(np.arange(SLOTS), DAYS)
WEEKEND = np.repeat(np.arange(DAYS) % 7 >= 5, SLOTS)


def test_a_class_has_the_mean_of_its_homes_and_their_spread():
    rng = np.random.default_rng(2)
    means = rng.uniform(100, 900, 400)
    true = np.where(WEEKEND, 1.5, 0.8) * (1 + 0.2 * SLOT)
    power = means * (true[:, None] + rng.normal(0, 0.3, (len(SLOT), 400)))
    power[3, 5] = np.nan  # a gap is no zero
    shape = class_shape(power, means, SLOT, WEEKEND, SLOTS)
    assert shape.mean[0] == pytest.approx(0.8 * (1 + 0.2 * np.arange(SLOTS)), abs=0.02)
    assert shape.mean[1] == pytest.approx(1.5 * (1 + 0.2 * np.arange(SLOTS)), abs=0.02)
    assert shape.spread == pytest.approx(np.full((2, SLOTS), 0.3), rel=0.05)
    values, sigmas = assumed(shape, [200.0, 400.0], [0, 3], [False, True])
    assert values == pytest.approx(np.outer([0.8, 2.4], [200, 400]), rel=0.03)
    assert sigmas == pytest.approx(np.outer([0.3, 0.3], [200, 400]), rel=0.1)


def test_what_says_nothing_is_refused():
    power = np.ones((len(SLOT), 3)) * [1.0, 2.0, 3.0]
    with pytest.raises(EstimationError, match="the sample says nothing of slot 0 on weekends"):
        class_shape(power[:8], np.ones(3), SLOT[:8], WEEKEND[:8], SLOTS)
    with pytest.raises(EstimationError, match="home 1 of the sample: a year's mean of 0, not above 0"):
        class_shape(power, [1.0, 0.0, 1.0], SLOT, WEEKEND, SLOTS)
    shape = class_shape(power, np.ones(3), SLOT, WEEKEND, SLOTS)
    with pytest.raises(EstimationError, match="home 0: a year's mean of nan"):
        assumed(shape, [np.nan], [0], [False])
