"""The rows of `hushgrid experiment theft-game`: what is found of each attack, what that is worth, how long a running test takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grid_operator.theft.attacks import Theft, reported
from grid_operator.theft.densities import Density
from grid_operator.theft.roc import RatioTest
from grid_operator.theft.sequential import played_delays, run_length
from grid_operator.theft.shape import ShapeTest
from grid_operator.theft.tilt import Tilt, tilted
from grid_operator.theft.utility import HomeAccount, SupplyPrice, best_effort, equal_thieves, profit

#: Slots a day of the tables: quarter hours.
DAY = 96
#: The example of the profit table: homes of which the thieves are some, a price for kWh, and what supply costs (kWh, and the peak's kWh).
HOMES, TARIFF, SUPPLY = 100, 0.30, SupplyPrice(0.10, 2.0)
FLOOR_DAYS = (1, 7, 30)
#: Runs by which the Markov chain is checked.
_PLAYED_RUNS = 2000
#: Slots: longer mean delays are not played.
_LONGEST_PLAYED = 20_000


@dataclass(frozen=True, slots=True)
class Market:
    """thieves: |O|; fine: F; cost_slope: psi'."""

    thieves: int
    fine: float
    cost_slope: float


@dataclass(frozen=True, slots=True)
class GameRow:
    """One attack. mu, kl_per_slot: of the tilt that steals as much; detection: of the likelihood-ratio test, shape_detection of the
    chi-square test, both at false_alarm; stolen_fraction: what the played windows really lack.
    """

    density: str
    attack: str
    theft_fraction: float
    slots: int
    mu: float
    kl_per_slot: float
    false_alarm: float
    detection: float
    shape_detection: float
    stolen_fraction: float


def game_rows(
    name: str,
    density: Density,
    attacks: Sequence[str],
    fractions: Sequence[float],
    slots: int,
    false_alarm: float,
    windows: int,
    seed: int,
) -> list[GameRow]:
    """Every attack and fraction on the same honest windows."""
    honest = density.sample(np.random.default_rng([seed, slots]), (windows, slots))
    shape = ShapeTest.of(density, slots, false_alarm, seed)
    found = []
    for fraction in fractions:
        theft = Theft(density, fraction, DAY)
        tilt = _tilt(density, slots, fraction)
        test = RatioTest(tilt, slots, seed=seed)
        threshold = test.threshold(false_alarm)
        for attack in attacks:
            said = reported(attack, theft, honest, np.random.default_rng([seed, slots, 1]))
            detection = (
                test.detection(false_alarm) if attack == "tilt" else threshold.alarms(test.statistic(said.sum(axis=1)))
            )
            stolen = (
                1 - float(said.mean()) / density.mean
                if attack in ("tilt", "flat")
                else 1 - float(said.sum() / honest.sum())
            )
            found.append(
                GameRow(
                    name,
                    attack,
                    fraction,
                    slots,
                    tilt.mu,
                    tilt.kl_per_slot,
                    false_alarm,
                    detection,
                    shape.alarms(said),
                    stolen,
                )
            )
    return found


def floors(name: str, density: Density, false_alarm: float, seed: int) -> list[dict[str, Any]]:
    """Below which fraction a thief who reports flat, and knows the test, is never caught."""
    found: list[dict[str, Any]] = []
    for days in FLOOR_DAYS:
        slots = days * DAY
        test = RatioTest(_tilt(density, slots, 0.1), slots, seed=seed)
        least = test.total_at(test.threshold(false_alarm).tau)
        found.append(
            {"density": name, "days": days, "slots": slots, "never_caught_below": 1 - least / (slots * density.mean)}
        )
    return found


