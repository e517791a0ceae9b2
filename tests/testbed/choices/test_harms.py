"""Everything that is to be done to somebody is checked before anything is started: one line for each that cannot be."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from hushgrid.errors import ConfigurationError
from hushgrid.wire.model import Mechanism
from testbed import command
from testbed.brokers import engines
from testbed.choices.harms import idle_liars, lies_come_to
from testbed.choices.layout import LateRequest
from testbed.choices.parameters import Parameters
from testbed.households import constructed_truth
from testbed.run.play import play

NOBODY = "there is no such agent"
ROUNDS = "rounds are counted from 1 to 8"


def refused(**options) -> list[str]:
    """What is refused of a run of eight rounds, line by line; none when it can be played."""
    parameters = Parameters.of(**({"meters": 60, "consumers": 2} | options))
    truth = constructed_truth(parameters.grid.meters, parameters.play.rounds)
    try:
        parameters.check_harms(truth.meters, parameters.wishes(truth.meters))
    except ConfigurationError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize(
    ("agent", "options", "why"),
    [
        ("ppn-9", {}, NOBODY),
        ("consumer-3", {}, NOBODY),
        ("fleet-3", {}, NOBODY),
        ("m0061", {}, NOBODY),
        ("conductor", {}, NOBODY),
        ("port-mapper", {"broker": "rabbitmq"}, NOBODY),
        ("m0031", {}, "fleet-2 carries this meter: kill that, or play with --process-per-meter"),
        ("fleet-1", {"process_per_meter": True}, NOBODY),
        ("ppn-1", {"mechanism": Mechanism.PAIRWISE}, NOBODY),
        ("consumer-2", {"mechanism": Mechanism.PAIRWISE}, NOBODY),
        ("authority", {}, "there is none without --secure"),
        ("broker", {}, "it is not started again, and the run ends with it: --broker nats-cluster or --runtime docker"),
        ("broker", {"secure": True}, "it is not started again, and the run ends with it: --broker nats-cluster or --runtime docker"),
        ("broker", {"broker": "nats-cluster"}, "this one has nodes: broker-1, broker-2, broker-3"),
        ("broker", {"broker": "mqtt://b:1883"}, "the broker at mqtt://b:1883 is not the testbed's own"),
        ("broker-4", {"broker": "nats-cluster"}, NOBODY),
        ("broker-1", {}, NOBODY),
    ],
)  # fmt: skip
def test_who_is_not_there_or_would_not_come_back_is_not_killed(agent, options, why):
    assert refused(kills=((agent, 2),), **options) == [f"--kill {agent}@2: {why}"]


@pytest.mark.parametrize(
    ("agent", "options"),
    [
        ("configurator", {}),
        ("ppn-5", {}),
        ("consumer-2", {}),
        ("fleet-2", {}),
        ("m0060", {"process_per_meter": True}),
        ("authority", {"secure": True}),
        ("authority", {"secure": True, "runtime": "docker"}),
        ("broker", {"runtime": "docker"}),
        ("broker-3", {"broker": "nats-cluster"}),
    ],
)
def test_everybody_who_comes_back_can_be_killed(agent, options):
    assert not refused(kills=((agent, 1), (agent, 8)), **options)


@pytest.mark.parametrize("at", [0, 9, 99])
def test_a_round_before_or_beyond_the_run_is_refused_for_every_harm(at):
    requests = (LateRequest("consumer-1", at, "asked-1", "all", 4), LateRequest("consumer-2", at, "sum-2"))
    found = refused(
        runtime="docker", kills=(("ppn-1", at),), stops=(("ppn-2", at),), pauses=(("ppn-3", at, 9),), cuts=(("broker", at, 9),),
        requests=requests,
    )  # fmt: skip
    assert found == [
        f"--kill ppn-1@{at}: {ROUNDS}",
        f"--stop ppn-2@{at}: {ROUNDS}",
        f"--pause ppn-3@{at}-9: {ROUNDS}, and the first comes before the last",
        f"--cut broker@{at}-9: {ROUNDS}, and the first comes before the last",
        f"--ask consumer-1@{at}=all/4: {ROUNDS}",
        f"--withdraw consumer-2@{at}=sum-2: {ROUNDS}",
    ]


def test_each_fault_has_a_line_of_its_own():
    found = refused(
        kills=(("ppn-9", 2), ("broker", 13), ("ppn-1", 3), ("ppn-1", 3)), stops=(("ppn-8", 1),), liars=("ppn-7", "ppn-2:nobody"),
        requests=(LateRequest("consumer-9", 2, "sum-9"),),
    )  # fmt: skip
    assert [line.partition(": ")[0] for line in found] == [
        "--kill ppn-9@2", "--kill broker@13", "--kill broker@13", "--stop ppn-8", "--liar ppn-7", "--liar ppn-2:nobody",
        "--kill ppn-1@3 and --kill ppn-1@3 overlap", "--withdraw consumer-9@2=sum-9",
    ]  # fmt: skip


def test_ppns_that_are_not_started_can_be_neither_stopped_nor_paused_nor_liars():
    harms = {"stops": (("ppn-2", 2),), "pauses": (("ppn-3", 2, 3),), "liars": ("ppn-4",)}
    assert len(refused(mechanism=Mechanism.PAIRWISE, **harms)) == 3
    assert not refused(**harms)


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([("consumer-2", 5, "sum-9")], "--withdraw consumer-2@5=sum-9: consumer-2 has no such rule then"),
        ([("consumer-2", 5, "sum-1")], "--withdraw consumer-2@5=sum-1: consumer-2 has no such rule then"),
        ([("consumer-2", 4, "asked-1", "all"), ("consumer-2", 3, "asked-1")], "consumer-2 has no such rule then"),
        (
            [("consumer-2", 3, "sum-2"), ("consumer-2", 5, "sum-2")],
            "--withdraw consumer-2@5=sum-2: it is given up twice",
        ),
        (
            [("consumer-2", 3, "asked-1", "1..30", 2), ("consumer-2", 5, "asked-2", "1..30", 2)],
            "--ask consumer-2@5=1..30/2: it is asked for twice",
        ),
        ([("consumer-1", 3, "asked-1", "all", 0)], "--ask consumer-1@3=all/0: a window has 1 to 65535 rounds"),
        ([("consumer-1", 3, "asked-1", "all", 65536)], "a window has 1 to 65535 rounds"),
        ([("consumer-1", 3, "asked-1", "9..3")], "the range m0009..m0003 runs backwards"),
        ([("consumer-1", 3, "asked-1", "1..61")], "no position or range from 1 to 60"),
    ],
)
def test_what_cannot_be_asked_for_or_given_up_is_said(requests, said):
    (line,) = refused(requests=tuple(LateRequest(*request) for request in requests))
    assert line.endswith(said)


def test_a_rule_that_is_asked_for_can_be_given_up_in_the_same_round():
    asked = LateRequest("consumer-2", 3, "asked-1", "all", 4)
    assert not refused(requests=(asked, LateRequest("consumer-2", 3, "asked-1"), LateRequest("consumer-2", 8, "sum-2")))


def test_the_command_says_everything_with_status_2_and_writes_and_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "play", lambda *_: pytest.fail("something was started"))
    monkeypatch.setattr(command.tempfile, "mkdtemp", lambda **_: pytest.fail("a directory was made"))
    options = ["--kill", "ppn-9@2", "--kill", "ppn-1@99", "--kill", "broker@13", "--withdraw", "consumer-1@2=sum-7"]
    for kept in ([], ["--keep", str(tmp_path / "run")]):
        done = CliRunner().invoke(command.main, ["testbed", *options, *kept, "--json", str(tmp_path / "out.json")])
        assert done.exit_code == 2
        lines = done.output.splitlines()
        assert len(lines) == 5
        assert all(line.startswith("hushgrid: --") for line in lines)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["ppn-1@²", "ppn-1@-1", "ppn-1@" + "9" * 5000, "ppn-1@", "@2"])
def test_a_round_that_is_no_number_is_refused(text):
    done = CliRunner().invoke(command.main, ["testbed", "--kill", text])
    assert done.exit_code == 2
    assert "is not AGENT@ROUND" in done.output


async def test_who_plays_without_the_command_is_held_to_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(engines.Engine, "nodes", lambda *_: pytest.fail("a broker was started"))
    parameters = Parameters.of(meters=20, kills=(("m9999", 2),))
    truth = constructed_truth(20, 8)
    with pytest.raises(ConfigurationError, match=f"--kill m9999@2: {NOBODY}"):
        await play(parameters, truth, parameters.wishes(truth.meters), tmp_path)
    assert not list(tmp_path.iterdir())


CORRECTED, NOTICED, MAY_BE_WRONG = "are corrected", "are noticed, and no sum is given", "sums may be wrong"


@pytest.mark.parametrize(
    ("liars", "threshold", "width", "said", "wider"),
    [
        (1, 3, 3, MAY_BE_WRONG, 6),
        (1, 3, 4, NOTICED, 6),
        (1, 3, 5, NOTICED, 6),
        (1, 3, 6, CORRECTED, None),
        (2, 3, 4, MAY_BE_WRONG, 8),
        (2, 3, 5, NOTICED, 8),
        (2, 5, 8, NOTICED, 10),
        (1, 5, 8, CORRECTED, None),
        (3, 3, 7, NOTICED, 10),
        (3, 3, 10, CORRECTED, None),
    ],
)
def test_what_lies_come_to_follows_from_threshold_and_width(liars, threshold, width, said, wider):
    (line,) = lies_come_to({f"ppn-{number}": None for number in range(liars)}, threshold, width)
    assert said in line
    assert (f"--width {wider} on" in line) == (wider is not None)


def test_liars_to_different_consumers_do_not_add_up():
    assert not lies_come_to({}, 3, 4)
    (line,) = lies_come_to({"ppn-1": "consumer-1", "ppn-2": "consumer-2", "ppn-3": None}, 3, 8)
    assert line.startswith("2 liars among 8 PPNs")


def test_a_liar_that_serves_nobody_it_lies_to_is_idle():
    serving = {("ppn-1", "consumer-1"), ("ppn-2", "consumer-2")}
    lies = {"ppn-1": None, "ppn-2": "consumer-1", "ppn-3": None}
    assert idle_liars(lies, serving) == ["ppn-2", "ppn-3"]
