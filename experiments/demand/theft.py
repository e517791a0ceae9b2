"""Theft and demand response together: what under-reporting does to the peak, and the paper's unified profit (eqs. 1, 2, 28)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.demand.detection import FeederWatch, Watched
from experiments.demand.feeder_rows import FeederStage
from grid_operator.arrays import Floats
from grid_operator.demand.feeder import Controlled, Released, control
from grid_operator.demand.filtering import Sampling


@dataclass(frozen=True, slots=True)
class Money:
    """Model money. tariff: of a kWh billed. rate, peak_rate: r of a kWh and p of a kW of the highest flow (eq. 28).

    fine_factor: F(q_u) is so many times the tariff of what was stolen. effort: psi of a false alarm for certain, linear (eq. 26).
    ValueError for a negative price.
    """

    tariff: float = 0.25
    rate: float = 0.10
    peak_rate: float = 20.0
    fine_factor: float = 2.0
    effort: float = 5000.0

    def __post_init__(self) -> None:
        if min(self.tariff, self.rate, self.peak_rate, self.fine_factor, self.effort) < 0:
            raise ValueError("a price cannot be negative")

    def cost_of_supply(self, flow_kw: Floats, hours: float) -> float:
        """C = r sum Y + p max Y (eq. 28), mean over runs. flow_kw: (rounds, runs), all that flows, billed or not."""
        return self.rate * float(flow_kw.sum(axis=0).mean()) * hours + self.peak_rate * float(
            flow_kw.max(axis=0).mean()
        )

    def profit(self, flow_kw: Floats, hours: float, stolen: Floats, rho: float, false_alarm: float) -> float:
        """R - C - psi (eqs. 1 and 2): tariffs of what is reported, fines of what is found, supply of all that flows, effort.

        stolen: of each round's flow, the part that is not reported, (rounds,).
        """
        energy, taken = (float(flow.sum(axis=0).mean()) * hours for flow in (flow_kw, stolen[:, None] * flow_kw))
        revenue = self.tariff * (energy - taken) + rho * self.fine_factor * self.tariff * taken
        return revenue - self.cost_of_supply(flow_kw, hours) - self.effort * false_alarm


@dataclass(frozen=True, slots=True)
class PeakRow:
    """The peak at one stolen share, N = 1. uncontrolled: nobody acts; device: one device at the feeder sees all that flows."""

    stolen_fraction: float
    uncontrolled_kw: float
    undetected_kw: float
    detected_kw: float
    device_kw: float
    alarm_fraction: float
    delay_rounds: float | None


@dataclass(frozen=True, slots=True)
class ProfitRow:
    """Model money at one interval and stolen share: nobody acts; control; control and detection. auc: the attacker's proxy scores."""

    interval: int
    stolen_fraction: float
    alarm_fraction: float
    peak_kw: float
    cost_of_supply: float
    profit_alone: float
    profit_controlled: float
    profit_detected: float
    own_auc: float
    feeder_auc: float


@dataclass(frozen=True, slots=True)
class _Played:
    stolen: Floats
    undetected: Controlled
    detected: Controlled
    watched: Watched


def peak_rows(stage: FeederStage, stolen: Sequence[float], begun: int, balance: FeederWatch) -> list[PeakRow]:
    """The peak against the stolen share, points of every round. begun: the round in which theft begins; balance: of every round."""
    device = control(stage.feeder, Released(), stage.cap, np.random.default_rng(stage.seed)).peak_kw
    highest = float(stage.feeder.demand_kw[1:].max())
    found = []
    for share in stolen:
        both = _played(stage, share, begun, 1, balance)
        delay = both.watched.mean_delay_rounds(begun)
        found.append(
            PeakRow(
                share,
                highest,
                both.undetected.peak_kw,
                both.detected.peak_kw,
                device,
                both.watched.alarm_fraction,
                delay,
            )
        )
    return found


def profit_rows(
    stage: FeederStage,
    stolen: Sequence[float],
    begun: int,
    balances: Mapping[int, FeederWatch],
    money: Money,
    false_alarm: float,
    scores: Sequence[tuple[float, float]],
) -> list[ProfitRow]:
    """Theft, demand response and N in one table. balances: of each N; scores: the proxy scores of each, from own windows and all homes'."""
    hours = 24 / stage.rounds_per_day
    alone = stage.feeder.demand_kw[1:, None]
    found = []
    for (interval, balance), (own, total) in zip(balances.items(), scores, strict=True):
        for share in stolen:
            both = _played(stage, share, begun, interval, balance)
            rho = both.watched.alarm_fraction
            flow, taken = both.detected.flow_kw, both.stolen[1:]
            found.append(
                ProfitRow(
                    interval, share, rho, both.detected.peak_kw, money.cost_of_supply(flow, hours),
                    money.profit(alone, hours, taken, 0.0, 0.0), money.profit(both.undetected.flow_kw, hours, taken, 0.0, 0.0),
                    money.profit(flow, hours, taken, rho, false_alarm), own, total,
                )
            )  # fmt: skip
    return found


def _played(stage: FeederStage, share: float, begun: int, interval: int, balance: FeederWatch) -> _Played:
    """The feeder with that share stolen from a round on, without and with what its balance finds added again."""
    feeder, released = stage.feeder, Released(Sampling.SUM if interval > 1 else Sampling.POINT, interval)
    demand = feeder.demand_kw
    stolen = np.where(np.arange(len(demand)) >= begun, share, 0.0)
    rng = np.random.default_rng(stage.seed)
    undetected = control(feeder, released, stage.cap, rng, 1, 1 - stolen)
    watched = balance.watch(stolen, stage.runs)
    mended = (1 - stolen)[:, None] / (1 - watched.found)
    return _Played(stolen, undetected, control(feeder, released, stage.cap, rng, stage.runs, mended), watched)