def effort_rows(
    name: str, density: Density, fractions: Sequence[float], slots: int, market: Market, seed: int
) -> list[dict[str, Any]]:
    """The best false-alarm probability where all thieves steal the same fraction."""
    found: list[dict[str, Any]] = []
    for fraction in fractions:
        test = RatioTest(_tilt(density, slots, fraction), slots, seed=seed)
        best = equal_thieves(test, market.thieves, market.fine, market.cost_slope)
        steepest = float(np.exp(test.largest)) if test.largest < math.log(1e300) else None  # None: there is no bound
        found.append(
            {
                "density": name, "slots": slots, "theft_fraction": fraction, "tau": best.tau, "false_alarm": best.false_alarm,
                "detection": best.detections[0], "utility": best.utility, "corner": best.corner, "slope_at_zero": steepest,
            }
        )  # fmt: skip
    return found


def unequal_effort(
    density: Density, fractions: Sequence[float], slots: int, market: Market, seed: int
) -> list[dict[str, Any]]:
    """One thief for each fraction: the best e by search, with a linear psi and with a squared one."""
    tests = [(RatioTest(_tilt(density, slots, fraction), slots, seed=seed), market.fine) for fraction in fractions]
    slope = market.cost_slope * len(fractions) / market.thieves
    found: list[dict[str, Any]] = []
    for power in (1, 2):
        best = best_effort(tests, lambda e, power=power: slope * e**power)  # type: ignore[misc]
        found.append(
            {
                "cost": f"{slope:g} e" if power == 1 else f"{slope:g} e^{power}", "false_alarm": best.false_alarm,
                "detections": list(best.detections), "utility": best.utility, "corner": best.corner,
            }
        )  # fmt: skip
    return found


def sequential_rows(
    name: str, density: Density, fraction: float, limits: Sequence[float], seed: int
) -> list[dict[str, Any]]:
    """CUSUM by its Markov chain, as played, and beside limit / KL."""
    tilt = _tilt(density, 1, fraction)
    found: list[dict[str, Any]] = []
    for limit in limits:
        run = run_length(tilt, limit)
        rng = np.random.default_rng([seed, 3])
        short = run.delay_mean <= _LONGEST_PLAYED
        played = played_delays(tilt.stolen, tilt, limit, _PLAYED_RUNS, rng) if short else None
        found.append(
            {
                "density": name, "theft_fraction": fraction, "limit": limit, "delay_mean_slots": run.delay_mean,
                "delay_95_slots": run.delay_quantile, "false_alarm_mean_slots": run.false_alarm_mean,
                "limit_by_kl_slots": limit / tilt.kl_per_slot,
                "delay_played_slots": None if played is None else float(played.mean()),
            }
        )  # fmt: skip
    return found


def profit_rows(density: Density, fraction: float, slots: int, market: Market, seed: int) -> list[dict[str, Any]]:
    """Eqs. 1, 2 and 28 for a hundred homes: nobody steals; thieves and no test; thieves and the best test."""
    used = slots * density.mean
    load = density.sample(np.random.default_rng([seed, slots, 2]), (HOMES, slots)).sum(axis=0)
    supply = SUPPLY.cost(load)
    best = equal_thieves(
        RatioTest(_tilt(density, slots, fraction), slots, seed=seed), market.thieves, market.fine, market.cost_slope
    )
    honest = [HomeAccount(used)] * (HOMES - market.thieves)
    cases = {
        "nobody steals": ([HomeAccount(used)] * HOMES, 0.0),
        "theft, no test": ([*honest, *[HomeAccount(used, fraction * used)] * market.thieves], 0.0),
        "theft, best test": (
            [*honest, *[HomeAccount(used, fraction * used, best.detections[0], market.fine)] * market.thieves],
            market.cost_slope * best.false_alarm,
        ),
    }
    found: list[dict[str, Any]] = []
    for case, (accounts, effort) in cases.items():
        made = profit(accounts, lambda kilowatt_hours: TARIFF * kilowatt_hours, supply, effort)
        found.append(
            {
                "case": case, "tariffs": made.tariffs, "fines": made.fines, "supply": made.supply, "effort": made.effort,
                "profit": made.total,
            }
        )  # fmt: skip
    return found


def _tilt(density: Density, slots: int, fraction: float) -> Tilt:
    return tilted(density, slots, fraction * slots * density.mean)
