"""The main job: real processes, real broker, every released sum equal to the truth."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from configurator.registry.registry import Registry
from hushgrid.conducted.loss import LossModel
from hushgrid.core.schedule import round_at
from testbed.verdict.prediction import PredictedRule, included, predicted_rules, shares_lost, unrecovered

Run = Callable[..., object]


def sent_to(rules: list[PredictedRule]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for rule in rules:
        for meter in rule.cohort:
            found.setdefault(meter, set()).update(rule.ppns)
    return {meter: sorted(ppns) for meter, ppns in found.items()}


def test_constructed_households_give_exact_sums_in_separate_processes(testbed):
    run = testbed("--meters", "40", "--rounds", "6")
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"] == 6 + 3 + 6
    assert run.summary["wrong"] == 0
    roles = [process["role"] for process in run.report["processes"]]
    assert {"broker", "configurator", "ppn", "consumer", "meter"} == set(roles)
    assert len({process["pid"] for process in run.report["processes"]}) == len(roles)
    assert not [process for process in run.report["processes"] if psutil.pid_exists(process["pid"])]
    assert all(row["watt_hours"] == row["truth_watt_hours"] for row in run.aggregates)
    assert "constructed" in run.err


@pytest.mark.system
def test_real_gaps_are_named_and_left_out(testbed, shared_data):
    file = shared_data / "lcl2013_40h_4w_wide.csv.gz"
    run = testbed("--meters", "40", "--rounds", "48", "--data", str(file), "--start", "2013-04-01T00:00Z")
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"] == 120
    rounds = {round_at(time_, 1800) for time_ in (1364844600, 1364846400)}  # 2013-04-01 19:30Z and 20:00Z
    for row in run.aggregates:
        gaps = len(rounds & set(range(row["first_round"], row["last_round"] + 1)))
        assert row["included"] == row["expected"] - gaps
    text = " ".join(run.out.split())
    assert "MAC003021 had no reading at 2013-04-01 19:30Z, 2013-04-01 20:00Z" in text


@pytest.mark.parametrize(
    "seed", [1, pytest.param(2, marks=pytest.mark.system), pytest.param(3, marks=pytest.mark.system)]
)
def test_without_recovery_exactly_the_predicted_windows_fail(testbed, seed):
    run = testbed("--meters", "20", "--rounds", "12", "--loss", "0.02", "--recovery", "none", "--seed", str(seed))
    assert run.status == 0, run.err
    rules = predicted_rules(run.directory / "configurator")
    first = min(row["first_round"] for row in run.aggregates)
    model = LossModel(seed, 0.02)
    expected = unrecovered(model, rules, 3, first, first + 11)
    failed = {(row["rule"], row["first_round"]) for row in run.aggregates if row["status"] == "unrecovered"}
    assert failed == expected
    assert run.summary["shares_lost"] == shares_lost(model, sent_to(rules), range(first, first + 12))
    assert run.summary["wrong"] == 0
    assert expected, "the seed loses nothing that matters: the test would show nothing"


@pytest.mark.system
def test_agreement_gives_every_window_the_predicted_coverage(testbed):
    run = testbed("--meters", "40", "--rounds", "12", "--loss", "0.02", "--recovery", "agree", "--seed", "5")
    assert run.status == 0, run.err
    rules = {rule.name: rule for rule in predicted_rules(run.directory / "configurator")}
    model = LossModel(5, 0.02)
    assert run.summary["shares_lost"] > 0
    assert run.summary["unrecovered"] == run.summary["wrong"] == 0
    for row in run.aggregates:
        cohort = rules[row["rule"]].cohort
        counts = [
            len(included(model, list(rules.values()), r) & cohort)
            for r in range(row["first_round"], row["last_round"] + 1)
        ]
        assert row["included"] == sum(counts)
        sound = min(counts) >= 15 and sum(counts) >= 0.8 * len(cohort) * len(counts)
        assert row["status"] == ("released" if sound else "withheld")


@pytest.mark.system
def test_every_role_can_be_killed_in_mid_run(testbed):
    kills = ["ppn-2@3", "configurator@5", "consumer-1@6", "fleet-1@8", "ppn-4@9"]
    options = [option for kill in kills for option in ("--kill", kill)]
    run = testbed("--meters", "40", "--rounds", "12", *options)
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"] == 30
    for kill in kills:
        assert f"{kill.partition('@')[0]}: kill -9" in run.err


@pytest.mark.system
def test_keys_of_ended_epochs_are_erased_and_sums_stay_exact(testbed):
    run = testbed("--meters", "20", "--rounds", "12", "--epoch-rounds", "4", "--window", "1,2,3", "--kill", "ppn-3@5")
    assert run.status == 0, run.err
    assert run.summary["released"] == run.summary["windows"] == 22
    for agent in ("ppn-1", "ppn-3", "fleet-1"):
        keys = sqlite3.connect(run.directory / agent / "keys.sqlite")
        epochs = {epoch for (epoch,) in keys.execute("SELECT epoch FROM agreement")}
        keys.close()
        assert 0 not in epochs
        assert epochs
    registry = Registry(run.directory / "configurator" / "registry.sqlite")
    heads = registry.plans.heads()
    registry.close()
    by_epoch = {head.epoch: {ppn.id: ppn.key.pseudonym for ppn in head.ppns} for head in heads}
    assert len({by_epoch[epoch]["ppn-1"] for epoch in by_epoch}) == len(by_epoch) >= 3


@pytest.mark.system
def test_one_process_per_meter(testbed):
    run = testbed("--meters", "20", "--process-per-meter", "--rounds", "4")
    assert run.status == 0, run.err
    assert sum(process["role"] == "meter" for process in run.report["processes"]) == 20
    assert run.summary["released"] == run.summary["windows"]


@pytest.mark.system
def test_the_embedded_broker_serves_a_hundred_meters(testbed):
    run = testbed("--meters", "100", "--broker", "embedded", "--rounds", "4")
    assert run.status == 0, run.err
    assert "for demonstrations" in run.report["broker"]
    assert run.summary["released"] == run.summary["windows"]


@pytest.mark.system
@pytest.mark.timeout(900)
def test_a_thousand_meters_of_real_readings(testbed, shared_data):
    file = shared_data / "lcl2013_300h_year.parquet"
    run = testbed(
        "--meters", "1000", "--ppns", "5", "--consumers", "4", "--rounds", "24", "--data", str(file), seconds=800
    )
    assert run.status == 0, run.err
    assert run.summary["wrong"] == run.summary["unrecovered"] == 0
    assert run.summary["released"] == run.summary["windows"] == 70


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.system), signal.SIGTERM, signal.SIGKILL]
)
def test_nothing_outlives_the_testbed_however_it_ends(tmp_path, number):
    command = [
        sys.executable,
        "-m",
        "testbed.command",
        "testbed",
        "--meters",
        "20",
        "--rounds",
        "400",
        "--keep",
        str(tmp_path / "run"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "round 2 of" in line:
            break
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 10
    process.send_signal(number)
    process.wait(timeout=500)
    process.stderr.close()
    deadline = time.monotonic() + 200
    alive = children
    while alive and time.monotonic() < deadline:
        _, alive = psutil.wait_procs(alive, timeout=0.5)
    assert not alive
    assert process.returncode in (130, -signal.SIGKILL)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--threshold", "5"], "--threshold 5 exceeds --width 4"),
        (["--width", "6"], "--width 6 exceeds --ppns 5"),
        (["--threshold", "2"], "not above half"),
        (["--meters", "14"], "fewer than the minimum of 15"),
        (["--data", "/nonexistent.csv"], "/nonexistent.csv"),
        (["--modulus", "1000003"], "too small for 100 meters"),
        (["--modulus", "1000004"], "not prime"),
        (["--broker", "mqtt://127.0.0.1:1", "--meters", "15"], "no broker answers at mqtt://127.0.0.1:1"),
        (["--broker", "http://x"], "expected mqtt://"),
        (["--loss", "1.5"], "outside 0 to 1"),
        (["--start", "yesterday"], "not a time"),
        (["--kill", "ppn-1"], "AGENT@ROUND"),
        (["--pause", "ppn-1@4"], "AGENT@FROM-TO"),
        (["--pause", "ppn-1@4-2"], "rounds are counted from 1 to 8"),
        (["--pause", "broker@1-2"], "the rounds themselves go through it"),
        (["--cut", "ppn-1@1-2"], "--cut needs --runtime docker"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(testbed, options, said):
    run = testbed(*options, seconds=500)
    assert run.status == 2
    assert said in run.err
    assert "Traceback" not in run.err
    assert not run.report


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("start_utc,a,b\n2013-03-11T00:00:00Z,1\n", "line 2"),
        ("meter,when,wh\na,2013-03-11T00:00:00Z,1\n", "start_utc"),
        ("meter,start_utc,wh\na,2013-03-11T00:00:00Z,warm\n", "line 2"),
    ],
)
def test_a_bad_file_is_named_with_its_line(testbed, tmp_path, content, said):
    file = tmp_path / "readings.csv"
    file.write_text(content)
    run = testbed("--data", str(file), seconds=500)
    assert run.status == 2
    assert str(file) in run.err
    assert said in run.err
    assert "Traceback" not in run.err


def test_a_port_in_use_is_said(testbed):
    import socket  # noqa: PLC0415

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = testbed("--meters", "15", "--port", str(port), seconds=500)
    assert run.status == 2
    assert f"port {port} is in use" in run.err


@pytest.mark.system
def test_a_running_meter_stays_small_and_without_numpy(tmp_path):
    command = [
        sys.executable, "-m", "testbed.command", "testbed", "--meters", "15", "--process-per-meter", "--rounds", "400",
        "--consumers", "1", "--keep", str(tmp_path / "run"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "round 20 of" in line:
                break
        meters = [c for c in psutil.Process(process.pid).children() if "meter_agent" in c.cmdline()]
        assert len(meters) == 15
        largest = max(meter.memory_info().rss for meter in meters) / 2**20
        assert largest < 52, f"{largest:.1f} MiB"
        for meter in meters[:3]:
            loaded = Path(f"/proc/{meter.pid}/maps").read_text()
            assert "numpy" not in loaded
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=500)
        process.stderr.close()
