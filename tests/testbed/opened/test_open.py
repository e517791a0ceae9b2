"""`hushgrid testbed --open`: somebody with a real meter joins by what it prints, and finds the meter's own figure in the sum."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.wires import Household, Wire, terminal

from testbed.command import main
from testbed.opened.grid import OpenGrid
from testbed.opened.invitation import Invitation

INTERVAL = 15


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--loss", "0.1"], "--loss cannot be used with it"),
        (["--rounds", "3", "--kill", "ppn-1@2"], "--rounds, --kill cannot be used with it"),
        (["--meters", "10"], "a sum needs 15 households"),
        (["--interval", "5"], "--interval 5 s is too short"),
        (["--width", "6"], "--width 6 --ppns 5"),
        (["--threshold", "2"], "more than half of the width"),
    ],
)
def test_what_an_open_testbed_cannot_be_is_refused_before_anything_starts(options: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["testbed", "--open", *options])
    assert result.exit_code == 2
    assert said in result.output
    assert "meter.toml" not in result.output


def test_an_address_that_is_not_looked_for_is_refused() -> None:
    result = CliRunner().invoke(main, ["testbed", "--open", "203.0.113.9"])
    assert result.exit_code == 2
    assert "--open 203.0.113.9" in result.output


def test_the_grace_leaves_room_within_the_round() -> None:
    for seconds in (6, 10, 60, 900, 3600):
        grid = OpenGrid(interval_seconds=seconds)
        grid.check()
        assert 3 <= grid.grace_seconds <= min(60, seconds)


def test_an_invitation_is_a_whole_configuration() -> None:
    text = Invitation("guest", "g", "192.0.2.1:1883", "00" * 32, "token", 60, 30.0).text()
    assert files_in(text).keys() == {"meter.toml", "meter.token"}


def files_in(text: str) -> dict[str, str]:
    """The files that an invitation spells out, by name."""
    parts = re.split(r"^(meter\.toml|meter\.token):\n\n", text, flags=re.MULTILINE)
    files = dict(zip(parts[1::2], parts[2::2], strict=True))
    files["meter.token"] = files["meter.token"].split()[0]
    return files


@pytest.mark.system
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("mosquitto")
async def test_a_meter_joins_by_what_is_printed_and_its_own_figure_comes_out(tmp_path: Path, template: bytes) -> None:
    command = [sys.executable, "-m", "testbed", "testbed", "--open", "127.0.0.1", "--interval", str(INTERVAL)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    household = Household(template, INTERVAL, 5, export=True)
    master, port = terminal()
    with (tmp_path / "said").open("wb") as said, (tmp_path / "meter").open("wb") as log:
        hosting = subprocess.Popen(  # noqa: ASYNC220
            command, stdout=said, stderr=subprocess.STDOUT, env=environment
        )
        joining = None
        feeding = asyncio.create_task(Wire(household, int(time.time() // INTERVAL) - 1).feed_terminal(master))
        try:
            files = files_in(await until(tmp_path / "said", r"hushgrid-meter run --config meter\.toml\n"))
            (tmp_path / "meter.token").write_text(files["meter.token"])
            configuration = files["meter.toml"].replace("/dev/ttyUSB0", port)
            (tmp_path / "meter.toml").write_text(configuration)
            joining = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-m", "meter_agent", "run", "--config", "meter.toml"],
                cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT,
                env={**environment, "HUSHGRID_REGISTERS__REQUIRE_SYNCHRONISED_CLOCK": "false"},
            )  # fmt: skip
            told = await until(tmp_path / "said", r"the guest's: .* Wh")
        finally:
            feeding.cancel()
            for process in (joining, hosting):
                if process is not None:
                    process.send_signal(signal.SIGINT)
                    process.wait(timeout=500)
    lines = re.findall(
        r"^(\d\d:\d\d:\d\d) UTC  (\d+) of (\d+) readings .* the guest's: (-?[\d,]+) Wh", told, re.MULTILINE
    )
    assert lines
    for begin, included, expected, watt_hours in lines:
        assert included == expected == "21"
        number = round_that_began_at(begin)
        assert int(watt_hours.replace(",", "")) == household.net(number)
    assert hosting.returncode == 0
    assert "Traceback" not in (tmp_path / "said").read_text() + (tmp_path / "meter").read_text()


def round_that_began_at(clock: str) -> int:
    """The number of the round that began at this time of the last day."""
    now = dt.datetime.now(dt.UTC)
    begin = dt.datetime.combine(now.date(), dt.time.fromisoformat(clock), dt.UTC)
    if begin > now:
        begin -= dt.timedelta(days=1)
    return int(begin.timestamp()) // INTERVAL


async def until(path: Path, pattern: str) -> str:
    """A file's content, once the pattern is in it; its deadline fails the test."""
    async with asyncio.timeout(600):
        while not re.search(pattern, path.read_text()):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.2)
    return path.read_text()  # noqa: ASYNC240
