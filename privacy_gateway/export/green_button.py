"""Period totals as a Green Button file: an Atom feed of NAESB ESPI resources, which energy programs read.

    UsagePoint                        the home's connection
      +- LocalTimeParameters          UTC, without summer time
      +- MeterReading                 one for each rule and length of period
           +- ReadingType             Wh, net of feed-in, one number a period
           +- IntervalBlock           one for each bill, with its one IntervalReading

A period without a number has its block and no reading in it: nothing is made up, and nothing is left out unseen. Times are seconds since
1970 in UTC, as ESPI has them. What is written follows from what is given: the same bills give the same bytes.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Sequence
from xml.etree import ElementTree

from hushgrid.core.schedule import utc_text
from hushgrid.errors import ConfigurationError
from privacy_gateway.export.bills import PeriodTotal

ATOM = "http://www.w3.org/2005/Atom"
ESPI = "http://naesb.org/espi"
#: ESPI's Int48 and UInt32.
MOST_WATT_HOURS = 2**47 - 1
MOST_SECONDS = 2**32 - 1

_ELECTRICITY = 0  # ServiceKind
_DELTA, _SECONDARY_METERED, _NORMAL, _NET, _ENERGY, _BILLING_PERIOD, _WATT_HOURS = 4, 1, 12, 4, 12, 8, 72
_VALID, _OTHER = 0, 16  # QualityOfReading: every round is in it; some are not
_NO_SUMMER_TIME = "FFFFFFFF"  # DstRuleType
_NAMES = uuid.uuid5(uuid.NAMESPACE_OID, "hushgrid green button")
#: What XML 1.0 cannot say, and line ends and tabs, which readers may change.
_UNSAYABLE = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

ElementTree.register_namespace("", ATOM)
ElementTree.register_namespace("espi", ESPI)


def green_button(meter: str, totals: Sequence[PeriodTotal], *, grid: str, author: str, updated_seconds: int) -> bytes:
    """The file, UTF-8. author: who hands it out; updated_seconds: now, seconds since 1970.

    ConfigurationError for a text that XML cannot say; OverflowError for a number that ESPI has no room for.
    """
    feed = _Feed(grid, meter, _time(updated_seconds))
    root = ElementTree.Element(f"{{{ATOM}}}feed")
    _text(root, ATOM, "id", feed.name("feed"))
    _text(root, ATOM, "title", f"Energy of {meter}")
    _text(root, ATOM, "updated", feed.updated)
    _text(ElementTree.SubElement(root, f"{{{ATOM}}}author"), ATOM, "name", author)
    point = f"RetailCustomer/{meter}/UsagePoint/1"
    _link(root, "self", f"RetailCustomer/{meter}")
    readings = sorted({(total.number, total.rule, total.duration_seconds) for total in totals})
    related = [f"{point}/MeterReading", "LocalTimeParameters/1"]
    content = feed.entry(root, point, f"Meter {meter}", "UsagePoint", related if readings else related[1:])
    _text(ElementTree.SubElement(content, f"{{{ESPI}}}ServiceCategory"), ESPI, "kind", _ELECTRICITY)
    _local_time(feed.entry(root, "LocalTimeParameters/1", "UTC", "LocalTimeParameters"))
    for number, rule, seconds in readings:
        place, kind = f"{point}/MeterReading/{number}-{seconds}", f"ReadingType/{number}-{seconds}"
        feed.entry(root, place, rule, "MeterReading", [f"{place}/IntervalBlock", kind])
        _reading_type(feed.entry(root, kind, "Energy of a period, Wh, feed-in negative", "ReadingType"), seconds)
        for total in totals:
            if (total.number, total.rule, total.duration_seconds) == (number, rule, seconds):
                href = f"{place}/IntervalBlock/{total.start_seconds}"
                _block(feed.entry(root, href, _said(total), "IntervalBlock"), total)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


class _Feed:
    """What every entry of a feed has."""

    def __init__(self, grid: str, meter: str, updated: str) -> None:
        self.updated, self._of = updated, f"{grid}/{meter}"

    def name(self, href: str) -> str:
        """The same for ever for the same thing."""
        return f"urn:uuid:{uuid.uuid5(_NAMES, f'{self._of}/{href}')}"

    def entry(
        self, root: ElementTree.Element, href: str, title: str, resource: str, related: Sequence[str] = ()
    ) -> ElementTree.Element:
        """The element of a resource, in an entry of its own."""
        entry = ElementTree.SubElement(root, f"{{{ATOM}}}entry")
        _text(entry, ATOM, "id", self.name(href))
        _link(entry, "self", href)
        _link(entry, "up", href.rpartition("/")[0])
        for other in related:
            _link(entry, "related", other)
        _text(entry, ATOM, "title", title)
        content = ElementTree.SubElement(entry, f"{{{ATOM}}}content", {"type": "application/xml"})
        _text(entry, ATOM, "updated", self.updated)
        return ElementTree.SubElement(content, f"{{{ESPI}}}{resource}")


def _local_time(element: ElementTree.Element) -> None:
    for name, value in (
        ("dstEndRule", _NO_SUMMER_TIME), ("dstOffset", 0), ("dstStartRule", _NO_SUMMER_TIME), ("tzOffset", 0),
    ):  # fmt: skip
        _text(element, ESPI, name, value)


def _reading_type(element: ElementTree.Element, seconds: int) -> None:
    """In the order of the schema."""
    for name, value in (
        ("accumulationBehaviour", _DELTA), ("commodity", _SECONDARY_METERED), ("dataQualifier", _NORMAL), ("flowDirection", _NET),
        ("intervalLength", seconds), ("kind", _ENERGY), ("powerOfTenMultiplier", 0), ("timeAttribute", _BILLING_PERIOD),
        ("uom", _WATT_HOURS),
    ):  # fmt: skip
        _text(element, ESPI, name, value)


def _block(element: ElementTree.Element, total: PeriodTotal) -> None:
    if not 0 < total.duration_seconds <= MOST_SECONDS:
        raise OverflowError(f"a period of {total.duration_seconds} seconds")
    _period(element, "interval", total)
    if total.watt_hours is None:
        return
    if abs(total.watt_hours) > MOST_WATT_HOURS:
        raise OverflowError("an amount of energy beyond 2^47 Wh")
    reading = ElementTree.SubElement(element, f"{{{ESPI}}}IntervalReading")
    quality = ElementTree.SubElement(reading, f"{{{ESPI}}}ReadingQuality")
    _text(quality, ESPI, "quality", _VALID if total.whole else _OTHER)
    _period(reading, "timePeriod", total)
    _text(reading, ESPI, "value", total.watt_hours)


def _period(element: ElementTree.Element, name: str, total: PeriodTotal) -> None:
    period = ElementTree.SubElement(element, f"{{{ESPI}}}{name}")
    _text(period, ESPI, "duration", total.duration_seconds)
    _text(period, ESPI, "start", total.start_seconds)


def _said(total: PeriodTotal) -> str:
    begin, end = _time(total.start_seconds), _time(total.start_seconds + total.duration_seconds)
    if total.watt_hours is None:
        return f"{begin} to {end}: no number: {total.reason or 'no reason was given'}"
    return f"{begin} to {end}: {total.rounds} of {total.of_rounds} rounds are in it"


def _time(seconds: int) -> str:
    return utc_text(dt.datetime.fromtimestamp(seconds, tz=dt.UTC))


def _text(parent: ElementTree.Element, namespace: str, name: str, text: object) -> None:
    said = str(text)
    if _UNSAYABLE.search(said):
        raise ConfigurationError(f"{name}: a control character, which a Green Button file cannot say")
    ElementTree.SubElement(parent, f"{{{namespace}}}{name}").text = said


def _link(parent: ElementTree.Element, rel: str, href: str) -> None:
    ElementTree.SubElement(parent, f"{{{ATOM}}}link", {"rel": rel, "href": href})
