"""Random feeders on which the paper's greedy is compared with an exact search. Constructed: nobody's grid, nobody's load."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from experiments.grid.homes import TANGENT
from experiments.grid.offers import COUNTED, FEWEST, SENSITIVITY_WATTS, THRESHOLD
from grid_operator.market.campaign import Campaign, Offer, Shop
from grid_operator.market.privacy import Attitude, nodes_factor
from grid_operator.market.scene import Scene
from grid_operator.market.search import Found, Search
from grid_operator.market.state_error import BoughtMode, StateError, Targets
from grid_operator.network.feeder import feeder_of
from grid_operator.network.model import GridLine, GridLoad, GridNode, Network
from hushgrid.errors import ConfigurationError

NODES, SLOTS, DEVICES = 10, 2, 5
#: Offers: every epsilon at what so many homes accept it for.
EPSILONS, ACCEPTANCES = (2.0, 5.0, 10.0), (0.5, 0.9)
#: A home's attitude: small money, since a campaign here lasts two slots.
HOME = Attitude(loss_aversion=60.0, risk_aversion=0.5, steepness=0.1, hesitation=10.0)
_MOST_SCENES, _WORTH_FRACTION = 200, 0.9


@dataclass(frozen=True, slots=True)
class Distance:
    """Of one feeder. Costs in money. purchases: of the exact campaign, an offer being one. error_mean,
    error_quantile_95: of its state, in units of the target. evaluated: campaigns looked at.
    """

    feeder: int
    purchases: int
    exact_cost: float
    printed_cost: float
    printed_reached: bool
    mended_cost: float
    error_mean: float
    error_quantile_95: float
    evaluated: int

    @property
    def printed_ratio(self) -> float:
        """How much dearer the paper's is."""
        return self.printed_cost / self.exact_cost

    @property
    def mended_ratio(self) -> float:
        """How much dearer the mended one is."""
        return self.mended_cost / self.exact_cost


def scene_of(rng: np.random.Generator) -> Scene:
    """A tree of lines with a home at each node; loads are a Gamma's, and expected to within 3 kW."""
    names = [f"n{at}" for at in range(NODES)]
    ohms = rng.uniform(0.01, 0.08, size=(NODES, 2))
    above = [rng.integers(max(0, at - 3), at) for at in range(1, NODES)]
    lines = tuple(
        GridLine(f"l{at}", names[upper], names[at], ohms[at, 0], ohms[at, 1], capacitance_nf=30.0, rated_amperes=200.0)
        for at, upper in enumerate(above, start=1)
    )
    homes = NODES - 1
    loads = tuple(GridLoad(f"h{at}", names[at]) for at in range(1, NODES))
    network = Network("constructed", tuple(GridNode(name, 0.4) for name in names), lines, (), names[0], loads)
    feeder = feeder_of(network)
    nodes = np.array([feeder.node(name) for name in names[1:]])
    expected = rng.gamma(2.0, 5_000.0, size=(SLOTS, homes))
    spread = rng.uniform(2_000.0, 6_000.0, size=homes)
    watts = expected + spread * rng.normal(size=(SLOTS, homes))
    places = rng.choice(np.arange(1, NODES), DEVICES, replace=False)
    t = TANGENT
    return Scene(
        feeder, nodes, watts, t * watts, expected, t * expected, spread, t * spread,
        {f"device-{place}": feeder.node(names[place]) for place in sorted(places)},
        SENSITIVITY_WATTS, t * SENSITIVITY_WATTS, groups=(tuple(range(homes // 2)), tuple(range(homes // 2, homes))),
        nodes_factor=nodes_factor(COUNTED, FEWEST, THRESHOLD),
    )  # fmt: skip


def shop_of(scene: Scene, device_cost: float, home: Attitude = HOME) -> Shop:
    """Every device of the scene, and each epsilon at what so many homes accept it for."""
    prices = {(eps, round(home.compensation(eps, share), 2)) for eps in EPSILONS for share in ACCEPTANCES}
    offers = tuple(Offer(eps, price) for eps, price in sorted(prices) if price >= 0)
    return Shop(tuple(sorted(scene.devices)), offers, (home,) * scene.homes, device_cost)


@dataclass(frozen=True, slots=True)
class BuyingQuestion:
    """A feeder, what there is to buy, and a target that no single purchase reaches and several together do."""

    shop: Shop
    error: StateError
    target: float

    def valuing(self, home: Attitude) -> BuyingQuestion:
        """The same feeder, chances and target, with homes that value privacy so."""
        return BuyingQuestion(
            shop_of(self.error.scene, self.shop.device_cost, home), self.error.among(home), self.target
        )

    def search(self) -> Search:
        """A new one, without a limit to its budget."""
        return Search(self.shop, self.error, target=self.target, budget=math.inf)


def question(feeder: int, *, mode: BoughtMode, seed: int, draws: int, home: Attitude = HOME) -> BuyingQuestion:
    """Random scenes until one has such a target; ConfigurationError where none of many has."""
    rng = np.random.default_rng([seed, feeder])
    for _ in range(_MOST_SCENES):
        scene = scene_of(rng)
        shop = shop_of(scene, float(rng.uniform(1_000, 3_000)), home)
        error = StateError(scene, [home] * scene.homes, Targets(), mode, draws=draws, seed=int(rng.integers(2**31)))
        single = [Campaign(frozenset({device})) for device in shop.devices]
        single += [Campaign(offer=offer) for offer in shop.offers]
        best, least = min(map(error, single)), error(Campaign(frozenset(shop.devices), shop.offers[-1]))
        if least < _WORTH_FRACTION * best:
            return BuyingQuestion(shop, error, float(rng.uniform(least, least + 0.5 * (best - least))))
    raise ConfigurationError(
        f"no feeder of {_MOST_SCENES} needs two purchases in mode {mode.value}: ask for fewer draws or another mode"
    )


def measure(feeder: int, *, mode: BoughtMode, seed: int, draws: int) -> Distance:
    """One feeder, by all three searches."""
    asked = question(feeder, mode=mode, seed=seed, draws=draws)
    search = asked.search()
    exact, printed, mended = search.exact(), search.printed(), search.mended()
    judged = asked.error.judge(exact.campaign)
    return Distance(
        feeder, _purchases(exact), exact.cost, printed.cost, printed.reached, mended.cost,
        judged.mean / asked.target, judged.quantile_95 / asked.target, search.evaluated,
    )  # fmt: skip


def _purchases(found: Found) -> int:
    return len(found.campaign.devices) + (found.campaign.offer is not None)
