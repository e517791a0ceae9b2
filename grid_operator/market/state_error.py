"""How well a campaign lets an operator see its feeder: J of paper 000 (eqs. 8 to 13), by Monte Carlo over acceptance and noise.

The same random numbers serve every campaign: who accepts at which price, the noise of each reading, the errors of each device. So two
campaigns differ by what they buy and by nothing else. The estimate is weighted least squares. All that is known of single homes,
bought or expected, is a diagonal prior, and what devices and groups say comes on top (the same normal equations, solved in the
small dimension):

    x <- x0 + P H' (H P H' + R)^-1 (z - h(x) + H (x - x0)),   H at x
"""

from __future__ import annotations

import copy
import enum
from dataclasses import dataclass

import numpy as np

from grid_operator import noise
from grid_operator.arrays import Floats
from grid_operator.market.campaign import Campaign, Offer
from grid_operator.market.errors import MarketError
from grid_operator.market.privacy import Attitude, laplace_scale, printed_noise
from grid_operator.market.scene import LEAST_READING, Scene
from grid_operator.network.feeder import BASE_VA
from grid_operator.network.power_flow import PowerFlow, power_flow
from grid_operator.network.sensitivity import LoadOrder, sensitivity

#: Of Gauss-Newton; slopes are taken anew in the first ones, and change next to nothing after them.
_ITERATIONS, _WITH_NEW_SLOPES = 4, 3


class BoughtMode(enum.StrEnum):
    """What an accepted offer gives the operator."""

    INDIVIDUAL = "individual"  # each home's reading, with Laplace noise by its meter
    GROUP = "group"  # sums of groups over the homes that accept, with noise by nodes
    EXACT_GROUP = "exact-group"  # the same sums without noise
    PAPER = "paper"  # eq. 4 as printed: unsafe, for reproduction only


_OF_GROUPS = frozenset({BoughtMode.GROUP, BoughtMode.EXACT_GROUP})


@dataclass(frozen=True, slots=True)
class Targets:
    """delta_max of the voltages (per unit) and of the flows (fraction of a branch's rated power)."""

    voltage_per_unit: float = 0.02
    loading_fraction: float = 0.02

    def __post_init__(self) -> None:
        if not (self.voltage_per_unit > 0 and self.loading_fraction > 0):
            raise MarketError("targets are to be above 0")


