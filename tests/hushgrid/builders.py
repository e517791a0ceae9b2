"""Constructions that several test modules share. Everything is fixed: keys are counted bytes, nothing is drawn."""

from __future__ import annotations

from hushgrid import control
from hushgrid.control import Certificate, Role, countersign
from hushgrid.field import MODULI, Field
from hushgrid.messages import WithheldReason
from hushgrid.plan import EpochKey, Head, PpnEntry
from hushgrid.sealing import Identity

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
PAGE = control.DecisionPage(size=3, included=b"\x01", gaps=b"\x02", inconsistent=b"\x00")
WITHHELD = control.Withheld(rule=1, first_round=0, reason=WithheldReason.BELOW_MINIMUM)
CORE = control.DecisionCore(round=1, version=1, pages=(PAGE.digest,), punctual=(1, 2), withheld=(WITHHELD,))

#: One statement of every kind there is.
BODIES = (
    control.Enrol(role=Role.PPN, token="t" * 20, identity=IDENTITIES[1].public, operator="o", keys=(KEY,)),
    control.Enrolled(number=3, epoch=1),
    control.AnnounceKeys(keys=(KEY,)),
    control.KeysKnown(epoch=1),
    control.Refusal(of="enrol", reason="no"),
    control.RequestRule(name="r", cohort="all", window_rounds=2),
    control.WithdrawRule(name="r"),
    control.RuleAnswer(name="r", state="refused", reason="no", because_of=("a",)),
    control.RequestParts(version=1, agents=("m1",)),
    control.RequestHead(version=1),
    control.PartPage(version=1, recipient="m1", page=0, pages=1, leaf=0, path=(b"x" * 32, b""), part="{}"),
    control.NoPart(version=1, recipient="m1"),
    control.RosterPage(
        round=1, version=1, point=1, page=0, pages=1, size=3, readings=b"\x01", gaps=b"\x02", tags=b"12345678abcdefgh"
    ),
    control.DecisionMessage(core=CORE, signature=b"s" * 64, index=0, page=PAGE),
    countersign(IDENTITIES[1], 1, 1, b"d" * 32),
    Certificate(round=1, digest=b"d" * 32, signatures=((1, b"s" * 64),)),
    control.Observation(rule=1, first_round=10, right=(1, 2, 3), wrong=(4,)),
    control.Forgotten(through=7),
    control.Report(role=Role.PPN, figures={"a": 1}),
    control.MaskedRoster(stream=1, round=10, version=1, missing=(3,)),
    control.MaskedClosing(stream=1, round=10, graph=b"g" * 32, absent=(3,), signature=b"s" * 64),
    control.Card(grid="g", key=KEY),
    control.PublishedHead(head=head()),
    control.Clock(metered_through=4, frozen_through=-1),
)
