"""Every topic name of the system, built and parsed here only (docs/protocol.md, section Topics).

    hushgrid/1/<grid>/<channel>[/<recipient>]/<sender>

Every part matches [a-z0-9_-]; grid names one installation; recipient and sender are rotating pseudonyms, never a serial
number. A topic ends in its sender, which is the sender's MQTT user name, so that a broker's access rule can be a pattern.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from hushgrid.errors import MessageError, RejectReason

ROOT = "hushgrid/1"
_PART = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)


class Channel(enum.StrEnum):
    """What a topic carries. `addressed` channels have a recipient, the others are read by everybody."""

    SHARE = "share"  # meter -> PPN: envelopes
    RECEIPT = "receipt"  # PPN -> meter, consumer -> PPN: receipts
    AGGREGATE = "aggregate"  # PPN -> consumer: aggregate shares
    MASKED = "masked"  # meter -> consumer: masked readings, openings; consumer -> meter: receipts, requests to open
    PAIR = "pair"  # meter -> meter: what a pair agrees on
    CONTROL = "control"  # agent <-> configurator: sealed statements
    CARD = "card"  # configurator -> all, retained: its key of the epoch
    HEAD = "head"  # configurator -> all, retained: the plan's signed head
    CLOCK = "clock"  # conductor -> all, retained: pace of a testbed's compressed rounds
    STATUS = "status"  # agent -> configurator, retained, last will: here or gone
    PRESENCE = "presence"  # PPN -> all, retained, last will: the same of a PPN

    @property
    def addressed(self) -> bool:
        """True when the topic names its recipient."""
        return self in _ADDRESSED


_ADDRESSED = frozenset(
    {Channel.SHARE, Channel.RECEIPT, Channel.AGGREGATE, Channel.MASKED, Channel.PAIR, Channel.CONTROL}
)


@dataclass(frozen=True, slots=True)
class Topic:
    """One parsed topic; recipient is None on the channels that everybody reads."""

    grid: str
    channel: Channel
    recipient: str | None
    sender: str

    def __str__(self) -> str:
        parts = [ROOT, self.grid, self.channel.value]
        if self.recipient is not None:
            parts.append(self.recipient)
        return "/".join((*parts, self.sender))


def check_part(part: str) -> str:
    """The part itself; ValueError unless it matches [a-z0-9_-]{1,64}."""
    if not _PART.fullmatch(part):
        raise ValueError(f"{part!r} is no topic part: only a-z, 0-9, _ and - are allowed, 1 to 64 of them")
    return part


def topic(grid: str, channel: Channel, sender: str, recipient: str | None = None) -> str:
    """The topic's name. ValueError when a part is not allowed, or a recipient is given or missing against the channel."""
    if channel.addressed != (recipient is not None):
        raise ValueError(f"channel {channel.value}: recipient given or missing")
    for part in (grid, sender, *(() if recipient is None else (recipient,))):
        check_part(part)
    return str(Topic(grid, channel, recipient, sender))


def inbox(grid: str, channel: Channel, recipient: str | None = None) -> str:
    """The subscription filter for one channel: from any sender, to this recipient on addressed channels."""
    if channel.addressed != (recipient is not None):
        raise ValueError(f"channel {channel.value}: recipient given or missing")
    for part in (grid, *(() if recipient is None else (recipient,))):
        check_part(part)
    middle = f"{channel.value}/{recipient}" if recipient is not None else channel.value
    return f"{ROOT}/{grid}/{middle}/+"


def parse(name: str) -> Topic:
    """The parts of a topic name; MessageError(MALFORMED) when it is none of ours."""
    parts = name.split("/")
    if "/".join(parts[:2]) != ROOT or len(parts) not in (5, 6) or not all(_PART.fullmatch(part) for part in parts):
        raise MessageError(RejectReason.MALFORMED, "topic")
    try:
        channel = Channel(parts[3])
    except ValueError:
        raise MessageError(RejectReason.UNKNOWN_KIND, "topic") from None
    if channel.addressed != (len(parts) == 6):
        raise MessageError(RejectReason.MALFORMED, "topic")
    return Topic(parts[2], channel, parts[4] if channel.addressed else None, parts[-1])
