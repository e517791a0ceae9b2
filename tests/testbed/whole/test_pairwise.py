"""Masked readings over real processes and a real broker: the command, as a person runs it."""

from __future__ import annotations

import sqlite3

import pytest

SMALL = ("--mechanism", "pairwise", "--meters", "18", "--rounds", "8", "--period", "4")


def test_bills_and_columns_are_exact_and_the_double_entry_balances(testbed):
    done = testbed(*SMALL)
    assert done.status == 0, done.err
    assert len(done.aggregates) == 8
    for row in done.aggregates:
        assert (row["status"], row["included"], row["expected"]) == ("released", 18, 18)
        assert row["watt_hours"] == row["truth_watt_hours"]
    bills = done.report["bills"]
    assert {(bill["meter"], bill["period"]) for bill in bills} == {
        (f"m{meter:04}", period) for meter in range(1, 19) for period in (0, 1)
    }
    assert all(bill["watt_hours"] == bill["truth_watt_hours"] for bill in bills)
    assert sum(bill["watt_hours"] for bill in bills) == sum(row["watt_hours"] for row in done.aggregates)
    assert done.summary["double_entries"] == 2
    assert not [child for child in done.report["processes"] if child["role"] == "ppn"]
    # The masked readings are erased once their period is billed.
    with sqlite3.connect(done.directory / "consumer-1" / "billing.sqlite") as store:
        assert store.execute("SELECT count(*) FROM masked").fetchone() == (0,)
        assert store.execute("SELECT count(*) FROM done").fetchone() == (2,)


@pytest.mark.system
def test_the_published_noise_needs_its_flag_and_is_exact_with_it(testbed):
    refused = testbed(*SMALL, "--variant", "published")
    assert refused.status == 2
    assert "--unsafe-published" in refused.err
    assert "Traceback" not in refused.err
    done = testbed(*SMALL, "--variant", "published", "--unsafe-published")
    assert done.status == 0, done.err
    assert done.summary["bills_exact"] == 36
    assert done.summary["released"] == 8


@pytest.mark.parametrize("graph", ["random:0.01", "circulant:2,4", "ring"])
def test_a_graph_that_does_not_fit_is_refused_before_anything_starts(testbed, graph):
    refused = testbed(*SMALL, "--graph", graph)
    assert refused.status == 2
    assert len(refused.err.strip().splitlines()) == 1


@pytest.mark.system
def test_masked_readings_that_are_shared_give_exact_sums_over_the_whole_component(testbed):
    done = testbed(
        "--mechanism", "both", "--meters", "18", "--rounds", "4", "--period", "4", "--ppns", "4", "--consumers", "2"
    )
    assert done.status == 0, done.err
    assert (done.summary["windows"], done.summary["released"], done.summary["wrong"]) == (6, 6, 0)
    assert done.report["bills"] == []


@pytest.mark.system
def test_a_component_with_a_missing_share_is_absent_and_never_wrong(testbed):
    done = testbed(
        "--mechanism", "both", "--meters", "18", "--rounds", "4", "--period", "4", "--ppns", "4", "--consumers", "1",
        "--window", "1", "--recovery", "agree", "--loss", "0.01",
    )  # fmt: skip
    assert done.status == 0, done.err
    statuses = {row["status"] for row in done.aggregates}
    assert statuses == {"released", "withheld"}
    assert all(row["included"] == 18 for row in done.aggregates if row["status"] == "released")
    assert any("no sum" in row["reason"] for row in done.aggregates)


