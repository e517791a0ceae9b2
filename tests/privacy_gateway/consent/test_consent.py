"""Consent: the meter's hand is the truth, numbers only rise, and what was taken back is never answered about."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hushgrid.core.sealing import Identity
from hushgrid.errors import JournalError, MessageError, RejectReason
from hushgrid.statements.consent import Consent, ConsentAct
from hushgrid.statements.lines import line_of, wire_of
from hushgrid.statements.statement import Statement
from hushgrid.wire.purpose import CONSENTED, Purpose
from privacy_gateway.consent.state import HomeConsents, covered, rests_on
from privacy_gateway.consent.statements import read_consent
from privacy_gateway.consent.store import HeardConsents

METERS = {name: Identity.from_bytes(bytes([place]) * 32) for place, name in enumerate(["m1", "m2"], start=1)}
KEYS = {name: identity.public for name, identity in METERS.items()}
GRANT, REVOKE = ConsentAct.GRANT, ConsentAct.REVOKE


def consent(number: int, act: ConsentAct, purpose: Purpose = Purpose.RESEARCH, grid: str = "hushgrid") -> Consent:
    return Consent(grid=grid, number=number, purpose=purpose, act=act, at_seconds=number)


def wire(
    body: Consent, meter: str = "m1", signer: str = "", recipient: str = "*", sequence: int | None = None
) -> bytes:
    number = body.number if sequence is None else sequence
    said = Statement(sender=meter, recipient=recipient, sequence=number, body=body)
    return said.to_bytes(METERS[signer or meter])


def after(*said: Consent) -> HomeConsents:
    home = HomeConsents()
    for one in said:
        home = home.after(one)
    return home


def refused(home: HomeConsents, said: Consent) -> RejectReason:
    with pytest.raises(MessageError) as error:
        home.after(said)
    return error.value.reason


def test_a_home_that_has_said_nothing_is_covered_for_primary_purposes_only():
    silent = HomeConsents()
    assert [purpose for purpose in Purpose if silent.grants(purpose)] == [
        Purpose.BILLING,
        Purpose.OPERATIONS,
        Purpose.PROGRAMMES,
    ]


def test_the_latest_number_wins_and_each_purpose_is_by_itself():
    home = after(consent(1, GRANT), consent(2, GRANT, Purpose.STATISTICS), consent(3, REVOKE))
    assert not home.grants(Purpose.RESEARCH)
    assert home.grants(Purpose.STATISTICS)
    assert home.after(consent(4, GRANT)).grants(Purpose.RESEARCH)


def test_what_was_heard_changes_nothing_any_more():
    home = after(consent(1, GRANT), consent(2, REVOKE), consent(3, REVOKE, Purpose.SERVICES))
    for old in (consent(1, GRANT), consent(2, REVOKE), consent(3, REVOKE, Purpose.SERVICES)):
        assert refused(home, old) is RejectReason.REPLAYED
    for other in (consent(2, GRANT), consent(3, GRANT)):
        assert refused(home, other) is RejectReason.CONFLICTING


def test_a_grant_over_a_gap_is_refused_until_the_gap_is_heard():
    home = after(consent(1, REVOKE))
    assert refused(home, consent(3, GRANT)) is RejectReason.MISSING_BEFORE
    assert home.after(consent(2, GRANT, Purpose.SERVICES)).after(consent(3, GRANT)).grants(Purpose.RESEARCH)


def test_a_revocation_holds_at_once_over_a_gap_and_stays_when_the_gap_is_heard():
    home = after(consent(1, GRANT), consent(4, REVOKE))
    assert not home.grants(Purpose.RESEARCH)
    assert home.missing == (2, 3)
    home = home.after(consent(2, GRANT, Purpose.SERVICES)).after(consent(3, GRANT))
    assert not home.grants(Purpose.RESEARCH), "number 3 is older than number 4"
    assert home.grants(Purpose.SERVICES)
    assert (home.through, home.missing) == (4, ())


def test_under_a_number_that_was_used_before_a_revocation_holds_and_a_grant_does_not():
    """A meter whose disk was put back from yesterday."""
    home = after(consent(1, GRANT, Purpose.SERVICES), consent(2, REVOKE), consent(3, GRANT))
    assert not home.after(consent(3, REVOKE)).grants(Purpose.RESEARCH)
    assert refused(home, consent(2, GRANT, Purpose.STATISTICS)) is RejectReason.CONFLICTING
    revoked = home.after(consent(1, REVOKE))
    assert not revoked.grants(Purpose.RESEARCH), "though a grant was heard under number 3"
    assert revoked.grants(Purpose.SERVICES)
    again = revoked.after(consent(4, GRANT))
    assert again.grants(Purpose.RESEARCH)
    assert refused(again, consent(1, REVOKE)) is RejectReason.REPLAYED
    assert refused(again, consent(2, REVOKE)) is RejectReason.REPLAYED


acts = st.lists(st.tuples(st.sampled_from(CONSENTED[:2]), st.sampled_from(ConsentAct)), min_size=1, max_size=6)


@settings(max_examples=50)
@given(acts, st.data())
def test_in_whatever_order_they_arrive_it_comes_to_what_was_said_and_never_covers_what_was_taken_back(said, data):
    statements = [consent(number, act, purpose) for number, (purpose, act) in enumerate(said, start=1)]
    arriving = data.draw(st.lists(st.sampled_from(statements), max_size=20))
    home, heard = HomeConsents(), set()
    for one in arriving:
        with contextlib.suppress(MessageError):
            home = home.after(one)
        heard.add((one.number, one.purpose, one.act))
        for purpose in CONSENTED:
            if home.grants(purpose):
                number = home.said[purpose][0]
                assert (number, purpose, GRANT) in heard
                assert not [n for n, p, act in heard if (p, act) == (purpose, REVOKE) and n > number]
    for one in statements:  # all of them once more, in order
        with contextlib.suppress(MessageError):
            home = home.after(one)
    assert {p for p in CONSENTED if home.grants(p)} == {p for p, act in dict(said).items() if act is GRANT}
    assert (home.through, home.missing) == (len(said), ())


def test_every_order_of_three_is_the_model_of_it():
    """All that three statements of one purpose can be, in every order: granted where a grant is the last of what was heard in order."""
    for kinds in itertools.product(ConsentAct, repeat=3):
        for order in itertools.permutations(range(1, 4)):
            home, through, revoked, granted = HomeConsents(), 0, 0, 0
            heard: set[int] = set()
            for number in order:
                act = kinds[number - 1]
                if act is REVOKE:
                    revoked = max(revoked, number)
                    heard.add(number)
                elif number == through + 1:
                    granted = max(granted, number)
                    heard.add(number)
                while through + 1 in heard:
                    through += 1
                with contextlib.suppress(MessageError):
                    home = home.after(consent(number, act))
                assert home.grants(Purpose.RESEARCH) == (granted > revoked), (kinds, order, number)


def test_who_may_be_covered_and_what_an_answer_rests_on():
    homes = {"m1": after(consent(1, GRANT)), "m2": after(consent(1, REVOKE))}
    three = ["m1", "m2", "m3"]
    assert covered(Purpose.RESEARCH, three, homes) == {"m1"}
    assert covered(Purpose.BILLING, three, homes) == set(three)
    later = {"m1": after(consent(1, GRANT), consent(2, REVOKE), consent(3, GRANT))}
    assert rests_on(Purpose.RESEARCH, ["m1"], homes) != rests_on(Purpose.RESEARCH, ["m1"], later)
    assert rests_on(Purpose.BILLING, three, homes) == rests_on(Purpose.BILLING, [*reversed(three), "m1"], {})
    for home in ("m2", "m3"):
        with pytest.raises(KeyError):
            rests_on(Purpose.RESEARCH, [home], homes)


@pytest.mark.parametrize("purpose", [purpose for purpose in Purpose if purpose.primary])
def test_no_consent_can_be_about_a_primary_purpose(purpose):
    with pytest.raises(ValidationError):
        consent(1, REVOKE, purpose)


def test_a_consent_is_read_in_its_meters_hand_only():
    good = wire(consent(1, GRANT))
    assert read_consent(good, "hushgrid", KEYS) == ("m1", consent(1, GRANT))
    assert wire_of(line_of(good)) == good
    for bad, reason in [
        (wire(consent(1, GRANT), signer="m2"), RejectReason.BAD_SIGNATURE),
        (good.replace(b'"grant"', b'"revoke"'), RejectReason.BAD_SIGNATURE),
        (good.replace(b'"number":1', b'"number":2'), RejectReason.BAD_SIGNATURE),
        (wire(consent(1, GRANT, grid="elsewhere")), RejectReason.WRONG_RECIPIENT),
        (wire(consent(1, GRANT), sequence=2), RejectReason.MALFORMED),
        (wire(consent(1, GRANT), recipient="gateway"), RejectReason.MALFORMED),
        (good.replace(b'"m1"', b'"m3"'), RejectReason.UNKNOWN_SENDER),
        (good.replace(b'"research"', b'"billing"'), RejectReason.MALFORMED),
        (good.replace(b'"consent"', b'"card"'), RejectReason.UNKNOWN_KIND),
        (good[:60], RejectReason.MALFORMED),
    ]:
        with pytest.raises(MessageError) as error:
            read_consent(bad, "hushgrid", KEYS)
        assert error.value.reason is reason, bad


@pytest.mark.parametrize("line", [b"", b"1", b"1 00 {}", b"x" * 300, b"300 " + b"0" * 128 + b" {}"])
def test_a_line_that_is_no_statement_is_refused(line):
    with pytest.raises(MessageError):
        wire_of(line)


def test_another_spelling_of_a_line_is_refused():
    line = line_of(wire(consent(1, GRANT)))
    for other in (line.upper(), b" " + line, line.replace(b" ", b"  ", 1), b"0" + line, line + b"\n", line[:-2]):
        with contextlib.suppress(MessageError):
            assert read_consent(wire_of(other), "hushgrid", KEYS) is None, other
    assert read_consent(wire_of(line[:-1]), "hushgrid", KEYS)[0] == "m1", "with or without its end"


def test_what_was_heard_holds_after_a_restart_and_what_was_refused_does_not(tmp_path):
    store = HeardConsents(tmp_path / "consents.sqlite", grid="hushgrid", identities=KEYS)
    meter, said, digest = store.hear(wire(consent(1, GRANT)))
    assert (meter, said, len(digest)) == ("m1", consent(1, GRANT), 32)
    store.hear(wire(consent(1, GRANT, Purpose.SERVICES), "m2"))
    for bad in (wire(consent(1, GRANT)), wire(consent(3, GRANT)), wire(consent(2, REVOKE), signer="m2")):
        with pytest.raises(MessageError):
            store.hear(bad)
    before = store.homes
    store.close()
    store = HeardConsents(tmp_path / "consents.sqlite", grid="hushgrid", identities=KEYS)
    assert store.homes == before
    store.close()
    fewer = HeardConsents(tmp_path / "consents.sqlite", grid="hushgrid", identities={"m1": KEYS["m1"]})
    assert set(fewer.homes) == {"m1"}, "whose meter is not known any more has said nothing"
    fewer.close()


def test_a_store_whose_statements_were_changed_is_not_opened(tmp_path):
    path = tmp_path / "consents.sqlite"
    store = HeardConsents(path, grid="hushgrid", identities=KEYS)
    store.hear(wire(consent(1, REVOKE)))
    store.close()
    path.write_bytes(path.read_bytes().replace(b'"act":"revoke"', b'"act":"grant" '))
    with pytest.raises(JournalError, match="consent 1 in the order of arrival: bad-signature"):
        HeardConsents(path, grid="hushgrid", identities=KEYS)
