"""An audit log: what was changed is found, whatever it is and wherever, and against a head also what is not there any more."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hushgrid.core.sealing import Identity
from hushgrid.errors import MessageError, RejectReason
from hushgrid.statements.consent import ConsentAct
from hushgrid.wire.purpose import Purpose
from privacy_gateway.audit.chain import MAX_LINE_BYTES, START, ChainHead, DamagedLogError, linked, verify
from privacy_gateway.audit.entries import (
    AuditEntry,
    LoggedAnswer,
    LoggedApproval,
    LoggedCharge,
    LoggedConsent,
    LoggedDisclosure,
    LoggedQuestion,
    LoggedRefusal,
    LoggedTear,
    read_entry,
)
from privacy_gateway.audit.heads import read_head, signed_head

ONE, TWO = b"\x01" * 32, b"\x02" * 32
HOME = "abcdefghijklmnopqrstuvwxy7"
ENTRIES: list[AuditEntry] = [
    LoggedQuestion(at_seconds=1, question=ONE, asker="lab", purpose=Purpose.RESEARCH, statistic="sum", homes=20),
    LoggedCharge(at_seconds=1, question=ONE, budget="lab", epsilon="3/10", rho="0"),
    LoggedAnswer(
        at_seconds=2, question=ONE, answer=TWO, asker="lab", purpose=Purpose.RESEARCH, consents=TWO, code="0.1.0"
    ),
    LoggedRefusal(at_seconds=3, question=TWO, asker="shop", reason="differencing"),
    LoggedConsent(at_seconds=4, purpose=Purpose.RESEARCH, act=ConsentAct.REVOKE, statement=ONE),
    LoggedApproval(
        at_seconds=5, asker="ann", approver="bob", home=HOME, purpose=Purpose.BILLING, wanted='a "disputed" bill, é\n'
    ),
    LoggedDisclosure(
        at_seconds=6, home=HOME, recipient="ann", purpose=Purpose.BILLING, what="bills", content=ONE
    ),
    LoggedTear(at_seconds=7, length=12, content=TWO),
]  # fmt: skip


def written(entries: list[AuditEntry] = ENTRIES) -> tuple[list[bytes], list[ChainHead]]:
    """The lines, and the head behind each of them; the empty one first."""
    heads, lines = [START], []
    for entry in entries:
        head, line = linked(heads[-1], entry)
        heads.append(head)
        lines.append(line)
    return lines, heads


LINES, HEADS = written()
LOG = b"".join(LINES)


def found(log: bytes, head: ChainHead = HEADS[-1]) -> str:
    """What is said of a log; "" where nothing is."""
    try:
        verify(io.BytesIO(log), [head])
    except DamagedLogError as error:
        return str(error)
    return ""


def test_a_log_that_is_whole_gives_its_head_and_every_entry_back():
    assert verify(LINES, HEADS) == HEADS[-1]
    assert [read_entry(json.dumps(json.loads(line)["entry"]).encode()) for line in LINES] == ENTRIES
    assert verify([]) == START


def test_the_hashes_are_those_that_the_page_says():
    before = START.digest
    for line in LINES:
        content = line[len(b'{"entry":') : -len(b',"hash":""}\n') - 64]
        before = hashlib.sha256(before + content).digest()
        assert json.loads(line)["hash"] == before.hex()
    assert before == HEADS[-1].digest


def test_every_bit_of_every_byte_counts_without_any_head():
    """Of the first three entries: what a bit means is the same in all. Only b"\\n" ends a line."""
    whole = bytearray(b"".join(LINES[:3]))
    for at in range(len(whole)):
        for bit in range(8):
            whole[at] ^= 1 << bit
            with pytest.raises(DamagedLogError):
                verify(io.BytesIO(whole))
            whole[at] ^= 1 << bit


@given(st.integers(0, len(LOG)), st.integers(0, 20), st.binary(max_size=20))
def test_whatever_is_put_in_the_place_of_whatever_is_found_against_a_head(at, length, put):
    changed = LOG[:at] + put + LOG[at + length :]
    if changed != LOG:
        assert found(changed)


def test_the_log_cut_off_at_any_byte_is_found_against_its_head():
    assert [at for at in range(len(LOG)) if not found(LOG[:at])] == []


def test_no_entry_can_be_dropped_doubled_or_swapped():
    for at in range(len(LINES)):
        assert found(b"".join(LINES[:at] + LINES[at + 1 :])), f"without entry {at + 1}"
        assert found(b"".join([*LINES[: at + 1], *LINES[at:]])), f"entry {at + 1} twice"
        for other in range(at):
            swapped = LINES.copy()
            swapped[at], swapped[other] = swapped[other], swapped[at]
            assert found(b"".join(swapped)), f"entries {at + 1} and {other + 1} swapped"


def test_without_a_head_only_the_end_may_be_missing():
    for kept in range(len(LINES)):
        assert verify(LINES[:kept]) == HEADS[kept]


def test_an_older_copy_that_was_written_on_is_found_against_every_head_that_it_does_not_have():
    older, heads = written([*ENTRIES[:3], LoggedTear(at_seconds=9, length=1, content=ONE), *ENTRIES[3:]])
    assert verify(older, HEADS[:4]) == heads[-1]
    for head in HEADS[4:]:
        with pytest.raises(DamagedLogError, match=f"entries 1 to {head.entries} are not those"):
            verify(older, [head])


def test_two_heads_of_one_length_and_two_hashes_cannot_both_be_continued():
    with pytest.raises(DamagedLogError, match="are not those"):
        verify(LINES, [HEADS[2], ChainHead(2, ONE)])


def test_a_torn_end_is_said_with_its_place():
    with pytest.raises(
        DamagedLogError, match="the last line, entry 3, is torn after 5 bytes; entries 1 to 2 are whole"
    ):
        verify([*LINES[:2], LINES[2][:5]])


def test_another_spelling_of_an_entry_and_an_unknown_kind_are_found_though_their_hashes_fit():
    for content, said in [
        (ENTRIES[1].to_json().replace(b":", b": ", 1), "one spelling"),
        (b'{"kind":"answer-all","at_seconds":1}', "nothing that is known"),
    ]:
        digest = hashlib.sha256(START.digest + content).hexdigest().encode()
        with pytest.raises(DamagedLogError, match=said):
            verify([b'{"entry":' + content + b',"hash":"' + digest + b'"}\n'])


def test_an_entry_that_no_line_takes_is_not_written():
    home = LoggedDisclosure.model_construct(**dict(ENTRIES[6]) | {"home": "a" * MAX_LINE_BYTES})
    with pytest.raises(ValueError, match="longer than a line"):
        linked(START, home)


@pytest.mark.parametrize(
    ("entry", "field", "value"),
    [
        (1, "epsilon", "0.3"),
        (1, "epsilon", "1/0"),
        (1, "epsilon", "-1"),
        (1, "rho", "1e3"),
        (0, "asker", "two words"),
        (0, "purpose", "gossip"),
        (4, "home", HOME),
        (5, "home", "m0001"),
        (6, "home", "m0001 of Main Street"),
        (0, "homes", -1),
        (5, "approver", "ann"),
        (6, "at_seconds", 2**62),
    ],
)
def test_what_is_no_entry_is_refused(entry, field, value):
    with pytest.raises(ValidationError):
        type(ENTRIES[entry]).model_validate(dict(ENTRIES[entry]) | {field: value})


def test_a_head_is_signed_and_no_byte_of_it_can_be_changed():
    gateway = Identity.generate()
    line = signed_head(HEADS[3], gateway, gateway="gateway", grid="hushgrid", at_seconds=1_700_000_000)
    head = read_head(line)
    assert (head.entries, head.digest, head.identity) == (3, HEADS[3].digest, gateway.public)
    for at in range(len(line) - 1):
        changed = line[:at] + bytes((line[at] ^ 1,)) + line[at + 1 :]
        with pytest.raises(MessageError):
            read_head(changed)


def test_a_head_under_somebody_elses_name_for_itself_is_refused():
    gateway, other = Identity.generate(), Identity.generate()
    line = signed_head(HEADS[3], gateway, gateway="gateway", grid="hushgrid", at_seconds=1)
    with pytest.raises(MessageError) as refused:
        read_head(line.replace(gateway.public.hex().encode(), other.public.hex().encode()))
    assert refused.value.reason is RejectReason.BAD_SIGNATURE
