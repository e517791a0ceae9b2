"""A Green Button file: shaped as ESPI's schema says, read back to the watt-hour, and one customer's only."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer_node.masked.ledger import Bill
from consumer_node.masked.stream import absent_bill, bill_row
from hushgrid.core.schedule import Window
from hushgrid.errors import ConfigurationError, MessageError, RefusedError
from privacy_gateway.export.bills import PeriodTotal, read_bills
from privacy_gateway.export.green_button import ATOM, ESPI, MOST_SECONDS, MOST_WATT_HOURS, green_button

INTERVAL = 900


def whole(low: int, high: int) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(r"-?(0|[1-9][0-9]*)", text) is not None and low <= int(text) <= high


def code(*allowed: int) -> Callable[[str], bool]:
    return lambda text: text in map(str, allowed)


UINT32, INT64, INT48 = whole(0, 2**32 - 1), whole(-(2**63), 2**63 - 1), whole(-(2**47), 2**47)
PERIOD = {"duration": UINT32, "start": INT64}
#: What the schema (ESPI 3.3 and 4.0) allows of each resource, of what is used of it: children in this order, and what they hold.
SHAPES: dict[str, dict[str, Any]] = {
    "UsagePoint": {"ServiceCategory": {"kind": code(0)}},
    "LocalTimeParameters": {
        "dstEndRule": re.compile("[0-9A-F]{8}").fullmatch,
        "dstOffset": INT64,
        "dstStartRule": re.compile("[0-9A-F]{8}").fullmatch,
        "tzOffset": INT64,
    },
    "MeterReading": {},
    "ReadingType": {
        "accumulationBehaviour": code(4),
        "commodity": code(1),
        "dataQualifier": code(12),
        "flowDirection": code(4),
        "intervalLength": UINT32,
        "kind": code(12),
        "powerOfTenMultiplier": code(0),
        "timeAttribute": code(8),
        "uom": code(72),
    },
    "IntervalBlock": {
        "interval": PERIOD,
        "IntervalReading": {"ReadingQuality": {"quality": code(0, 16)}, "timePeriod": PERIOD, "value": INT48},
    },
}


def check_shape(element: ElementTree.Element, shape: dict[str, Any]) -> None:
    names = [child.tag.removeprefix(f"{{{ESPI}}}") for child in element]
    optional = {"IntervalReading"} - set(names)
    assert names == [name for name in shape if name not in optional], element.tag
    for child, name in zip(element, names, strict=True):
        if isinstance(shape[name], dict):
            check_shape(child, shape[name])
        else:
            assert not len(child)
            assert shape[name](child.text or ""), f"{name}: {child.text}"


def entries(file: bytes) -> dict[str, ElementTree.Element]:
    """Every entry of the feed by its own link, each checked."""
    root = ElementTree.fromstring(file)  # noqa: S314  # what was just written
    assert root.tag == f"{{{ATOM}}}feed"
    found = {}
    for entry in root.iterfind(f"{{{ATOM}}}entry"):
        (content,) = entry.iterfind(f"{{{ATOM}}}content")
        (resource,) = content
        check_shape(resource, SHAPES[resource.tag.removeprefix(f"{{{ESPI}}}")])
        for needed in ("id", "title", "updated"):
            assert len(entry.findall(f"{{{ATOM}}}{needed}")) == 1
        links = {link.get("rel"): link.get("href", "") for link in entry.iterfind(f"{{{ATOM}}}link")}
        assert links["self"].rpartition("/")[0] == links["up"]
        found[links["self"]] = entry
    ids = [element.text or "" for element in root.iter(f"{{{ATOM}}}id")]
    assert len(set(ids)) == len(ids) == len(found) + 1
    assert all(re.fullmatch("urn:uuid:[0-9a-f-]{36}", text) for text in ids)
    return found


def related(entry: ElementTree.Element) -> list[str]:
    return [link.get("href", "") for link in entry.iterfind(f"{{{ATOM}}}link") if link.get("rel") == "related"]


def read_back(file: bytes) -> set[tuple[str, int, int, int | None, bool | None]]:
    """(rule, start, seconds, Wh, whole) of every period, found as a reader finds it: from the usage point along the links."""
    found, totals = entries(file), set()
    (point,) = [entry for href, entry in found.items() if re.search(r"/UsagePoint/\d+$", href)]
    for readings in related(point):
        for href in [href for href in found if href.rpartition("/")[0] == readings and "/MeterReading/" in href]:
            blocks, kind = related(found[href])
            scale = 10 ** int(found[kind].findtext(f".//{{{ESPI}}}powerOfTenMultiplier") or "")
            for place in [place for place in found if place.rpartition("/")[0] == blocks]:
                period = found[place].find(f".//{{{ESPI}}}interval")
                start, seconds = (int(period.findtext(f"{{{ESPI}}}{name}")) for name in ("start", "duration"))
                value, quality = (found[place].findtext(f".//{{{ESPI}}}{name}") for name in ("value", "quality"))
                said = (None, None) if value is None else (int(value) * scale, quality == "0")
                totals.add((found[href].findtext(f"{{{ATOM}}}title"), start, seconds, *said))
                assert int(found[kind].findtext(f".//{{{ESPI}}}intervalLength") or "") == seconds
    return totals


def row(first: int, last: int, watt_hours: int | None, meter: str = "m0001", **other: Any) -> dict[str, Any]:
    start = dt.datetime.fromtimestamp(first * INTERVAL, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    counted = 0 if watt_hours is None else last - first + 1
    return {
        "rule": "bills", "number": 3, "start_utc": start, "first_round": first, "last_round": last, "meter": meter,
        "status": "unrecovered" if watt_hours is None else "released", "watt_hours": watt_hours, "rounds": counted, "omitted": [],
        "reason": "", **other,
    }  # fmt: skip


def read(*rows: dict[str, Any], meter: str = "m0001") -> tuple[PeriodTotal, ...]:
    return read_bills([json.dumps(one).encode() for one in rows], meter, INTERVAL)


def written(totals: tuple[PeriodTotal, ...], author: str = "Utility") -> bytes:
    return green_button("m0001", totals, grid="hushgrid", author=author, updated_seconds=1_700_000_000)


periods = st.tuples(
    st.sampled_from([(3, "bills"), (4, "bills"), (7, "other")]), st.integers(0, 10**6), st.sampled_from([1, 96, 2976]),
    st.none() | st.integers(-MOST_WATT_HOURS, MOST_WATT_HOURS), st.booleans(),
)  # fmt: skip


@given(st.lists(periods, max_size=8, unique_by=lambda one: (one[0], one[1])))
def test_every_period_is_read_back_exactly(drawn):
    rows, expected = [], set()
    for (number, rule), first, rounds, watt_hours, partly in drawn:
        one = row(first, first + rounds - 1, watt_hours, rule=rule, number=number)
        if partly and watt_hours is not None:
            one |= {"omitted": [first], "rounds": rounds - 1}
        rows.append(one)
        whole = None if watt_hours is None else not partly
        expected.add((rule, first * INTERVAL, rounds * INTERVAL, watt_hours, whole))
    assert read_back(written(read(*rows))) == expected


def test_what_a_consumer_writes_of_its_bills_is_what_is_read():
    period = Window(96, 96)
    stream: Any = SimpleNamespace(
        head=SimpleNamespace(interval_seconds=INTERVAL), rule=SimpleNamespace(name="bills", number=3)
    )
    rows = [
        bill_row(stream, Bill("m0001", period, (97, 98), -4711)),
        absent_bill(stream, "m0001", period, "only 10 of 96 rounds are in the bill") | {"number": 4},
    ]
    one, other = read(*rows)
    assert one == PeriodTotal(3, 86_400, 86_400, "bills", -4711, 94, 96)
    assert not one.whole
    assert (other.watt_hours, other.reason) == (None, "only 10 of 96 rounds are in the bill")


def test_a_period_without_a_number_is_there_and_has_none():
    file = written(read(row(0, 95, None, reason="rounds < 80 % & no more")))
    assert read_back(file) == {("bills", 0, 86_400, None, None)}
    titles = [element.text for element in ElementTree.fromstring(file).iter(f"{{{ATOM}}}title")]  # noqa: S314
    assert "1970-01-01T00:00:00Z to 1970-01-02T00:00:00Z: no number: rounds < 80 % & no more" in titles


def test_a_customer_without_bills_has_a_usage_point_and_no_readings():
    assert sorted(entries(written(()))) == ["LocalTimeParameters/1", "RetailCustomer/m0001/UsagePoint/1"]


def test_texts_are_escaped_and_what_xml_cannot_say_is_refused():
    author = "Süd & <Nord> \"'💡"
    root = ElementTree.fromstring(written((), author))  # noqa: S314
    assert root.findtext(f"{{{ATOM}}}author/{{{ATOM}}}name") == author
    for unsayable in ("a\x00", "a\x1b[0m", "a\r\nb", "a\ud800", "￾"):
        with pytest.raises(ConfigurationError, match="name: a control character"):
            written((), unsayable)


def test_the_same_bills_give_the_same_bytes_and_ids_stay_as_bills_come():
    first, both = read(row(0, 95, 5)), read(row(0, 95, 5), row(96, 191, 6))
    assert written(first) == written(first)
    ids = [{e.findtext(f"{{{ATOM}}}id") for e in entries(written(totals)).values()} for totals in (first, both)]
    assert ids[0] < ids[1]


def test_a_bill_of_anybody_else_is_refused_and_not_named():
    with pytest.raises(RefusedError, match="a bill of another meter than m0001 is among them"):
        read(row(0, 95, 5), row(0, 95, 6, meter="m0002"))


def test_one_bill_said_twice_is_one_and_two_of_one_period_are_refused():
    assert len(read(row(0, 95, 5), row(0, 95, 5))) == 1
    with pytest.raises(RefusedError, match="rule bills: two bills from 1970-01-01T00:00:00Z on"):
        read(row(0, 95, 5), row(0, 95, 6))


@pytest.mark.parametrize(
    "wrong",
    [
        {"watt_hours": 5.0},
        {"watt_hours": "5"},
        {"watt_hours": True},
        {"watt_hours": None},
        {"status": "unrecovered"},
        {"status": "paid"},
        {"last_round": -1},
        {"first_round": 96},
        {"rounds": 95},
        {"omitted": [3]},
        {"start_utc": "1970-01-01T00:15:00Z"},
        {"start_utc": "1970-01-01 00:00:00"},
        {"end_utc": "1970-01-01T00:00:00Z"},
        {"first_round": 2**47, "last_round": 2**47 + 95},
        {"meter": "m 1"},
        {"cost": 3},
    ],
)
def test_what_is_no_bill_is_refused(wrong):
    with pytest.raises(MessageError):
        read(row(0, 95, 5) | wrong)


def test_a_line_that_is_no_json_is_refused():
    with pytest.raises(MessageError):
        read_bills([b'{"rule":"bills"'], "m0001", INTERVAL)


def test_what_has_no_room_is_refused_and_not_rounded():
    good = PeriodTotal(3, 0, 86_400, "bills", MOST_WATT_HOURS, 96, 96)
    assert read_back(written((good,))) == {("bills", 0, 86_400, MOST_WATT_HOURS, True)}
    for bad in (
        PeriodTotal(3, 0, 86_400, "bills", MOST_WATT_HOURS + 1, 96, 96),
        PeriodTotal(3, 0, 86_400, "bills", -MOST_WATT_HOURS - 1, 96, 96),
        PeriodTotal(3, 0, MOST_SECONDS + 1, "bills", 1, 96, 96),
        PeriodTotal(3, 0, 0, "bills", 1, 96, 96),
    ):
        with pytest.raises(OverflowError):
            written((bad,))
