"""The whole testbed behind the doors: mutual TLS, access rules, one-time tokens, certificates that change while rounds run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FEW = ("--secure", "--meters", "16", "--ppns", "4", "--consumers", "2", "--minimum-contributors", "10")


def logs(directory: Path, pattern: str = "*.log") -> str:
    return "\n".join(path.read_text() for path in (directory / "log").glob(pattern))


def all_exact(finished: Any) -> bool:
    summary = finished.summary
    return (
        finished.status == 0
        and summary["wrong"] == 0
        and summary["released"] == summary["windows"] == len(finished.aggregates) > 0
    )


@pytest.mark.usefixtures("mosquitto")
def test_a_secure_testbed_gives_exact_sums(testbed: Callable[..., Any]) -> None:
    finished = testbed(*FEW, "--rounds", "3")
    assert all_exact(finished), finished.err
    assert "mutual TLS" in finished.report["broker"]
    assert {"authority", "broker"} <= {row["role"] for row in finished.report["processes"]}
    assert "mqtts://" in logs(finished.directory, "ppn-1.log")
    assert not list(finished.directory.glob("*/certificates/*.key"))
    for file in finished.directory.glob("*/certificates/*.pem"):
        assert file.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("mosquitto")
@pytest.mark.system
def test_rounds_go_on_while_certificates_are_renewed_and_names_change(testbed: Callable[..., Any]) -> None:
    finished = testbed(
        *FEW, "--process-per-meter", "--rounds", "10", "--round-seconds", "3", "--epoch-rounds", "3",
        "--certificate-seconds", "12",
    )  # fmt: skip
    assert all_exact(finished), finished.err
    for agent in ("configurator", "ppn-1", "consumer-1", "*"):
        text = logs(finished.directory, f"{agent}.log")
        assert text.count("certificates are renewed") >= 2, agent
    # Without renewal nobody would have been let in again: every certificate of the beginning ran out during the run.
    assert finished.summary["wall_seconds"] > 2 * 12


@pytest.mark.usefixtures("mosquitto")
@pytest.mark.system
def test_a_killed_authority_and_killed_agents_cost_no_window(testbed: Callable[..., Any]) -> None:
    finished = testbed(
        *FEW, "--rounds", "8", "--round-seconds", "2", "--epoch-rounds", "3", "--loss", "0.02",
        "--kill", "authority@2", "--kill", "ppn-2@3", "--kill", "configurator@4", "--kill", "fleet-1@5",
    )  # fmt: skip
    assert finished.status == 0, finished.err
    assert finished.summary["wrong"] == 0
    assert finished.summary["released"] == finished.summary["windows"]


@pytest.mark.usefixtures("mosquitto")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--broker", "embedded"), "--broker embedded cannot be used with it"),
        (("--broker", "mqtt://127.0.0.1:1"), "cannot be used with it"),
        (("--certificate-seconds", "1"), "--certificate-seconds must be at least 5"),
    ],
)
def test_what_cannot_be_secure_is_one_line(testbed: Callable[..., Any], options: tuple[str, ...], said: str) -> None:
    finished = testbed(*FEW, *options)
    assert finished.status == 2
    assert said in finished.err
    assert finished.err.count("\n") == 1
