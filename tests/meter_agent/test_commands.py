"""`hushgrid-meter check`, `read` and `replay`, run as a person runs them."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
import threading
import tty
from pathlib import Path

import pytest

from hushgrid.shell.config import load
from hushgrid.shell.keyring import Keyring
from meter_agent.commands import write_sample
from meter_agent.config import MeterConfig
from meter_agent.sources.devices.telegram import crc16
from meter_agent.sources.files.replay import CsvReplay
from testbed.brokers.broker import RunningBroker, start_broker

TELEGRAM = b"/CON5MADE UP\r\n\r\n1-0:1.8.0(004426.825*kWh)\r\n1-0:2.8.0(000002.444*kWh)\r\n!"
TELEGRAM += b"%04X\r\n" % crc16(TELEGRAM)


def run(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "meter_agent", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **(environment or {})}
    )


@pytest.fixture
def serial_line():
    """A line on which a sound telegram comes ten times a second."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    ended = threading.Event()

    def speak() -> None:
        while not ended.wait(0.1):
            try:
                os.write(master, TELEGRAM)
            except BlockingIOError:
                continue

    speaking = threading.Thread(target=speak)
    speaking.start()
    yield os.ttyname(slave)
    ended.set()
    speaking.join()
    os.close(master)
    os.close(slave)


@pytest.fixture
async def broker(tmp_path: Path, supervisor, mosquitto: str) -> RunningBroker:
    assert mosquitto
    return await start_broker("mosquitto", supervisor, tmp_path / "broker")


@pytest.fixture
def configured(tmp_path: Path, serial_line: str, broker: RunningBroker):
    """The sample, filled in for this machine."""
    path, token = tmp_path / "meter.toml", tmp_path / "token"
    write_sample(path)
    token.write_text("secret")
    text = path.read_text()
    for before, after in (
        ("mqtt://broker.example:1883", broker.url),
        ("/var/lib/hushgrid-meter", str(tmp_path / "state")),
        ("/etc/hushgrid/meter.token", str(token)),
        ("/dev/ttyUSB0", serial_line),
        ("require_synchronised_clock = true", "require_synchronised_clock = false"),
    ):
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    return path


async def test_check_writes_a_commented_sample_where_there_is_none_and_then_leaves_it_alone(tmp_path):
    path = tmp_path / "etc" / "meter.toml"
    first = run("check", "--config", path)
    assert first.returncode == 2
    assert first.stderr.count("\n") == 1
    assert "a commented sample is there now" in first.stderr
    assert path.stat().st_mode & 0o007 == 0
    load(MeterConfig, path)
    path.write_text(path.read_text() + "\n# mine\n")
    run("check", "--config", path, "--seconds", 0.1)
    assert path.read_text().endswith("# mine\n")


async def test_check_says_what_is_right_and_changes_nothing(configured, tmp_path):
    done = await asyncio.to_thread(run, "check", "--config", configured)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    assert found == {
        "state": "note",
        "keys": "note",
        "clock": found["clock"],
        "timing": "fine",
        "broker": "fine",
        "source": "fine",
    }
    assert not (tmp_path / "state").exists()
    assert "4426" not in done.stdout + done.stderr


async def test_check_names_everything_that_is_wrong_and_fails(configured, tmp_path):
    text = configured.read_text().replace("tolerance_seconds = 30.0", "tolerance_seconds = 60.0")
    configured.write_text(text)
    (tmp_path / "token").unlink()
    environment = {"HUSHGRID_BROKER__URL": "mqtt://127.0.0.1:9", "HUSHGRID_SOURCE__PORT": "/dev/does-not-exist"}
    done = await asyncio.to_thread(run, "check", "--config", configured, "--seconds", 2, environment=environment)
    assert done.returncode == 1
    wrong = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("wrong")}
    assert wrong >= {"keys", "timing", "broker", "source"}


