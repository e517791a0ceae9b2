"""Every reader of meters and files under damage: what it says is a value that was sent, or the project's refusal.

Frames are constructed with values known beforehand, then damaged. What comes back from a damaged stream must be one of the
values that a sound frame in it carries: a frame whose check fails gives none. Seeds are the commit's; `--long` plays more.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import re
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from support.meter_frames import crc_x25, han_frame, han_register, han_text, sml_file, sml_register

from hushgrid.errors import ConfigurationError
from meter_agent.sources.devices import modbus
from meter_agent.sources.devices.byte_stream import Heard, Line
from meter_agent.sources.devices.diagnosis import diagnosis
from meter_agent.sources.devices.han_push import HanReader
from meter_agent.sources.devices.mqtt_topic import read_payload
from meter_agent.sources.devices.sml_head import SmlReader
from meter_agent.sources.devices.telegram import TelegramReader, crc16, read_telegram
from meter_agent.sources.files.exports import Layout, read_export
from meter_agent.sources.files.meanings import Label, Quantity
from meter_agent.sources.files.portals import LAYOUTS, recognised
from meter_agent.sources.files.replay import replay_csv
from meter_agent.sources.sample import Sample, SampleRefusedError
from meter_agent.sources.sections import SourceSection, TopicSection

EXAMPLES, LONG_EXAMPLES = 30, 3000


@pytest.fixture
def play(part, pytestconfig) -> Callable:
    """Runs a property over a part of all examples, drawn anew for every commit; with --long over many more."""
    examples = LONG_EXAMPLES if pytestconfig.getoption("--long") else EXAMPLES
    begin = 0 if part is None else part.randrange(2**32)

    def run(body: Callable, *strategies: st.SearchStrategy, **named: st.SearchStrategy) -> None:
        checked = settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        seed(begin)(checked(given(*strategies, **named)(body)))()

    return run


def p1_frame(imported: int, exported: int) -> bytes:
    content = (
        b"/CON5MADE UP\r\n\r\n0-0:96.1.1(3132)\r\n1-0:1.8.1(%06d.%03d*kWh)\r\n1-0:1.8.2(000000.000*kWh)\r\n"
        % divmod(imported, 1000)
    )
    content += b"1-0:2.8.0(%06d.%03d*kWh)\r\n!" % divmod(exported, 1000)
    return content + b"%04X\r\n" % crc16(content)


def sml_frame(imported: int, exported: int) -> bytes:
    names = bytes.fromhex("0100010800ff"), bytes.fromhex("0100020800ff")
    return sml_file([sml_register(name, 30, -1, 10 * wh) for name, wh in zip(names, (imported, exported), strict=True)])


def han_message(imported: int, exported: int) -> bytes:
    registers = (("1.0.1.8.0.255", imported), ("1.0.2.8.0.255", exported))
    return han_frame([han_text("0.0.96.1.0.255", "73599"), *(han_register(name, wh, 0, 30) for name, wh in registers)])


def p1_said(pieces: list[bytes]) -> Iterator[Sample]:
    reader = TelegramReader()
    for piece in pieces:
        for telegram in reader.feed(piece):
            with contextlib.suppress(SampleRefusedError):
                yield read_telegram(telegram, crc_absent=False)


def sml_said(pieces: list[bytes]) -> Iterator[Sample]:
    reader = SmlReader()
    for piece in pieces:
        yield from (said for said in reader.feed(piece) if isinstance(said, Sample))


def han_said(pieces: list[bytes]) -> Iterator[Sample]:
    reader = HanReader()
    for piece in pieces:
        yield from (said for said in reader.feed(piece) if isinstance(said, Sample))


READERS = {"p1": (p1_frame, p1_said), "sml": (sml_frame, sml_said), "han": (han_message, han_said)}

registers = st.tuples(st.integers(1, 10**8), st.integers(0, 10**8))
#: What is done to a stream: (kind, where, what).
damages = st.lists(
    st.tuples(
        st.sampled_from(["flip", "drop", "insert", "repeat", "zero"]),
        st.integers(0, 2000),
        st.binary(min_size=1, max_size=6),
    ),
    max_size=5,
)


def damaged(stream: bytes, done: list[tuple[str, int, bytes]]) -> bytes:
    for what, where, content in done:
        at = where % (len(stream) + 1)
        end = at + len(content)
        if what == "flip":
            flipped = bytes(a ^ b for a, b in zip(stream[at:end], content, strict=False))
            stream = stream[:at] + flipped + stream[at + len(flipped) :]
        elif what == "drop":
            stream = stream[:at] + stream[end:]
        elif what == "insert":
            stream = stream[:at] + content + stream[at:]
        elif what == "repeat":
            stream = stream[:at] + stream[at : at + 40] + stream[at:]
        else:
            stream = stream[:at] + bytes(len(stream[at:end])) + stream[end:]
    return stream


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    ends = [*itertools.accumulate(sizes), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise([0, *sorted(min(end, len(stream)) for end in ends)])]


def collided(kind: str, stream: bytes, frames: set[bytes]) -> bool:
    """Whether damage left a check right by chance: one in 65,536 does, and no reader can know. Worked out without the readers."""
    shape = {
        "p1": rb"/[^/]*?!([0-9A-Fa-f]{1,4})",
        "sml": rb"\x1b\x1b\x1b\x1b\x01\x01\x01\x01.*?\x1b\x1b\x1b\x1b\x1a...",
        "han": rb"(?<=\x7e)[^\x7e]+(?=\x7e)",
    }[kind]
    for found in re.finditer(shape, stream, re.DOTALL):
        segment = found[0]
        if kind == "p1":
            right = int(found[1], 16) == crc16(segment[: segment.rindex(b"!") + 1])
        else:
            right = crc_x25(segment[:-2]).to_bytes(2, "little") == segment[-2:]
        if right and not any(segment in one for one in frames):
            return True
    return False


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_stream_gives_no_value_that_was_not_sent(kind, play):
    frame, said = READERS[kind]

    def body(sent, done, sizes):
        stream = b"".join(frame(*one) for one in sent)
        for sample in said(cut(damaged(stream, done), sizes)):
            value = (sample.import_watt_hours, sample.export_watt_hours)
            assert value in sent or collided(kind, damaged(stream, done), {frame(*one) for one in sent})

    play(body, st.lists(registers, min_size=1, max_size=4), damages, st.lists(st.integers(0, 300), max_size=6))


@pytest.mark.parametrize("kind", READERS)
def test_an_undamaged_stream_gives_every_value_whatever_is_between(kind, play):
    frame, said = READERS[kind]
    marks = {"p1": b"/!\xdb", "sml": b"\x1b", "han": b"\x7e"}[kind]

    def body(sent, noise, sizes):
        quiet = bytes(byte for byte in noise if byte not in marks)
        stream = (b"\r\n" if kind == "p1" else b"").join([quiet, *(frame(*one) for one in sent)])
        found = [(one.import_watt_hours, one.export_watt_hours) for one in said(cut(stream, sizes))]
        assert found == sent

    play(
        body,
        st.lists(registers, min_size=1, max_size=4),
        st.binary(max_size=40),
        st.lists(st.integers(0, 300), max_size=6),
    )


@pytest.mark.parametrize("kind", READERS)
def test_any_bytes_at_all_give_nothing(kind, play):
    marks = {"p1": b"\n/X\r\n1-0:1.8.0(1*kWh)\r\n!", "sml": b"\x1b" * 4 + b"\x01" * 4, "han": b"\x7e\xa0"}[kind]
    pieces = st.lists(st.binary(max_size=60) | st.just(marks) | st.just(b"\x1b\x1b\x1b\x1b\x1a\x00"), max_size=12)

    def body(content):
        assert list(READERS[kind][1](content)) == []

    play(body, pieces)


def test_a_telegram_without_a_checksum_is_read_or_refused(play):
    lines = st.sampled_from(["1-0:1.8.0", "1-0:1.8.1", "1-0:2.8.0", "0-0:96.1.1", "", "1-0:1.7.0", "x"])
    brackets = st.sampled_from(
        ["(1.5*kWh)", "(1*Wh)", "()", "(1,5*kWh)", "(", ")", "(\0)", "(9" * 9, "(1.5*kWh)(2*kWh)"]
    )

    def body(said):
        content = "/X\r\n" + "".join(f"{name}{value}\r\n" for name, value in said) + "!\r\n"
        for telegram in TelegramReader().feed(content.encode("latin-1")):
            with contextlib.suppress(SampleRefusedError):
                sample = read_telegram(telegram, crc_absent=True)
                named = [name for name, _ in said]
                assert sample.import_watt_hours in {0, 1, 1500} or "1-0:1.8.1" in named
                assert (sample.import_watt_hours == 0) <= ("1-0:1.8.0" not in named and "1-0:1.8.1" not in named)

    play(body, st.lists(st.tuples(lines, brackets), max_size=6))


numbers = st.sampled_from(
    ["1", "1.5", "1e9", "-1", '"1.5"', '"x"', "null", "true", "1e999999999", "[1]", '{"a": 1}', "NaN", "0"]
)


def test_a_payload_is_read_or_refused(play):
    keys = st.sampled_from(["a", "b", "a.b", "0", ""])

    def body(pairs, key, noise, wrap):
        text = "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in pairs) + "}"
        payload = (f"[{text}]" if wrap else text).encode()
        for content in (payload, noise, payload + noise):
            with contextlib.suppress(SampleRefusedError):
                read_payload(content, TopicSection(url="mqtt://h:1", topic="t", import_key=key))

    play(body, st.lists(st.tuples(keys, numbers), max_size=4), keys, st.binary(max_size=30), st.booleans())


def test_floats_of_a_modbus_meter_are_read_or_refused(play):
    def body(content):
        with contextlib.suppress(SampleRefusedError):
            sample = modbus.registers_of(struct.unpack(">4H", content))
            imported, exported = (Fraction(said) * 1000 for said in struct.unpack(">ff", content))
            assert sample.import_watt_hours <= imported < sample.import_watt_hours + 1
            assert sample.export_watt_hours <= exported < sample.export_watt_hours + 1

    play(body, st.binary(min_size=8, max_size=8))


def test_a_diagnosis_is_one_line_of_any_bytes(play):
    def body(kind, pieces):
        heard = Heard()
        for piece in pieces:
            heard.add(piece)
        said = diagnosis(SourceSection(kind=kind, port="/dev/x", modbus={"profile": "sdm120"}).kind, Line(9600), heard)
        assert said.isprintable()

    shapes = st.sampled_from(
        [p1_frame(1, 1), sml_frame(1, 1), han_message(1, 1), b"\xdb\x08ABC12345\x20\x30", b"\x68\x01\x01\x68"]
    )
    play(body, st.sampled_from(["p1", "sml", "han"]), st.lists(shapes | st.binary(max_size=80), max_size=5))


# Files

cells = st.sampled_from(
    ["", "1", "0.5", "1,5", "-2", "1e3", "1e999999999", "NaN", "Null", "x", '"', "2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z", "m1",
     "31.03.2024 02:30", "27.10.2024 02:30", "24:00", "01.01.2024 24:00", "9999-12-31T24:00", "9999-12-31T23:30",
     "31.12.9999 23:30", "0001-01-01T00:00+14:00", "\0", "\u0661"]
)  # fmt: skip
tables = st.lists(st.lists(cells, max_size=5), max_size=12)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "table.csv"


def write(place: Path, header: str, rows: list[list[str]], delimiter: str, noise: bytes, how: int) -> None:
    content = "\n".join([header, *(delimiter.join(row) for row in rows)]).encode() + noise
    place.write_bytes([content, gzip.compress(content), gzip.compress(content)[:-5], b"\xff\xfe" + content][how])


@pytest.mark.parametrize(
    "header", ["meter,start_utc,wh", "start_utc,m1,m2", "LCLid,stdorToU,DateTime,KWH/hh (per half hour)"]
)
def test_a_file_of_our_own_format_is_read_or_refused(header, place, play):
    def body(rows, noise, how):
        write(place, header, rows, ",", noise, how)
        faults: list[ConfigurationError] = []
        for take in (None, faults.append):
            with contextlib.suppress(ConfigurationError):
                replay_csv(place, ["m1"], None, None, 1800, take)

    play(body, tables, st.binary(max_size=10), st.integers(0, 3))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name.partition(",")[0])
def test_an_export_of_a_known_portal_is_read_or_refused(layout, place, play):
    def body(rows, noise, how):
        write(place, layout.delimiter.join(layout.columns), rows, layout.delimiter, noise, how)
        with contextlib.suppress(ConfigurationError):
            recognised(place)
        for take in (None, lambda _: None):
            with contextlib.suppress(ConfigurationError):
                read_export(place, layout, "m1", take)

    play(body, tables, st.binary(max_size=10), st.integers(0, 3))


def test_a_table_that_somebody_describes_is_read_or_refused(place, play):
    def body(rows, quantity, label, formats, step, encoding, comma):
        place.write_bytes("\n".join(["when;kWh", *(";".join(row) for row in rows)]).encode())
        with contextlib.suppress(ConfigurationError):
            layout = Layout(
                "", ("when",), "kWh", quantity=quantity, label=label, formats=formats, step_seconds=step, zone="Europe/Berlin",
                delimiter=";", decimal_comma=comma, encoding=encoding,
            )  # fmt: skip
            read_export(place, layout, "m1")

    forms = st.sampled_from([(), ("%d.%m.%Y %H:%M",), ("%",), ("%Y%Q",), ("%Y",)])
    encodings = st.sampled_from(["utf-8-sig", "cp1252", "utf-16", "no-such", "hex"])
    steps = st.none() | st.integers(1, 10**9)
    play(body, tables, st.sampled_from(Quantity), st.sampled_from(Label), forms, steps, encodings, st.booleans())
