"""Statements: every kind comes back, and no JSON whatever raises anything but MessageError."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushgrid.conducted.link_settings import BurstsSection, LinkStage, PartitionSection
from hushgrid.conducted.statements import Clock, Report
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.sealing import Identity
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.book import PlanBook
from hushgrid.plan.floors import Floors, check_head, check_roofs
from hushgrid.plan.head import EpochKey, Head, PpnEntry
from hushgrid.statements.audit import AuditHead
from hushgrid.statements.consent import Consent, ConsentAct
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
    check_certificate,
    countersign,
)
from hushgrid.statements.rules import RequestRule, RuleAnswer, WithdrawRule
from hushgrid.statements.sign_in import SignIn
from hushgrid.statements.statement import Body, Kinds, Statement
from hushgrid.wire.purpose import Purpose
from hushgrid.wire.role import Role

IDENTITIES = {n: Identity.from_bytes(bytes([n]) * 32) for n in range(1, 6)}


def head(version: int = 1, **changes) -> Head:
    ppns = tuple(
        PpnEntry(
            id=f"ppn-{n}", point=n, operator=changes.get("operator", f"o{n}"), identity=identity.public,
            key=EpochKey.sign(identity, "g", changes.get("epoch", 0), bytes([n]) * 32),
        )
        for n, identity in IDENTITIES.items()
    )  # fmt: skip
    content = {
        "grid": "g", "version": version, "previous": b"", "epoch": 0, "valid_from_round": 10, "interval_seconds": 1800, "threshold": 3,
        "width": 4, "modulus": 2**55 - 55, "slots": 1, "reading_bound_watt_hours": 1000, "recovery": "agree", "minimum_contributors": 15,
        "coverage_floor_fraction": 0.8, "ppns": ppns, "meters": 3, "parts": 1, "parts_root": b"r" * 32,
    }  # fmt: skip
    return Head(**(content | {k: v for k, v in changes.items() if k != "operator"}))


KEY = EpochKey.sign(IDENTITIES[1], "g", 0, b"a" * 32)
PAGE = DecisionPage(size=3, included=b"\x01", gaps=b"\x02", inconsistent=b"\x00")
WITHHELD = Withheld(rule=1, first_round=0, reason=WithheldReason.BELOW_MINIMUM)
CORE = DecisionCore(round=1, version=1, pages=(PAGE.digest,), punctual=(1, 2), withheld=(WITHHELD,))
BODIES = [
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
    Consent(grid="g", number=3, purpose=Purpose.RESEARCH, act=ConsentAct.REVOKE, at_seconds=1_700_000_000),
    SignIn(grid="g", challenge=b"c" * 40, at_seconds=1_700_000_000),
    AuditHead(grid="g", identity=IDENTITIES[1].public, entries=7, digest=b"d" * 32, at_seconds=1_700_000_000),
    Card(grid="g", key=KEY),
    PublishedHead(head=head()),
    Clock(metered_through=4, frozen_through=-1),
    Clock(
        metered_through=6,
        frozen_through=4,
        link=(
            LinkStage(from_round=5, loss_fraction=0.1, bursts=BurstsSection(enter_fraction=0.1, leave_fraction=0.5)),
            LinkStage(
                from_round=9, partitions=(PartitionSection(one="ppn-1", other="*", first_round=9, until_round=12),)
            ),
        ),
    ),
]


EVERY_KIND = Kinds(*dict.fromkeys(map(type, BODIES)))


def test_every_kind_of_statement_is_tried():
    spoken = {kind for kind in Body.__subclasses__() if kind.__module__.startswith("hushgrid.")}
    assert set(map(type, BODIES)) == spoken
    assert len({body.kind for body in BODIES}) == len(spoken)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.kind)
def test_a_statement_comes_back_and_is_its_senders(body):
    wire = Statement(sender="a", recipient="b", sequence=1, body=body).to_bytes(IDENTITIES[1])
    statement, signed = Statement.from_bytes(wire, EVERY_KIND)
    assert statement.body == body
    signed.check(IDENTITIES[1].public)
    with pytest.raises(MessageError):
        signed.check(IDENTITIES[2].public)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("9" * 5000)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def replaced(content, path, value):
    if not path:
        return value
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


def paths(content, here=()):
    yield here
    steps = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for step, inner in steps:
        yield from paths(inner, (*here, step))


@given(st.sampled_from(BODIES), st.data(), values)
def test_a_statement_with_anything_anywhere_raises_nothing_but_a_message_error(body, data, value):
    content = json.loads(Statement(sender="a", recipient="b", sequence=1, body=body).to_json())
    path = data.draw(st.sampled_from(list(paths(content))))
    wire = b"\x01" + bytes(64) + json.dumps(replaced(content, path, value)).encode()
    try:
        statement, signed = Statement.from_bytes(wire, EVERY_KIND)
    except MessageError:
        return
    with pytest.raises(MessageError):
        signed.check(IDENTITIES[1].public)
    assert statement


def test_an_unknown_kind_is_named_as_such():
    wire = b"\x01" + bytes(64) + b'{"sender":"a","recipient":"b","sequence":0,"body":{"kind":"price-signal"}}'
    with pytest.raises(MessageError) as refusal:
        Statement.from_bytes(wire, EVERY_KIND)
    assert refusal.value.reason is RejectReason.UNKNOWN_KIND


@pytest.mark.parametrize("kinds", [Kinds(Clock), Kinds(Card, PublishedHead)])
def test_a_kind_that_the_reader_does_not_hear_is_unknown_to_it(kinds):
    wire = Statement(sender="a", recipient="b", sequence=1, body=KeysKnown(epoch=1)).to_bytes(IDENTITIES[1])
    with pytest.raises(MessageError) as refusal:
        Statement.from_bytes(wire, kinds)
    assert refusal.value.reason is RejectReason.UNKNOWN_KIND


@pytest.mark.parametrize(
    ("points", "enough"), [((1, 2), False), ((1, 2, 3), True), ((1, 1, 2), False), ((1, 2, 3, 4, 5), True)]
)
def test_a_certificate_needs_more_than_half_of_all_ppns(points, enough):
    signatures = tuple((n, countersign(IDENTITIES[n], 7, n, b"d" * 32).signature) for n in points)
    certificate = ReleaseCertificate(round=7, digest=b"d" * 32, signatures=signatures)
    if enough:
        check_certificate(certificate, head())
        for changed in ({"round": 8}, {"digest": b"e" * 32}):
            with pytest.raises(MessageError):
                check_certificate(certificate.model_copy(update=changed), head())
    else:
        with pytest.raises(MessageError):
            check_certificate(certificate, head())


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 5},
        {"threshold": 2},
        {"modulus": 2**55},
        {"modulus": 3},
        {"width": 6},
        {"epoch": 1, "ppns": head().ppns},
    ],
)
def test_an_unsound_head_is_refused(changes):
    with pytest.raises(ValueError, match=r"threshold|modulus|epoch"):
        head(**changes)


def test_an_agent_refuses_a_head_below_its_floors():
    check_head(head(), Floors(3, 15))
    pinned = Floors(3, 15, (("ppn-1", IDENTITIES[2].public),))
    for floors in (Floors(4, 15), Floors(3, 16), pinned):
        with pytest.raises(MessageError) as refusal:
            check_head(head(), floors)
        assert refusal.value.reason is RejectReason.BELOW_FLOOR
    forged = head().ppns[0].model_copy(update={"key": EpochKey.sign(IDENTITIES[2], "g", 0, b"x" * 32)})
    with pytest.raises(MessageError):
        check_head(head().model_copy(update={"ppns": (forged, *head().ppns[1:])}), Floors())


def test_a_meter_refuses_to_give_one_operator_t_shares():
    check_roofs(head(), (1, 2, 3, 4))
    with pytest.raises(MessageError, match="would hold 4 shares"):
        check_roofs(head(operator="one"), (1, 2, 3, 4))
    check_roofs(head(operator="one"), (1, 2))


def test_plans_only_rise_and_a_round_keeps_its_own():
    book: PlanBook[str] = PlanBook()
    book.add(head(1), "first")
    book.add(head(2, valid_from_round=20), "second")
    assert book.in_force(9) is None
    assert [book.in_force(r)[1] for r in (10, 19, 20, 99)] == ["first", "first", "second", "second"]
    book.add(head(2, valid_from_round=20), "again")
    for bad in (head(1), head(2, valid_from_round=21), head(3, valid_from_round=5)):
        with pytest.raises(MessageError) as refusal:
            book.add(bad, "bad")
        assert refusal.value.reason is RejectReason.ROLLED_BACK