async def test_check_knows_an_enrolled_meter(configured, tmp_path):
    keyring = Keyring(tmp_path / "state" / "keys.sqlite")
    keyring.prepare(["meter-0001"])
    keyring.enrolled({"meter-0001": 7})
    keyring.close()
    done = await asyncio.to_thread(run, "check", "--config", configured)
    assert "fine     keys           meter-0001 is enrolled" in done.stdout


async def test_read_once_shows_the_registers_to_whoever_asks_on_the_machine(configured):
    done = await asyncio.to_thread(run, "read", "--once", "--config", configured)
    assert done.returncode == 0
    assert done.stdout.split("Z  ", 1)[1] == "import 4426825 Wh  export 2444 Wh  CON5MADE UP\n"


async def test_read_once_gives_up_when_the_line_is_silent(configured):
    master, slave = pty.openpty()
    environment = {"HUSHGRID_SOURCE__PORT": os.ttyname(slave)}
    done = await asyncio.to_thread(
        run, "read", "--once", "--seconds", 0.5, "--config", configured, environment=environment
    )
    assert done.returncode == 1
    assert "no sound sample" in done.stderr
    os.close(master)
    os.close(slave)


async def test_read_ends_after_the_seconds_it_was_given(configured):
    done = await asyncio.to_thread(run, "read", "--seconds", 1.5, "--config", configured)
    assert done.returncode == 0
    assert done.stdout.count("import 4426825 Wh") > 1


@pytest.mark.parametrize("command", ["read", "check"])
@pytest.mark.parametrize("seconds", ["nan", "-1", "0", "inf", "soon"])
def test_a_time_to_wait_that_is_none_is_one_line_and_status_2(tmp_path, command, seconds):
    done = run(command, f"--seconds={seconds}", "--config", tmp_path / "meter.toml")
    assert done.returncode == 2
    assert done.stderr == f"hushgrid-meter: --seconds {seconds}: expected a number of seconds above 0\n"
    assert not (tmp_path / "meter.toml").exists()


@pytest.mark.parametrize("interval", ["0", "-1", "1.5", "soon"])
def test_an_interval_that_is_none_is_one_line_and_status_2(tmp_path, interval):
    done = run("check", f"--interval={interval}", "--config", tmp_path / "meter.toml")
    assert done.returncode == 2
    assert done.stderr == f"hushgrid-meter: --interval {interval}: expected a whole number of seconds above 0\n"


def test_a_word_that_is_no_command_gets_the_list_of_those_that_are():
    done = run("frobnicate")
    assert done.returncode == 2
    assert "frobnicate" in done.stderr
    assert all(name in done.stderr for name in ("run", "check", "read", "replay"))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["read", "--once"], "there is no device to read"),
        (["replay", "missing.csv"], "missing.csv"),
    ],
)
def test_a_command_that_cannot_be_done_is_one_line_and_status_2(tmp_path, command, said):
    path = tmp_path / "meter.toml"
    path.write_text(
        f'[agent]\nid="m"\nstate_directory="{tmp_path}"\n[configurator]\nidentity="{"0" * 64}"\n'
        f'[source]\nkind="csv"\npath="x.csv"\n'
    )
    done = run(*command, "--config", path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


@pytest.mark.parametrize("command", [[], ["run"]])
def test_without_a_command_a_meter_runs(tmp_path, command):
    done = run(*command, "--config", tmp_path / "missing.toml")
    assert done.returncode == 2
    assert "missing.toml" in done.stderr
    assert not (tmp_path / "missing.toml").exists()


def test_a_replay_that_begins_now_keeps_its_readings_and_its_gaps():
    replay = CsvReplay("m", "replay", 100, 103, {100: 5, 101: None, 103: 7})
    moved = replay.beginning_at(9000)
    assert [moved.reading(9000 + at).watt_hours for at in range(-1, 5)] == [None, 5, None, None, 7, None]


def test_the_tool_s_own_help_names_every_command():
    done = run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("run", "check", "read", "replay"))
