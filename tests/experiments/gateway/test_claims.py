"""The paper's figures on differential privacy: golden values, and closed forms of continuous laws beside them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from click.testing import CliRunner
from scipy import optimize, stats

from experiments.command import experiment
from experiments.gateway.claims import NoiseSetting, first_gaussian, homes_needed, paper_claims, stream_row
from privacy_gateway.ledger.price import MICRO, FailureDelta

SETTING = NoiseSetting(5000, MICRO, FailureDelta.of(Fraction(1, 10**6)))


def test_homes_for_one_percent_and_for_a_tenth():
    found = homes_needed(SETTING, (1, 0.1), (1.2, 0.7))
    assert [row.homes for row in found] == [1249, 2140, 12_483, 21_399]
    continuous = 5 * math.log(20)  # 95 % of a Laplace law of scale 5
    assert found[0].noise_kwh == pytest.approx(continuous, abs=0.002)
    assert [row.homes for row in found] == [
        pytest.approx(continuous / (share * use), abs=1.5) for share in (0.01, 0.001) for use in (1.2, 0.7)
    ]


GOLDEN = [
    (1, 5, 7.07, 26.75),
    (24, 120, 169.7, 131.05),
    (8760, 43_800, 61_942.6, 2503.7),
]


@pytest.mark.parametrize(("totals", "scale", "deviation", "gaussian"), GOLDEN)
def test_streams(totals, scale, deviation, gaussian):
    row = stream_row(SETTING, totals)
    assert row.laplace_scale == scale
    assert row.laplace_deviation == pytest.approx(deviation, rel=1e-3)
    assert row.laplace_deviation == pytest.approx(math.sqrt(2) * scale, rel=1e-6)
    assert row.gaussian_deviation == pytest.approx(gaussian, rel=1e-3)
    log = math.log(1e6)
    rho = optimize.brentq(lambda rho: rho + 2 * math.sqrt(rho * log) - 1, 0, 1, xtol=1e-15)
    assert row.gaussian_deviation == pytest.approx(5 * math.sqrt(totals / (2 * rho)), rel=1e-6)
    assert row.gaussian_95 == pytest.approx(stats.norm.ppf(0.975) * row.gaussian_deviation, rel=1e-4)


def test_from_thirteen_totals_on_the_gaussian_is_narrower():
    assert first_gaussian(SETTING) == 13
    for totals in range(1, 30):
        row = stream_row(SETTING, totals)
        assert (row.gaussian_95 <= row.laplace_95) is (totals >= 13)


def test_what_the_paper_says():
    claims = {claim.paper: claim for claim in paper_claims(SETTING.delta)}
    about = claims["its standard deviation is about 10 kWh"]
    assert (about.computed, about.holds) == ("14.14 kWh", "no: sqrt 2 times 10")
    assert claims["totals are typically within +-10 kWh"].computed.startswith("63.2 % are; 95 % within +-29.96 kWh")
    assert claims["24 hours at epsilon 0.5 add up to 12"].computed == "12 by adding; 15.88 as zCDP at delta 1e-06"
    assert 1 - math.exp(-1) == pytest.approx(0.632, abs=5e-4)
    assert 3 + 2 * math.sqrt(3 * math.log(1e6)) == pytest.approx(15.88, abs=5e-3)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--bound", "0.00025"), "--bound"),
        (("--bound", "1.00025"), "--bound 1.00025 has more than 3 decimal places"),
        (("--epsilon", "0.0010000001"), "has more than 6 decimal places"),
        (("--delta", "0"), "--delta"),
        (("--use", "0"), "--use"),
        (("--totals", "2000000"), "more than 1,000,000"),
        (("--totals", "1.5"), "--totals"),
        (("--epsilon", "nan"), "--epsilon"),
    ],
)
def test_what_cannot_be_computed_is_one_line(option, said, tmp_path):
    done = CliRunner().invoke(experiment, ["gateway-figures", *option, "--out", str(tmp_path / "out")])
    assert (done.exit_code, "Traceback" in done.output) == (2, False)
    assert said in done.output
    assert not (tmp_path / "out").exists()
