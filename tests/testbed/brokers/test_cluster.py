"""The same agents on a cluster of three NATS nodes, whose nodes are killed while rounds run: no window lost, none wrong."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.system, pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def _nats(needs_engine):
    needs_engine("nats-cluster")


def all_exact(run, windows):
    assert run.status == 0, run.err
    assert run.report["broker"] == "NATS cluster of 3 nodes"
    assert run.summary["released"] == run.summary["windows"] == windows
    assert run.summary["wrong"] == run.summary["unrecovered"] == run.summary["withheld"] == 0


def test_every_node_is_killed_in_its_turn_and_no_reading_is_missing(testbed):
    kills = ["broker-1@2", "broker-2@30", "broker-3@60"]  # far enough apart for a node to catch up
    options = [option for kill in kills for option in ("--kill", kill)]
    run = testbed("--broker", "nats-cluster", "--meters", "40", "--rounds", "80", *options, seconds=600)
    all_exact(run, 80 + 40 + 80)
    assert all(row["included"] == row["expected"] for row in run.aggregates)
    for kill in kills:
        node = kill.partition("@")[0]
        assert f"{node} ended with status -9 and is started again" in run.err


def test_a_node_that_stays_away_costs_nothing_and_its_agents_go_to_the_others(testbed):
    run = testbed(
        "--broker", "nats-cluster", "--meters", "40", "--rounds", "6", "--stop", "broker-2@2", seconds=600
    )  # fmt: skip
    all_exact(run, 6 + 3 + 6)
    moved = [
        log.name
        for log in (run.directory / "log").glob("*.log")
        if len({part.split()[0] for part in log.read_text().split(" is connected to ")[1:]}) > 1
    ]
    assert moved, "no agent was connected to the node that was killed"


def test_rounds_of_fixed_length_with_loss_and_repair_lose_no_window(testbed):
    # A round is longer than a subscription may stay mute until it is made anew (docs/brokers.md).
    options = ["--round-seconds", "45", "--loss", "0.05", "--recovery", "repair", "--kill", "broker-1@2"]
    run = testbed("--broker", "nats-cluster", "--meters", "40", "--rounds", "4", *options, seconds=600)
    all_exact(run, 4 + 2 + 4)
    assert run.summary["shares_lost"] > 0