@pytest.mark.system
def test_rounds_are_closed_without_silent_meters_and_their_watt_hours_are_carried(testbed):
    done = testbed(
        "--mechanism", "pairwise", "--self-masks", "--losses-borne", "4", "--meters", "40", "--rounds", "12", "--period", "6",
        "--round-seconds", "2", "--loss", "0.35",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert done.summary["bills_wrong"] == done.summary["wrong"] == 0
    assert done.summary["released"] == 12
    closed_without = [row for row in done.aggregates if row["included"] < row["expected"]]
    assert closed_without
    carried = 0
    with sqlite3.connect(done.directory / "fleet-1" / "masking.sqlite") as journal:
        carried = journal.execute("SELECT count(*) FROM taken_up").fetchone()[0]
    assert carried
    assert done.summary["bills_exact"] + done.summary["bills_absent"] == 80


@pytest.mark.system
def test_under_self_masks_every_column_and_bill_is_exact_when_nobody_is_silent(testbed):
    done = testbed(*SMALL[:2], "--self-masks", "--meters", "20", "--rounds", "4", "--period", "4")
    assert done.status == 0, done.err
    assert (done.summary["released"], done.summary["bills_exact"]) == (4, 20)


@pytest.mark.system
def test_loss_and_killed_meters_consumer_and_configurator_leave_every_sum_exact(testbed):
    done = testbed(
        "--mechanism", "pairwise", "--meters", "18", "--process-per-meter", "--rounds", "12", "--period", "6",
        "--round-seconds", "1.5", "--loss", "0.1", "--kill", "m0003@4", "--kill", "m0007@5", "--kill", "m0011@7",
        "--kill", "consumer-1@6", "--kill", "configurator@8",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert (done.summary["released"], done.summary["wrong"], done.summary["unrecovered"]) == (12, 0, 0)
    assert (done.summary["bills_exact"], done.summary["double_entries"]) == (36, 2)


@pytest.mark.system
def test_killed_processes_lose_no_masked_reading(testbed):
    done = testbed(*SMALL, "--loss", "0.1", "--kill", "fleet-1@2", "--kill", "consumer-1@5", "--kill", "fleet-1@6")
    assert done.status == 0, done.err
    assert (done.summary["released"], done.summary["bills_exact"], done.summary["wrong"]) == (8, 36, 0)


@pytest.mark.system
def test_a_meter_that_cannot_reach_its_consumer_is_left_out_and_pays_later(testbed):
    done = testbed(
        "--mechanism", "pairwise", "--self-masks", "--meters", "24", "--rounds", "12", "--period", "12",
        "--link", "4:part=m0003/consumer-1/2",
    )  # fmt: skip
    assert done.status == 0, done.err
    (left_out,) = [bill for bill in done.report["bills"] if bill["omitted_rounds"]]
    assert (left_out["meter"], len(left_out["omitted_rounds"])) == ("m0003", 2)
    assert done.summary["released"] == 12
    assert (done.summary["bills_exact"], done.summary["double_entries"]) == (24, 1)


@pytest.mark.system
def test_without_self_masks_a_column_waits_and_says_for_how_much(testbed):
    done = testbed(*SMALL, "--link", "2:part=m0003/consumer-1/1", seconds=500)
    absent = [row for row in done.aggregates if row["status"] == "unrecovered"]
    assert [row["reason"] for row in absent] == ["waits for 1 masked readings"]
    assert done.summary["wrong"] == done.summary["bills_wrong"] == 0
    assert [bill["meter"] for bill in done.report["bills"] if bill["watt_hours"] is None] == ["m0003"]


@pytest.mark.system
def test_no_reading_appears_in_any_log_or_topic(testbed, tmp_path):
    canary = 98_761
    lines = ["start_utc," + ",".join(f"h{n:02}" for n in range(18))]
    lines += [f"2013-03-11T{r // 2:02}:{30 * (r % 2):02}:00Z," + ",".join(["98761"] * 18) for r in range(4)]
    source = tmp_path / "canary.csv"
    source.write_text("\n".join(lines) + "\n")
    done = testbed(
        "--mechanism", "pairwise", "--meters", "18", "--rounds", "4", "--period", "4", "--data", str(source)
    )  # fmt: skip
    assert done.status == 0, done.err
    assert all(row["watt_hours"] == 18 * canary for row in done.aggregates)
    for log in (done.directory / "log").iterdir():
        assert str(canary) not in log.read_text(errors="replace"), log.name
