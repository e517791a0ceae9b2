"""Only a testbed's PPN has a link that can be cut; a deployed one refuses to be given any."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import ROOT

from hushgrid.conducted.loss import LossModel
from hushgrid.core.schedule import Pace
from hushgrid.errors import ConfigurationError
from hushgrid.shell.config import load
from ppn_node.config import PpnConfig
from ppn_node.link import PERFECT, Reach
from testbed.agents.ppn import LinkedPpnConfig

SAMPLE = ROOT / "deploy" / "samples" / "ppn.toml"


@pytest.fixture
def with_link(tmp_path):
    path = tmp_path / "ppn.toml"
    parted = '{one = "ppn-1", other = "configurator", first_round = 3, until_round = 5}'
    path.write_text(SAMPLE.read_text() + f"\n[link]\nloss_fraction = 0.1\nseed = 4\npartitions = [{parted}]\n")
    return path


def test_a_deployed_ppn_says_that_it_knows_no_link(with_link):
    with pytest.raises(ConfigurationError, match=r"ppn\.toml: link: there is no such section or field"):
        load(PpnConfig, with_link)


def test_hushgrid_ppn_ends_with_that_word(with_link):
    done = subprocess.run(
        [sys.executable, "-m", "ppn_node", "--config", str(with_link)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "link: there is no such section or field" in done.stderr


def test_a_testbeds_ppn_reads_its_link_and_needs_none(with_link):
    model = load(LinkedPpnConfig, with_link).link.model
    assert (model.loss_fraction, model.seed) == (0.1, 4)
    assert load(LinkedPpnConfig, SAMPLE).link.model == LossModel()


def test_a_cut_party_is_out_of_reach_in_the_rounds_of_the_cut_only(with_link):
    model = load(LinkedPpnConfig, with_link).link.model
    found = []
    for metered in (2, 3, 4, 5):
        reach = Reach(model, "ppn-1", lambda metered=metered: Pace(metered, metered - 1))
        found.append((reach("configurator"), reach("consumer-1")))
    assert found == [(True, True), (False, True), (False, True), (True, True)]
    assert Reach(model, "ppn-1", lambda: None)("configurator")  # no round is metered yet
    assert Reach(PERFECT, "ppn-1", lambda: Pace(3, 2))("configurator")
