"""What `hushgrid-meter check` finds about a source: each cause by its name, and how soon."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from meter_agent.config import MeterConfig
from meter_agent.finding import Finding, State
from meter_agent.source_checks import ANSWER_SECONDS, look, look_into_file, planned_interval, timing
from meter_agent.sources.devices.telegram import crc16
from meter_agent.sources.rhythm import rhythm
from testbed.brokers.broker import start_broker

CASES = ROOT / "tests" / "meter_agent" / "meter_cases"


def telegram(imported: bytes = b"000001.234", exported: bytes = b"000000.005", serial: bytes = b"31") -> bytes:
    content = b"/CON5MADE UP\r\n\r\n0-0:96.1.1(%s)\r\n1-0:1.8.0(%s*kWh)\r\n1-0:2.8.0(%s*kWh)\r\n!"
    content %= serial, imported, exported
    return content + b"%04X\r\n" % crc16(content)


def configuration(directory: Path, source: dict, **sections) -> MeterConfig:
    return MeterConfig.model_validate({
        "agent": {"id": "m1", "state_directory": directory},
        "configurator": {"identity": "0" * 64},
        "pace": {"grace_seconds": 60.0},
        "source": source,
        **sections,
    })  # fmt: skip


async def found(config: MeterConfig, seconds: float = 1.0, interval: int | None = None) -> Finding:
    (finding,) = await asyncio.wait_for(look(config, seconds, interval), 300)
    return finding


async def found_when_it_spoke(config: MeterConfig, says: str) -> Finding:
    """What is said of a line that speaks: a busy machine may let a second go by in which nobody came to speak."""
    for _ in range(100):
        finding = await found(config)
        if says in finding.text:
            break
    return finding


class Says:
    """A line on which bytes come again and again."""

    def __init__(self, *pieces: bytes, every: float = 0.1) -> None:
        self._pieces, self._every = pieces, every

    async def __aenter__(self) -> str:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._speaking = asyncio.create_task(self._speak())
        return os.ttyname(self._slave)

    async def _speak(self) -> None:
        at = 0
        while True:
            await asyncio.sleep(self._every)
            os.write(self._master, self._pieces[at % len(self._pieces)])
            at += 1

    async def __aexit__(self, *_: object) -> None:
        self._speaking.cancel()
        os.close(self._master)
        os.close(self._slave)


@pytest.mark.parametrize(
    ("pieces", "fields", "state", "says"),
    [
        ([telegram()], {}, State.FINE, "a sample every 0 s"),
        ([telegram(b"000001.000", b"000002.000")], {}, State.NOTE, "whole kWh only"),
        ([telegram(), telegram(serial=b"32")], {}, State.WRONG, "two meters speak"),
        ([telegram(b"000000.000", b"000000.000")], {}, State.WRONG, "the last: zero: both registers"),
        ([telegram().replace(b"1.234", b"1.235")], {}, State.WRONG, "the last: checksum; "),
        ([(CASES / "p1_encrypted_shape.bin").read_bytes()], {}, State.WRONG, "an encrypted port (AES-GCM)"),
        ([(CASES / "sml_tariffs_only.bin").read_bytes()], {}, State.WRONG, 'source.kind = "sml"'),
        ([telegram()], {"kind": "sml"}, State.WRONG, 'source.kind = "p1"'),
        ([telegram()], {"kind": "han"}, State.WRONG, 'source.kind = "p1"'),
        ([bytes(range(256))], {}, State.WRONG, "another speed or parity (now 115200 8N1)"),
        ([b""], {}, State.WRONG, "nothing was heard: not one byte"),
    ],
)  # fmt: skip
async def test_what_a_line_says_is_judged(tmp_path, pieces, fields, state, says):
    async with Says(*pieces) as port:
        finding = await found_when_it_spoke(configuration(tmp_path, {"kind": "p1", "port": port, **fields}), says)
    assert finding.state is state, finding.text
    assert says in finding.text
    assert "1.234" not in finding.text
    assert "1234" not in finding.text


async def test_a_meter_that_speaks_seldom_is_told_from_one_that_does_not_speak(tmp_path):
    async with Says(telegram(), b"", b"", b"", b"", b"", b"", b"", every=0.3) as port:
        source = {"kind": "p1", "port": port}
        finding = await found(configuration(tmp_path, source, registers={"tolerance_seconds": 0.5}), 10)
        assert finding.state is State.WRONG
        assert "one sample, no other within" in finding.text
        heard = set()
        for _ in range(100):  # a second in which one telegram falls comes soon, whenever this machine gets to it
            finding = await found(configuration(tmp_path, source), 1.0)
            heard.add(finding.state)
            if finding.state is State.NOTE:
                break
        assert State.NOTE in heard, finding.text


@pytest.mark.parametrize("kind", ["p1", "sml", "han", "modbus"])
@pytest.mark.parametrize("port", ["/dev/no-such-port", "tcp://127.0.0.1:9", "tcp://no-such-host.invalid:23"])
async def test_a_port_that_is_not_there_is_said_within_five_seconds(tmp_path, kind, port):
    config = configuration(tmp_path, {"kind": kind, "port": port, "modbus": {"profile": "sdm120"}})
    assert ANSWER_SECONDS == 5
    finding = await found(config, 3000)  # which nobody waits for
    assert finding.state is State.WRONG
    assert port in finding.text
    assert "silent" not in finding.text


@pytest.mark.system
async def test_a_modbus_meter_that_does_not_answer_is_named_with_what_was_asked(tmp_path):
    async with Says(b"") as port:
        source = {"kind": "modbus", "port": port, "modbus": {"profile": "sdm630", "unit": 7}, "parity": "even"}
        finding = await found(configuration(tmp_path, source), 6)
    assert finding.state is State.WRONG
    assert "unit 7 was asked at 9600 8E1" in finding.text


async def test_what_the_broker_of_a_topic_answers_is_said(tmp_path, supervisor, mosquitto):
    assert mosquitto
    topic = {"url": "mqtt://127.0.0.1:9", "topic": "t"}
    finding = await found(configuration(tmp_path, {"kind": "topic", "topic": topic}))
    assert "its broker: " in finding.text
    broker = await start_broker("mosquitto", supervisor, tmp_path / "broker")
    topic["url"] = broker.url
    finding = await found(configuration(tmp_path, {"kind": "topic", "topic": topic}))
    assert "its broker answers, and nothing was published there" in finding.text


# How often


def test_how_often_a_meter_speaks_is_compared_with_what_may_be_late():
    plug = [900_000 + 150 + 300 * at for at in range(3)]
    assert rhythm([0, 10, 20], 20, 30, None).enough
    assert rhythm([5], 10, 30, None).enough is None
    assert rhythm(plug, 901_000, 30, None).enough is False
    said = rhythm(plug, 901_000, 30, 900)
    assert said.enough is False
    assert "150 s after a round of 900 s began" in said.text
    assert "about 10% of all rounds" in said.text
    assert rhythm([at - 145 for at in plug], 901_000, 30, 900).enough
    assert rhythm([3600 * 100 + 11], 3600 * 100 + 60, 30, 3600).enough
    assert rhythm([3600 * 100 + 11, 3600 * 101 + 12], 3600 * 101 + 13, 30, 3600).enough
    assert rhythm([0, 37, 74], 75, 30, 900).enough is False


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=9), st.floats(0, 1e4), st.floats(1, 600), st.none() | st.just(900)
)
def test_a_rhythm_within_the_tolerance_is_always_enough(at, more, tolerance, interval):
    said = rhythm(sorted(at), max(at) + more, tolerance, interval)
    gaps = [later - earlier for earlier, later in zip(sorted(at), sorted(at)[1:], strict=False)]
    if gaps and max(gaps) <= tolerance:
        assert said.enough
    assert "\n" not in said.text


# Settings


@pytest.mark.parametrize(
    ("source", "sections", "interval", "says"),
    [
        ({"kind": "p1"}, {"registers": {"tolerance_seconds": 60}}, None, "pace.grace_seconds"),
        ({"kind": "p1"}, {"registers": {"tolerance_seconds": 50}}, 30, "no less than a round"),
        ({"kind": "han"}, {}, 900, "once an hour"),
        ({"kind": "modbus", "modbus": {"profile": "sdm120", "poll_seconds": 60}}, {}, None, "poll_seconds 60 is more"),
        ({"kind": "p1"}, {"outbox": {"repeat_seconds": 60}}, None, "outbox.repeat_seconds 60"),
        ({"kind": "p1"}, {"outbox": {"repeat_most_seconds": 1}}, None, "outbox.repeat_most_seconds is less"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_named(tmp_path, source, sections, interval, says):
    finding = timing(configuration(tmp_path, {"port": "/dev/x", **source}, **sections), interval)
    assert finding.state is State.WRONG
    assert says in finding.text
    assert timing(configuration(tmp_path, {"kind": "han", "port": "/dev/x"}), 3600).state is State.FINE


def test_how_long_rounds_are_is_not_known_before_a_plan(tmp_path):
    config = configuration(tmp_path, {"kind": "constructed"})
    assert planned_interval(config) is None
    (tmp_path / "plans.sqlite").write_bytes(b"no database")
    assert planned_interval(config) is None


# Files


def looked(tmp_path: Path, text: str, interval: int | None = None, **fields) -> list[Finding]:
    path = tmp_path / "readings.csv"
    path.write_text(text, encoding="utf-8")
    config = configuration(tmp_path, {"kind": "csv", "path": path, **fields})
    return look_into_file(config.source, "m1", interval)


ROWS = "".join(f"m1,2024-01-01T{hour:02}:00:00Z,{hour}\n" for hour in range(12))


def test_a_file_is_read_to_its_end_and_every_fault_named(tmp_path):
    bad = "m1,yesterday,5\nm1,2024-01-01T12:00:00Z,5.5\nm1,2024-01-01T13:00:00Z,1,2\nm1,2024-01-01T00:00:00Z,9\n"
    findings = looked(tmp_path, f"meter,start_utc,wh\n{ROWS}{bad}", 3600)
    assert [finding.state for finding in findings] == [State.WRONG] * 4
    for line, finding in enumerate(findings, start=14):
        assert f"line {line}" in finding.text
        assert "5.5" not in finding.text
    (fine,) = looked(tmp_path, f"meter,start_utc,wh\n{ROWS}")
    assert (fine.state, fine.text.split(": ", 1)[1]) == (State.FINE, "long readings, meter m1, 12 readings of 3600 s")


def test_many_faults_are_counted(tmp_path):
    findings = looked(tmp_path, "meter,start_utc,wh\n" + "m1,never,1\n" * 50 + ROWS)
    assert len(findings) == 21
    assert "30 faults more" in findings[-1].text


@pytest.mark.parametrize(
    ("text", "interval", "says"),
    [
        ("meter,start_utc,wh\n" + ROWS.replace("m1", "m2"), 3600, "meter m1 is not in the file"),
        ("meter,start_utc,wh\n" + ROWS.replace("m1", "m2"), None, "meter m1 has fewer than two readings"),
        ("meter,start_utc,wh\n" + ROWS, 1800, "has readings every 3600 s, the grid's rounds last 1800 s"),
        ("meter,start_utc,wh\nm1,2024-01-01T00:00:00Z,\nm1,2024-01-01T01:00:00Z,\n", 3600, "0 readings"),
        ("what,ever\n", 3600, "no known header"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_serve_this_meter_is_wrong(tmp_path, text, interval, says):
    (finding,) = looked(tmp_path, text, interval)
    assert finding.state is State.WRONG
    assert says in finding.text


def test_a_described_table_is_read_to_its_end_too(tmp_path):
    rows = "".join(f"01.01.2024;{hour:02}:00;{hour},5\n" for hour in range(12))
    table = {"time": ["Tag", "Zeit"], "energy": "kWh", "zone": "Europe/Vienna", "formats": ["%d.%m.%Y %H:%M"]}
    table |= {"delimiter": ";", "decimal_comma": True}
    (fine,) = looked(tmp_path, "Tag;Zeit;kWh\n" + rows, csv=table)
    assert fine.state is State.FINE, fine.text
    assert "12 readings of 3600 s" in fine.text
    first, second = looked(tmp_path, f"Tag;Zeit;kWh\n{rows}01.01.2024;25:00;1\n01.01.2024;12:00;x\n", 3600, csv=table)
    assert "line 14" in first.text
    assert "line 15" in second.text
