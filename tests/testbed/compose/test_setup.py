"""What docker-compose.yml's set-up writes, and what it leaves for the check to say."""

from __future__ import annotations

import os

import pytest

from hushgrid.errors import ConfigurationError
from hushgrid.shell.config import load
from hushgrid.shell.runtime import EXIT_CONFIGURATION
from meter_agent.config import MeterConfig
from testbed.agents.meter import LinkedMeterConfig
from testbed.compose import check, setup
from testbed.compose.slot import deployment_of
from testbed.places import BROKER, CONDUCTOR, METERS

VOLUMES = ("authority", BROKER, CONDUCTOR, "configurator", METERS, *(f"ppn-{n}" for n in range(1, 6)))
CONSUMERS = tuple(f"consumer-{n}" for n in range(1, 4))
SOUND = {"rounds": "8", "seed": "1", "loss": "0"}


@pytest.fixture
def volumes(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "BROKER_GROUP", os.getgid())
    for name in (*VOLUMES, *CONSUMERS):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "meters", "named"),
    [
        ({}, 12, "12 meters are fewer than the minimum of 15 contributors"),
        ({}, 0, "--meters must be at least 1"),
        ({"rounds": "many"}, 20, "--rounds many: expected a whole number"),
        ({"rounds": "0"}, 20, "--rounds must be at least 1"),
        ({"rounds": "10001"}, 20, "--rounds 10001 exceeds 10000"),
        ({"seed": "9223372036854775808"}, 20, "--seed 9223372036854775808 has more than 64 bits"),
        ({"seed": "1.5"}, 40, "--seed 1.5: expected a whole number"),
        ({"loss": "half"}, 20, "--loss half: expected a number"),
        ({"loss": "7"}, 20, "--loss 7.0 is outside 0 to 1"),
        ({"loss": "nan"}, 20, "--loss nan is outside 0 to 1"),
        ({"ppn_workers": "99"}, 20, "--ppn-workers 99"),
    ],
)
def test_the_check_says_what_set_up_refuses_beside_a_deployment_that_comes_up(
    volumes, changed, meters, named, monkeypatch, capsys
):
    said = setup.write_or_refuse(SOUND | changed, meters, volumes)
    assert said.startswith("refused: ")
    assert named in said
    assert deployment_of(volumes / METERS) is not None
    assert len([path for path in (volumes / METERS).iterdir() if path.is_dir()]) >= max(meters, 20)
    assert (volumes / BROKER / "mosquitto.conf").exists()
    assert (volumes / "ppn-5" / "ppn-5.toml").exists()
    monkeypatch.setattr("sys.argv", ["check", "--directory", str(volumes)])
    with pytest.raises(SystemExit) as ended:
        check.main()
    assert ended.value.code == EXIT_CONFIGURATION
    assert capsys.readouterr().err == said.replace("refused: ", "check: ") + "\n"


def test_what_can_be_played_is_read_back_by_the_check(volumes):
    said = setup.write_or_refuse({"rounds": "3", "seed": "7", "loss": "0.02"}, 16, volumes)
    assert said.startswith("16 households")
    parameters, truth, _, _ = check.read_deployment(volumes)
    assert (parameters.play.rounds, parameters.play.seed, parameters.link.loss, len(truth.meters)) == (3, 7, 0.02, 16)


@pytest.mark.parametrize("loss", ["0", "0.02"])
def test_meters_are_the_deployed_ones_unless_their_link_is_to_lose_something(volumes, loss):
    setup.write_or_refuse(SOUND | {"loss": loss}, 16, volumes)
    for folder in (path for path in (volumes / METERS).iterdir() if path.is_dir()):
        path = folder / f"{folder.name}.toml"
        assert load(LinkedMeterConfig, path).link.loss_fraction == float(loss)
        if loss == "0":
            load(MeterConfig, path)


def test_volumes_that_are_not_there_are_refused_as_such(tmp_path):
    with pytest.raises(ConfigurationError, match="no such directory"):
        setup.write_or_refuse(SOUND, 20, tmp_path / "absent")
