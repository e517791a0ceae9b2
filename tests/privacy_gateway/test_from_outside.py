"""Whatever comes from outside is taken in or refused by name: nothing else can happen. And the meter's own word arrives."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hushgrid.core.sealing import Identity
from hushgrid.errors import HushgridError, MessageError, RejectReason
from hushgrid.statements.consent import ConsentAct
from hushgrid.statements.lines import line_of, wire_of
from hushgrid.wire.purpose import Purpose
from meter_agent.consent.book import Consents
from privacy_gateway.audit.chain import START, verify
from privacy_gateway.audit.entries import LoggedApproval, read_entry
from privacy_gateway.audit.heads import read_head, signed_head
from privacy_gateway.consent.state import covered
from privacy_gateway.consent.statements import read_consent
from privacy_gateway.consent.store import HeardConsents
from privacy_gateway.export.bills import read_bills
from privacy_gateway.vault.pseudonyms import pseudonym_of

METER = Identity.from_bytes(b"\x05" * 32)
HEAD = signed_head(START, METER, gateway="gateway", grid="hushgrid", at_seconds=1)
nested = st.integers(1, 3000).map(lambda depth: b"[" * depth)


@settings(max_examples=60)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | nested, st.integers(0, len(HEAD)))
def test_any_bytes_are_refused_by_name(content, at):
    spliced = HEAD[:at] + content + HEAD[at:]
    with contextlib.suppress(MessageError):
        assert line_of(wire_of(spliced)).removesuffix(b"\n") == spliced.removesuffix(b"\n"), "one spelling"
    for read in (
        read_head,
        read_entry,
        lambda wire: read_consent(wire, "hushgrid", {}),
        lambda line: read_bills([line], "m0001", 900),
        lambda line: verify([line]),
    ):
        for what in (content, spliced if content else content + b"x"):
            with contextlib.suppress(HushgridError):
                assert not read(what), "nothing of this kind is to be read there"


def test_a_text_that_no_json_can_say_is_no_entry():
    home = pseudonym_of(bytes(32), "m0001")
    people = {"asker": "ann", "approver": "bob", "home": home, "purpose": Purpose.BILLING}
    assert LoggedApproval(at_seconds=1, wanted="why", **people).home == home
    with pytest.raises(ValidationError):
        LoggedApproval(at_seconds=1, wanted="\ud800", **people)


def test_what_a_meter_says_is_heard_also_after_its_disk_was_put_back(tmp_path: Path):
    def book(folder: str) -> Consents:
        (tmp_path / folder).mkdir(exist_ok=True)
        return Consents(tmp_path / folder, grid="hushgrid", meter="m0001", identity=METER)

    gateway = HeardConsents(tmp_path / "heard.sqlite", grid="hushgrid", identities={"m0001": METER.public})

    def may() -> bool:
        return covered(Purpose.RESEARCH, ["m0001"], gateway.homes) == {"m0001"}

    meter = book("state")
    for act, after in [(ConsentAct.GRANT, True), (ConsentAct.REVOKE, False), (ConsentAct.GRANT, True)]:
        gateway.hear(wire_of(line_of(meter.say(Purpose.RESEARCH, act, 1))))
        assert may() is after
    back = book("yesterday")
    gateway.hear(back.say(Purpose.RESEARCH, ConsentAct.REVOKE, 2))
    assert not may(), "number 1 again, and it takes back what was granted under number 3"
    with pytest.raises(MessageError) as refused:
        gateway.hear(back.say(Purpose.RESEARCH, ConsentAct.GRANT, 3))
    assert refused.value.reason is RejectReason.CONFLICTING
    assert "heard up to 3" in str(refused.value)
    gateway.hear(back.say(Purpose.RESEARCH, ConsentAct.GRANT, 4, above=3))
    assert may()
    for store in (meter, back, gateway):
        store.close()
