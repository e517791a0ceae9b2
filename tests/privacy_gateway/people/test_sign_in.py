"""How a customer signs in: a challenge of this process, answered once, in time, by its own meter."""

from __future__ import annotations

import pytest
from support.gateway.desks import GATEWAY, GRID, KEYS, NOW
from support.gateway.processes import sign_in_line

from hushgrid.errors import MessageError, RejectReason
from privacy_gateway.people.sign_in import CHALLENGE_SECONDS, MeterSignIns

IDENTITIES = {home: key.public for home, key in KEYS.items()}


def sign_ins() -> MeterSignIns:
    return MeterSignIns(gateway=GATEWAY, grid=GRID, identities=IDENTITIES)


def why(at: MeterSignIns, line: bytes, now: int = NOW) -> RejectReason:
    with pytest.raises(MessageError) as refused:
        at.believe(line, now)
    return refused.value.reason


def test_a_challenge_is_answered_once_and_in_time():
    at = sign_ins()
    first, second = (sign_in_line("m03", at.challenge(NOW).hex()) for _ in range(2))
    assert at.believe(first, NOW + CHALLENGE_SECONDS - 1) == "m03"
    assert why(at, first) is RejectReason.REPLAYED
    assert why(at, first, NOW + CHALLENGE_SECONDS) is RejectReason.FORGOTTEN_ROUND
    assert why(at, second, NOW + CHALLENGE_SECONDS) is RejectReason.FORGOTTEN_ROUND
    assert at.believe(second, NOW) == "m03"


def test_a_challenge_of_another_process_or_a_changed_one_is_none():
    at, other = sign_ins(), sign_ins()
    drawn = at.challenge(NOW)
    assert why(other, sign_in_line("m03", drawn.hex())) is RejectReason.MALFORMED
    later = (int.from_bytes(drawn[:8]) + 1).to_bytes(8) + drawn[8:]
    assert why(at, sign_in_line("m03", later.hex())) is RejectReason.MALFORMED


def test_only_its_own_meter_signs_a_household_in_and_here_only():
    at = sign_ins()
    drawn = at.challenge(NOW).hex()
    assert why(at, sign_in_line("m03", drawn, by="m04")) is RejectReason.BAD_SIGNATURE
    assert why(at, sign_in_line("m03", drawn, gateway="elsewhere")) is RejectReason.WRONG_RECIPIENT
    assert why(at, sign_in_line("m03", drawn, grid="elsewhere")) is RejectReason.WRONG_RECIPIENT
    fewer = MeterSignIns(gateway=GATEWAY, grid=GRID, identities={})
    assert why(fewer, sign_in_line("m03", fewer.challenge(NOW).hex())) is RejectReason.UNKNOWN_SENDER
    assert why(at, b"") is RejectReason.MALFORMED
