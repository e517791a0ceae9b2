"""The village and its year, where the real data is; small feeders that are made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.home_readings import Gaps, read_all
from grid_operator.network.feeder import Feeder, feeder_of
from grid_operator.network.files import read_network
from grid_operator.network.model import GridLine, GridLoad, GridNode, GridTransformer, Network


@pytest.fixture(scope="session")
def village(shared_data: Path) -> Network:
    """The Kerber village of 57 homes."""
    return read_network(shared_data / "grid_kerber_village57.json")


@pytest.fixture(scope="session")
def year(shared_data: Path, village: Network) -> np.ndarray:
    """(17520, 57) Wh per half hour of the village's homes in 2013; a gap is the home's mean: constructed where nothing was read."""
    meters = [load.meter for load in village.loads]
    return read_all(shared_data / "lcl2013_300h_year.parquet").of(meters).filled(Gaps.MEAN).watt_hours


@pytest.fixture(scope="session")
def random_feeder() -> Callable[..., tuple[Network, Feeder]]:
    """Makes random trees of lines below a transformer, seeded; one load a node."""

    def make(seed: int, nodes: int = 12, turns: float = 1.02) -> tuple[Network, Feeder]:
        rng = np.random.default_rng(seed)
        named = [GridNode("feed", 10.0), *(GridNode(f"n{at}", 0.4) for at in range(nodes))]
        lines = tuple(
            GridLine(
                f"l{at}", f"n{rng.integers(max(0, at - 4), at)}", f"n{at}", *rng.uniform(0.002, 0.02, 2), 300.0, 270.0
            )
            for at in range(1, nodes)
        )
        transformer = GridTransformer("t", "feed", "n0", 400.0, 10.0 * turns, 0.4, 4.0, 1.3, 0.9, 0.6)
        loads = tuple(GridLoad(f"h{at}", f"n{at}", meter=f"m{at}") for at in range(1, nodes))
        network = Network("made up", tuple(named), lines, (transformer,), "feed", loads, 1.01)
        return network, feeder_of(network)

    return make
