"""The lossy link over real processes: bursts, partitions, delays and changes while running come to what its function says."""

from __future__ import annotations

import pytest

from configurator.registry.registry import Registry
from hushgrid.conducted.loss import Bursts, Link, LinkPartition, LossModel
from hushgrid.errors import ConfigurationError
from hushgrid.wire.model import Mechanism
from testbed.choices.link_options import parse_stages
from testbed.choices.parameters import Parameters
from testbed.verdict.prediction import included, predicted_rules


@pytest.mark.system
def test_a_changing_link_comes_to_what_its_function_says(testbed):
    run = testbed(
        "--meters", "30", "--rounds", "8", "--consumers", "1", "--window", "1", "--seed", "4",
        "--link", "loss=0.02,twice=0.3,delay=0.2,late=0.1/0.3",
        "--link", "4:loss=0.05,bursts=0.05/0.4,part=ppn-2/m0003/2",
        "--link", "7:loss=0",
        "--kill", "fleet-1@5",
    )  # fmt: skip
    assert run.status == 0, run.err
    assert run.summary["wrong"] == run.summary["unrecovered"] == 0
    assert run.summary["missed_unexplained"] == run.summary["lost_yet_held"] == 0
    assert run.summary["shares_missed"] > 0
    first = run.aggregates[0]["first_round"]
    stages = (
        (first + 3, LossModel(4, 0.05, Bursts(0.05, 0.4), (LinkPartition("ppn-2", "m0003", first + 3, first + 5),))),
        (first + 6, LossModel(4, 0.0)),
    )
    link = Link(LossModel(4, 0.02)).changed(stages)
    rules = predicted_rules(run.directory / "configurator")
    served = {ppn for rule in rules for ppn in rule.ppns}
    for row in run.aggregates:
        expected = included(link, rules, row["first_round"], repair_attempts=5)
        assert row["included"] == len(expected)
        parted = first + 3 <= row["first_round"] < first + 5 and "ppn-2" in served
        assert ("m0003" in expected) or parted or row["included"] < 30
    assert any(row["included"] < 30 for row in run.aggregates)
    assert "the link changes from round 4" in run.err


@pytest.mark.system
def test_a_ppn_parted_from_everybody_for_a_while_serves_its_point_again(testbed):
    run = testbed(
        "--meters", "20", "--rounds", "8", "--consumers", "1", "--window", "1", "--width", "4", "--ppns", "4",
        "--round-seconds", "1.5",
        "--link", "3:part=ppn-2/configurator/2", "--link", "5:part=ppn-3/consumer-1/100",
    )  # fmt: skip
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"] == 8
    assert run.summary["wrong"] == 0
    registry = Registry(run.directory / "configurator" / "registry.sqlite")
    ppns = {ppn.point: ppn.id for ppn in registry.plans.heads()[0].ppns}
    registry.close()
    rows = sorted(run.aggregates, key=lambda row: row["first_round"])
    served = [{ppns[point] for point in row["points"]} for row in rows]
    # ppn-2 was back before anybody's patience was over; ppn-3 never reached the consumer again.
    assert all({"ppn-1", "ppn-2", "ppn-4"} <= found for found in served)
    assert len(served[0]) == 4
    assert not any("ppn-3" in found for found in served[-3:])


def test_options_become_stages():
    first, second = parse_stages(
        ["3:bursts=0.1/0.5/0.9,part=ppn-1/*/2,part=ppn-2/m1/1", "loss=0.1,delay=0.5,late=0.1/2,twice=0.3"], 100, 7
    )
    assert (first.from_round, second.from_round) == (100, 102)
    assert first.model == LossModel(7, 0.1, None, (), 0.5, 0.1, 2.0, 0.3)
    parted = (LinkPartition("ppn-1", "*", 102, 104), LinkPartition("ppn-2", "m1", 102, 103))
    assert second.model == LossModel(7, 0.0, Bursts(0.1, 0.5, 0.9), parted)


@pytest.mark.parametrize(
    "texts",
    [
        ["loss"],
        ["loss=2"],
        ["luck=1"],
        ["0:loss=1"],
        ["x:loss=1"],
        ["bursts=0.1/0"],
        ["bursts=1/1"],
        ["loss=0.1,loss=0.2"],
        ["part=ppn-1/m0001/0"],
        ["99:loss=0.1"],
        ["bursts=1e-9/1e-9"],
        ["part=a/b"],
        ["loss=1", "loss=0"],
    ],
)
def test_what_cannot_be_read_is_refused(texts):
    with pytest.raises(ConfigurationError, match="--link"):
        Parameters.of(links=tuple(texts)).check()


def test_the_first_round_has_one_loss():
    with pytest.raises(ConfigurationError, match="--loss and --link"):
        Parameters.of(links=("loss=0.1",), loss=0.1).check()


@pytest.mark.parametrize(
    ("partition", "said"),
    [
        ("ppn-77/m0001", "ppn-77 is no meter, PPN or consumer"),
        ("ppn-1/m9999", "m9999 is no meter, PPN or consumer"),
        ("consumer-9/ppn-1", "consumer-9 is no meter, PPN or consumer"),
        ("fleet-1/ppn-1", "fleet-1 is no meter, PPN or consumer"),
        ("m0001/consumer-1", "carries nothing between them"),
        ("m0001/configurator", "carries nothing between them"),
        ("ppn-1/ppn-2", "carries nothing between them"),
    ],
)
def test_a_partition_that_parts_nobody_is_refused_before_anything_is_started(testbed, partition, said):
    run = testbed("--meters", "20", "--rounds", "2", "--link", f"part={partition}/2", seconds=500)
    assert run.status == 2
    (line,) = run.err.strip().splitlines()
    assert f"--link part={partition}: " in line
    assert said in line


def test_a_partition_of_parties_of_the_run_is_taken():
    meters, consumers = ["m0001", "m0002"], ["consumer-1"]
    for parted in ("*/*", "ppn-1/*", "m0002/ppn-5", "ppn-2/configurator", "consumer-1/ppn-3"):
        Parameters.of(links=(f"part={parted}/2",)).check_parties(meters, consumers)
    masked = Parameters.of(links=("part=m0001/consumer-1/2",), mechanism=Mechanism.PAIRWISE)
    masked.check_parties(meters, consumers)
    with pytest.raises(ConfigurationError, match="ppn-1 is no"):
        Parameters.of(links=("part=m0001/ppn-1/2",), mechanism=Mechanism.PAIRWISE).check_parties(meters, consumers)