@dataclass(frozen=True, slots=True)
class Judged:
    """Of one campaign. Arrays (draws,), each the largest over all slots and nodes."""

    voltage_per_unit: Floats
    loading_fraction: Floats
    accepted: Floats
    targets: Targets

    @property
    def relative(self) -> Floats:
        """The infinity norm of each draw, in units of the targets (eq. 12.b): 1 is just good enough."""
        return np.maximum(
            self.voltage_per_unit / self.targets.voltage_per_unit, self.loading_fraction / self.targets.loading_fraction
        )

    @property
    def mean(self) -> float:
        """What a search minimises."""
        return float(self.relative.mean())

    @property
    def quantile_95(self) -> float:
        """What one draw in twenty exceeds."""
        return float(np.quantile(self.relative, 0.95))


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of g groups: values, variance (d, s, 2g), and members (d, g, n), 1 where a home is in a sum."""

    values: Floats
    variance: Floats
    members: Floats


@dataclass(frozen=True, slots=True)
class _Bought:
    """What a campaign brought in, of d draws, s slots, n homes. Arrays of p and q lie behind each other: 2n."""

    prior: Floats
    variance: Floats
    sums: _Sums | None


class StateError:
    """The state error of campaigns over one scene. homes: how each values privacy, known to the home only.

    draws: how many times chance is played. MarketError when homes and scene differ, or fewer than one draw is asked for.
    """

    def __init__(
        self, scene: Scene, homes: list[Attitude], targets: Targets, mode: BoughtMode, *, draws: int, seed: int
    ) -> None:
        if len(homes) != scene.homes or draws < 1:
            raise MarketError(f"{len(homes)} homes for a scene of {scene.homes}, and {draws} draws")
        self.scene, self.homes, self.targets, self.mode, self.draws = scene, homes, targets, mode, draws
        rng = np.random.default_rng(seed)
        shape = (draws, scene.slots)
        self._willing = rng.uniform(size=(draws, scene.homes))
        self._noise = rng.laplace(size=(*shape, 2 * scene.homes))  # of scale 1
        self._meter = rng.normal(size=(*shape, 2 * scene.homes))
        self._group_noise = noise.draw(1.0, scene.nodes_factor, (*shape, 2 * len(scene.groups)), rng)
        names = sorted(scene.devices)
        self._device_noise = dict(zip(names, rng.normal(size=(len(names), *shape, 3)), strict=True))
        self._slack_noise = rng.normal(size=(*shape, 3))
        self._truth = self._flow(scene.watts, scene.reactive, np.full(scene.slots, self._slack_squared()))
        self._expected = np.concatenate([scene.expected_watts, scene.expected_reactive], axis=1)
        self._spread = np.concatenate([scene.spread_watts, scene.spread_reactive])
        self._judged: dict[tuple[frozenset[str], float | None, bytes], Judged] = {}
        self._order = LoadOrder(scene.feeder, scene.nodes)
        self._device_nodes = [scene.devices[name] for name in names]
        self._rows_of = {node: range(3 * at, 3 * at + 3) for at, node in enumerate([0, *self._device_nodes])}
        self._beginnings: dict[bytes, tuple[Floats, PowerFlow, Floats]] = {}

    def __call__(self, campaign: Campaign) -> float:
        """For `search.Search`, whose target is then 1."""
        return self.judge(campaign).mean

    def among(self, home: Attitude) -> StateError:
        """The same scene and the same chances, with homes that all value privacy so; what is worked out serves both."""
        other = copy.copy(self)
        other.homes = [home] * self.scene.homes
        return other

    def judge(self, campaign: Campaign) -> Judged:
        """All draws of one campaign. What was paid makes no difference, but by who accepts it: each case is worked out once."""
        accepted = self._accepted(campaign.offer)
        epsilon = None if campaign.offer is None else campaign.offer.epsilon
        case = (campaign.devices, epsilon, accepted.tobytes())
        if case not in self._judged:
            self._judged[case] = self._compare(campaign, accepted)
        return self._judged[case]

    def _compare(self, campaign: Campaign, accepted: Floats) -> Judged:
        """The estimate of every draw with the truth."""
        found = self._estimate(campaign, self._bought(campaign.offer, accepted))
        truth, scene = self._truth, self.scene
        shape = (self.draws, scene.slots, len(scene.feeder))
        voltage = np.abs(found.voltage_per_unit.reshape(shape) - truth.voltage_per_unit)
        missed = np.hypot(
            found.branch_watts.reshape(shape) - truth.branch_watts, found.branch_vars.reshape(shape) - truth.branch_vars
        )
        loading = missed[:, :, 1:] / self._rated_va()[1:]
        return Judged(voltage.max(axis=(1, 2)), loading.max(axis=(1, 2)), accepted.sum(axis=1), self.targets)

    # What is bought

    def _accepted(self, offer: Offer | None) -> Floats:
        """(draws, homes), 1 where a home accepts."""
        if offer is None:
            return np.zeros_like(self._willing)
        acceptance = np.array([home.acceptance(offer.epsilon, offer.compensation) for home in self.homes])
        return (self._willing < acceptance).astype(np.float64)

    def _bought(self, offer: Offer | None, accepted: Floats) -> _Bought:
        scene = self.scene
        exact = np.concatenate([scene.watts, scene.reactive], axis=1)
        shape = (self.draws, *exact.shape)
        prior, variance = np.broadcast_to(self._expected, shape), np.broadcast_to(self._spread**2, shape)
        if offer is not None and self.mode in (BoughtMode.INDIVIDUAL, BoughtMode.PAPER):
            both = np.concatenate([accepted, accepted], axis=1)[:, None, :] > 0
            scale = self._scales(offer)
            reading = exact + scale * self._noise + scene.meter_watts * self._meter
            # A noisy reading does not replace what was expected: each counts by its precision, so none makes the picture worse.
            precision = np.where(both, 1 / (2 * scale**2 + scene.meter_watts**2), 0.0)
            total = 1 / variance + precision
            prior, variance = (prior / variance + reading * precision) / total, 1 / total
        elif offer is not None and self.mode in _OF_GROUPS and scene.groups and accepted.any():
            return _Bought(prior, variance, self._sums(offer, exact, accepted))
        return _Bought(prior, variance, None)

    def _scales(self, offer: Offer) -> Floats:
        """Of the noise of single readings: (slots, 2 homes), or what broadcasts to it."""
        scene = self.scene
        if self.mode is BoughtMode.PAPER:
            printed = [printed_noise(each, offer.epsilon).scales for each in (scene.watts, scene.reactive)]
            return np.repeat(np.stack(printed, axis=1), scene.homes, axis=1)
        scales = [laplace_scale(each, offer.epsilon) for each in (scene.sensitivity_watts, scene.sensitivity_reactive)]
        return np.repeat(scales, scene.homes)

    def _sums(self, offer: Offer, exact: Floats, accepted: Floats) -> _Sums:
        """Of every group, over the homes that accept."""
        scene, groups = self.scene, len(self.scene.groups)
        members = np.zeros((self.draws, groups, scene.homes))
        for at, group in enumerate(scene.groups):
            members[:, at, group] = accepted[:, group]
        by_group = members.transpose(0, 2, 1)
        reading = exact + scene.meter_watts * self._meter
        values = np.concatenate(
            [reading[:, :, : scene.homes] @ by_group, reading[:, :, scene.homes :] @ by_group], axis=2
        )
        variance = np.tile(members.sum(axis=2) * scene.meter_watts**2, 2)[:, None, :]
        if self.mode is BoughtMode.GROUP:
            both = (scene.sensitivity_watts, scene.sensitivity_reactive)
            scale = np.repeat([laplace_scale(each, offer.epsilon) for each in both], groups)
            values = values + scale * self._group_noise
            variance = variance + noise.variance(1.0, scene.nodes_factor) * scale**2
        return _Sums(values, np.broadcast_to(variance, values.shape), members)

    # What is estimated of it

    def _estimate(self, campaign: Campaign, bought: _Bought) -> PowerFlow:
        """The state of every draw and slot, (draws x slots) rows."""
        scene = self.scene
        homes, slots = 2 * scene.homes, self.draws * scene.slots
        nodes = [0, *(scene.devices[name] for name in sorted(campaign.devices))]
        errors = [self._slack_noise, *(self._device_noise[name] for name in sorted(campaign.devices))]
        measured = [self._measured(node, each) for node, each in zip(nodes, errors, strict=True)]
        z = np.concatenate([each[0].reshape(slots, 3) for each in measured], axis=1)
        r = np.concatenate(
            [np.broadcast_to(each[1], (self.draws, scene.slots, 3)).reshape(slots, 3) for each in measured], axis=1
        )
        sums, groups = bought.sums, None
        if sums is not None:
            groups = self._group_rows(sums.members)
            z = np.concatenate([z, sums.values.reshape(slots, -1)], axis=1)
            r = np.concatenate([r, sums.variance.reshape(slots, -1)], axis=1)
            used = np.abs(groups).sum(axis=2) > 0
            r[:, -groups.shape[1] :][~used] = 1.0  # a group in which nobody accepts says nothing: 0 = 0
        x0, first_flow, first_slopes = self._begun(bought.prior.reshape(slots, homes))
        places = [each for node in nodes for each in self._rows_of[node]]
        p = np.concatenate([np.full((slots, 1), 1.0), bought.variance.reshape(slots, homes)], axis=1)
        x = x0
        for step in range(_ITERATIONS):
            flow = self._flow(x[:, 1 : 1 + scene.homes], x[:, 1 + scene.homes :], x[:, 0]) if step else first_flow
            predicted = np.concatenate([self._seen(flow, node) for node in nodes], axis=1)
            if groups is not None:
                predicted = np.concatenate([predicted, np.einsum("sgn,sn->sg", groups, x)], axis=1)
            if step < _WITH_NEW_SLOPES:
                slopes = self._slopes(flow, nodes) if step else first_slopes[:, places]
                h = slopes if groups is None else np.concatenate([slopes, groups], axis=1)
                hp = h * p[:, None, :]
                spread = hp @ h.transpose(0, 2, 1) + r[:, :, None] * np.eye(r.shape[1])
                gain = np.linalg.solve(spread, hp).transpose(0, 2, 1)
            missing = z - predicted + np.einsum("smn,sn->sm", h, x - x0)
            x = x0 + np.einsum("snm,sm->sn", gain, missing)
        return self._flow(x[:, 1 : 1 + scene.homes], x[:, 1 + scene.homes :], x[:, 0])

    def _begun(self, prior: Floats) -> tuple[Floats, PowerFlow, Floats]:
        """The state before anything is measured, its flow, and the slopes there of the slack and of all devices, in their order.

        No device changes them: they are worked out once for all campaigns that bring in the same of homes.
        """
        key = prior.tobytes()
        if key not in self._beginnings:
            x0 = np.concatenate([np.full((len(prior), 1), self._slack_squared()), prior], axis=1)
            flow = self._flow(prior[:, : self.scene.homes], prior[:, self.scene.homes :], x0[:, 0])
            self._beginnings[key] = (x0, flow, self._slopes(flow, [0, *self._device_nodes]))
        return self._beginnings[key]

    def _group_rows(self, members: Floats) -> Floats:
        """(draws x slots, 2 groups, 1 + 2 homes): ones for the homes that are in a sum."""
        scene, groups = self.scene, len(self.scene.groups)
        rows = np.zeros((self.draws, 2 * groups, 1 + 2 * scene.homes))
        rows[:, :groups, 1 : 1 + scene.homes] = rows[:, groups:, 1 + scene.homes :] = members
        return np.repeat(rows, scene.slots, axis=0)

    def _measured(self, node: int, error: Floats) -> tuple[Floats, Floats]:
        """What a device says, (draws, slots, 3), and the variances of its errors, (slots, 3)."""
        exact = self._seen(self._truth, node)
        scene = self.scene
        rated = self._rated_va()[node] if node else self._rated_va()[1:].max()
        least = np.array([0.0, LEAST_READING * rated, LEAST_READING * rated])
        sigma = scene.class_fraction * np.maximum(np.abs(exact), least)
        return exact + sigma * error, sigma**2

    def _seen(self, flow: PowerFlow, node: int) -> Floats:
        """u, P and Q of a device at a node, (slots, 3); at the slack what the feeder takes."""
        if node == 0:
            return np.stack([flow.voltage_per_unit[:, 0], flow.slack_watts, flow.slack_vars], axis=1)
        return np.stack([flow.voltage_per_unit[:, node], flow.branch_watts[:, node], flow.branch_vars[:, node]], axis=1)

    def _slopes(self, flow: PowerFlow, nodes: list[int]) -> Floats:
        """Of what devices see by U_0 and every home's p and q, (slots, 3 devices, 1 + 2 homes)."""
        by = sensitivity(flow, self._order, nodes)
        slots, states = len(flow.squared_voltage), 1 + 2 * self.scene.homes
        voltage = by.squared_voltage / (2 * flow.voltage_per_unit[:, nodes, None])
        found = np.stack([voltage, by.flow_p * BASE_VA, by.flow_q * BASE_VA], axis=2).reshape(
            slots, 3 * len(nodes), states
        )
        found[:, :, 1:] /= BASE_VA  # by W and var
        return found

    def _flow(self, watts: Floats, reactive: Floats, slack_squared: Floats) -> PowerFlow:
        feeder, nodes = self.scene.feeder, self.scene.nodes
        return power_flow(
            feeder,
            feeder.at_nodes(nodes, watts),
            feeder.at_nodes(nodes, reactive),
            slack_voltage_per_unit=np.sqrt(slack_squared),
        )

    def _slack_squared(self) -> float:
        return self.scene.feeder.slack_voltage_per_unit**2

    def _rated_va(self) -> Floats:
        """(n,), of the branch above each node; at the slack: none."""
        feeder = self.scene.feeder
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(feeder.rated_amperes / feeder.base_amperes * BASE_VA)
