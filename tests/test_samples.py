"""Every sample configuration is one that its role accepts."""

from __future__ import annotations

import re

import pytest
from support import ROOT

from configurator.config import ConfiguratorConfig
from consumer_node.config import ConsumerConfig
from hushgrid.errors import ConfigurationError
from hushgrid.shell.config import load
from meter_agent.config import MeterConfig
from ppn_node.config import PpnConfig
from privacy_gateway.config import GatewayConfig
from testbed.agents.ppn import LinkedPpnConfig

SAMPLES = ROOT / "deploy" / "samples"
#: The one that `hushgrid-meter` writes where there is none.
METER_SAMPLE = ROOT / "meter_agent" / "sample.toml"
ROLES = {"configurator": ConfiguratorConfig, "ppn": PpnConfig, "consumer": ConsumerConfig, "meter": MeterConfig}
#: It speaks to no broker.
GATEWAY = {"gateway": GatewayConfig}


def sample(role):
    return METER_SAMPLE if role == "meter" else SAMPLES / f"{role}.toml"


def test_there_is_a_sample_for_every_role_and_no_other():
    assert {path.stem for path in SAMPLES.glob("*.toml")} == set(ROLES | GATEWAY) - {"meter"}


@pytest.mark.parametrize("role", ROLES | GATEWAY)
def test_a_sample_loads(role):
    load((ROLES | GATEWAY)[role], sample(role))


@pytest.mark.parametrize("role", ROLES)
def test_a_sample_is_good_for_a_broker_with_doors_when_its_lines_for_that_are_put_in(tmp_path, role):
    text = sample(role).read_text()
    for line in ("ca_file = ", "[authority]", 'url = "tls://'):
        text = re.sub(rf"^# ({re.escape(line)})", r"\1", text, flags=re.MULTILINE)
    (tmp_path / "agent.toml").write_text(text)
    config = load(ROLES[role], tmp_path / "agent.toml")
    assert None not in (config.agent.token_file, config.broker.ca_file, config.authority.url)


def test_the_environment_overrides_the_file(monkeypatch):
    monkeypatch.setenv("HUSHGRID_BROKER__URL", "mqtt://elsewhere:1")
    monkeypatch.setenv("HUSHGRID_CONSUMER__RULES", '[{"name": "one", "cohort": ["a..b"], "window_rounds": 3}]')
    config = load(ConsumerConfig, SAMPLES / "consumer.toml")
    assert config.broker.url == "mqtt://elsewhere:1"
    assert [(rule.name, rule.cohort, rule.window_rounds) for rule in config.consumer.rules] == [("one", ("a..b",), 3)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("threshold = 3", "threshold = 9"), "threshold 9 exceeds width 4"),
        (("width = 4", 'width = "wide"'), "plan.width"),
        (("[plan]", "[plan]\nunknown = 1"), "plan.unknown"),
        (("[plan]", "[plan"), "configurator.toml"),
        (("threshold = 3", "threshold = 2"), "recovery none only"),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_field(tmp_path, change, said):
    path = tmp_path / "configurator.toml"
    path.write_text((SAMPLES / "configurator.toml").read_text().replace(*change))
    with pytest.raises(ConfigurationError) as refusal:
        load(ConfiguratorConfig, path)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("fraction", ["1", "0.0001"])
def test_bursts_that_cannot_be_played_are_one_line_that_names_the_section(tmp_path, fraction):
    path = tmp_path / "ppn.toml"
    bursts = f"\n[link.bursts]\nenter_fraction = {fraction}\nleave_fraction = {fraction}\n"
    path.write_text((SAMPLES / "ppn.toml").read_text() + bursts)
    with pytest.raises(ConfigurationError, match=r"link\.bursts: .*decides with probability") as refusal:
        load(LinkedPpnConfig, path)
    assert "\n" not in str(refusal.value)
