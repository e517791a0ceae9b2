"""What `hushgrid-meter check` asks of a broker behind doors, and that asking disturbs nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hushgrid.errors import ConfigurationError
from hushgrid.shell.transport import MqttTransport, Probe, TlsFiles
from hushgrid.wire.role import Role


def probe(doors, certificate: Path | None, door: Role = Role.METER, *, stranger: bool = False) -> Probe:
    trust = doors.directory / "broker" / "servers.pem"
    return Probe(f"mqtts://127.0.0.1:{doors.files.ports[door]}", TlsFiles(trust, certificate, None), stranger=stranger)


async def test_a_certificate_of_this_door_is_taken_in_and_any_other_or_none_is_not(doors):
    meter, ppn = doors.certify("m", Role.METER, "m-name"), doors.certify("p", Role.PPN, "p-name")
    assert await probe(doors, meter).trouble(10) is None
    assert await probe(doors, ppn).trouble(10) is not None
    assert await probe(doors, None).trouble(10) is not None


async def test_a_stranger_is_told_whether_the_broker_is_the_right_one(doors, tmp_path):
    assert await probe(doors, None, stranger=True).trouble(10) is None
    other = tmp_path / "other.pem"
    other.write_bytes(doors.authority.signer("meter").pem)
    wrong = Probe(f"mqtts://127.0.0.1:{doors.files.ports[Role.METER]}", TlsFiles(other, None, None), stranger=True)
    assert "CERTIFICATE_VERIFY_FAILED" in str(await wrong.trouble(10))


async def test_looking_does_not_end_the_connection_of_the_agent_it_looks_for(doors):
    certificate = doors.certify("m", Role.METER, "m-name")
    trust = doors.directory / "broker" / "servers.pem"
    url = f"mqtts://127.0.0.1:{doors.files.ports[Role.METER]}"
    async with MqttTransport(url, "m-name", tls=TlsFiles(trust, certificate, None)) as agent:
        await asyncio.wait_for(agent.wait_generation(0), 10)
        assert await probe(doors, certificate).trouble(10) is None
        assert agent.generation == 1
        assert agent.reachable


async def test_a_broker_that_is_away_is_said_to_be():
    assert await Probe("mqtt://127.0.0.1:9").trouble(5) is not None
    with pytest.raises(ConfigurationError):
        await Probe("http://127.0.0.1:9").trouble(5)
