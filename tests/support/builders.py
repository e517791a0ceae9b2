"""Constructions that several test modules share. Everything is fixed: keys are counted bytes, nothing is drawn."""

from __future__ import annotations

from hushgrid.conducted.statements import Clock, Report
from hushgrid.core.field import MODULI, Field
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.sealing import Identity
from hushgrid.plan.head import EpochKey, Head, PpnEntry
from hushgrid.statements.joining import AnnounceKeys, Card, Enrol, Enrolled, KeysKnown, Refusal
from hushgrid.statements.masked import MaskedClosing, MaskedRoster
from hushgrid.statements.plans import NoPart, PartPage, PublishedHead, RequestHead, RequestParts
from hushgrid.statements.rounds import (
    DecisionCore,
    DecisionMessage,
    DecisionPage,
    Forgotten,
    Observation,
    ReleaseCertificate,
    RosterPage,
    Withheld,
    countersign,
)
from hushgrid.statements.rules import RequestRule, RuleAnswer, WithdrawRule
from hushgrid.wire.role import Role

FIELD = Field(MODULI[0])
IDENTITIES = {n: Identity.from_bytes(bytes([n]) * 32) for n in range(1, 6)}


def ppn_entries(*, epoch: int = 0, operator: str | None = None) -> tuple[PpnEntry, ...]:
    """Five PPNs at points 1 to 5, each of its own operator unless one is given for all."""
    return tuple(
        PpnEntry(
            id=f"ppn-{n}",
            point=n,
            operator=operator or f"o{n}",
            identity=identity.public,
            key=EpochKey.sign(identity, "g", epoch, bytes([n]) * 32),
        )
        for n, identity in IDENTITIES.items()
    )


def head(version: int = 1, *, operator: str | None = None, **changes) -> Head:
    """A sound head, but for the changes."""
    content = {
        "grid": "g",
        "version": version,
        "previous": b"",
        "epoch": 0,
        "valid_from_round": 10,
        "interval_seconds": 1800,
        "threshold": 3,
        "width": 4,
        "modulus": FIELD.modulus,
        "slots": 1,
        "reading_bound_watt_hours": 1000,
        "recovery": "agree",
        "minimum_contributors": 15,
        "coverage_floor_fraction": 0.8,
        "ppns": ppn_entries(epoch=changes.get("epoch", 0), operator=operator),
        "meters": 3,
        "parts": 1,
        "parts_root": b"r" * 32,
    }
    return Head(**(content | changes))


KEY = EpochKey.sign(IDENTITIES[1], "g", 0, b"a" * 32)
PAGE = DecisionPage(size=3, included=b"\x01", gaps=b"\x02", inconsistent=b"\x00")
WITHHELD = Withheld(rule=1, first_round=0, reason=WithheldReason.BELOW_MINIMUM)
CORE = DecisionCore(round=1, version=1, pages=(PAGE.digest,), punctual=(1, 2), withheld=(WITHHELD,))

#: One statement of every kind there is.
BODIES = (
    Enrol(role=Role.PPN, token="t" * 20, identity=IDENTITIES[1].public, operator="o", keys=(KEY,)),
    Enrolled(number=3, epoch=1),
    AnnounceKeys(keys=(KEY,)),
    KeysKnown(epoch=1),
    Refusal(of="enrol", reason="no"),
    RequestRule(name="r", cohort="all", window_rounds=2),
    WithdrawRule(name="r"),
    RuleAnswer(name="r", state="refused", reason="no", because_of=("a",)),
    RequestParts(version=1, agents=("m1",)),
    RequestHead(version=1),
    PartPage(version=1, recipient="m1", page=0, pages=1, leaf=0, path=(b"x" * 32, b""), part="{}"),
    NoPart(version=1, recipient="m1"),
    RosterPage(
        round=1, version=1, point=1, page=0, pages=1, size=3, readings=b"\x01", gaps=b"\x02", tags=b"12345678abcdefgh"
    ),
    DecisionMessage(core=CORE, signature=b"s" * 64, index=0, page=PAGE),
    countersign(IDENTITIES[1], 1, 1, b"d" * 32),
    ReleaseCertificate(round=1, digest=b"d" * 32, signatures=((1, b"s" * 64),)),
    Observation(rule=1, first_round=10, right=(1, 2, 3), wrong=(4,)),
    Forgotten(through=7),
    Report(role=Role.PPN, figures={"a": 1}),
    MaskedRoster(stream=1, round=10, version=1, missing=(3,)),
    MaskedClosing(stream=1, round=10, graph=b"g" * 32, absent=(3,), signature=b"s" * 64),
    Card(grid="g", key=KEY),
    PublishedHead(head=head()),
    Clock(metered_through=4, frozen_through=-1),
)
