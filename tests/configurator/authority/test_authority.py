"""Who gets a certificate: tokens once and in time, names for ever, nobody who is shut out."""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from configurator.authority.authority import _MIGRATIONS, Authority, utc_now, write_secret
from configurator.authority.service import AuthorityService
from hushgrid.core.sealing import Identity
from hushgrid.errors import ConfigurationError, MessageError, RefusedError
from hushgrid.shell.database import Database
from hushgrid.wire.certificate_request import CertificateRequest, WantedCertificate
from hushgrid.wire.role import Role

NOW = dt.datetime(2026, 3, 29, 1, 30, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    found = Authority(tmp_path / "authority")
    yield found
    found.close()


def der(key: object) -> bytes:
    return key.public_key().public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def request(
    identity: Identity, token: str | None, *names: str, agent: str = "meter-1", role: Role = Role.METER
) -> CertificateRequest:
    key = der(ec.generate_private_key(ec.SECP256R1()))
    wanted = tuple(WantedCertificate(pseudonym=name, public=key) for name in names or ("a",))
    return CertificateRequest(grid="g", agent=agent, role=role, identity=identity.public, token=token, wanted=wanted)


def test_a_token_gives_certificates_for_the_names_asked_for(authority: Authority) -> None:
    tokens = authority.issue_tokens([("meter-1", Role.METER)], NOW)
    answer = authority.answer(request(Identity.generate(), tokens["meter-1"], "a", "b"), NOW, 24 * HOUR)
    assert [signed.pseudonym for signed in answer.certificates] == ["a", "b"]
    for signed in answer.certificates:
        certificate = x509.load_pem_x509_certificate(signed.certificate.encode())
        assert certificate.subject.rfc4514_string() == f"CN={signed.pseudonym}"
        certificate.verify_directly_issued_by(authority.signer("meter").certificate)
        assert certificate.not_valid_after_utc == NOW + 24 * HOUR
        assert signed.not_after == int((NOW + 24 * HOUR).timestamp())


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> dict[str, Any] | None:
    """TLS between two ends in memory; the client's certificate as the server saw it. SSLError when one refuses the other."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends[1].getpeercert()


def test_what_it_signs_stands_up_to_the_strict_checks_of_newer_pythons(authority: Authority, tmp_path: Path) -> None:
    now = utc_now()
    authority.write_server(tmp_path, "server", ["localhost", "127.0.0.1"], now)
    key, signed = authority.issue("meter-1", Role.METER, "a", now)
    other_key, other = authority.issue("meter-2", Role.METER, "b", now)
    authority.revoke("meter-2", now)
    write_secret(tmp_path / "meter.pem", key + signed.certificate.encode())
    client = ssl.create_default_context(cadata=authority.server_trust.decode())
    client.load_cert_chain(tmp_path / "meter.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    door = tmp_path / "door.pem"
    door.write_bytes(authority.signer("meter").pem + authority.revocation_list(Role.METER, now))
    server.load_verify_locations(door)
    server.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    for end in (client, server):
        end.verify_flags |= ssl.VERIFY_X509_STRICT
    assert shake_hands(client, server, "127.0.0.1") == shake_hands(client, server, "localhost")
    seen = shake_hands(client, server, "localhost")
    assert seen is not None
    assert seen["subject"] == ((("commonName", "a"),),)
    write_secret(tmp_path / "shut-out.pem", other_key + other.certificate.encode())
    client.load_cert_chain(tmp_path / "shut-out.pem")
    with pytest.raises(ssl.SSLError, match="revoked"):
        shake_hands(client, server, "localhost")


def test_everything_it_signs_says_whose_key_signed_it(authority: Authority) -> None:
    signer = authority.signer("meter")
    own = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    listed = x509.load_pem_x509_crl(signer.revocation_list([], NOW))
    for made in (signer.sign_agent("a", key, NOW, HOUR), signer.sign_server(["h"], key, NOW, HOUR), listed):
        issuer = made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert issuer.key_identifier == own.digest
    for made in (signer.sign_agent("a", key, NOW, HOUR), signer.sign_server(["h"], key, NOW, HOUR)):
        named = made.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert named == x509.SubjectKeyIdentifier.from_public_key(key)


def test_a_known_identity_needs_no_token_again(authority: Authority) -> None:
    identity = Identity.generate()
    token = authority.issue_tokens([("meter-1", Role.METER)], NOW)["meter-1"]
    authority.answer(request(identity, token), NOW)
    assert authority.answer(request(identity, None, "a", "b"), NOW + 1000 * HOUR).certificates
    assert authority.answer(request(identity, token), NOW).certificates


@pytest.mark.parametrize("late_hours", [48, 49, 10_000])
def test_a_token_runs_out(authority: Authority, late_hours: int) -> None:
    token = authority.issue_tokens([("meter-1", Role.METER)], NOW, 48 * HOUR)["meter-1"]
    with pytest.raises(RefusedError, match="expired"):
        authority.answer(request(Identity.generate(), token), NOW + late_hours * HOUR)


def test_a_token_serves_one_identity_one_agent_and_one_role(authority: Authority) -> None:
    agents = [("meter-1", Role.METER), ("meter-2", Role.METER), ("ppn-1", Role.PPN)]
    tokens = authority.issue_tokens(agents, NOW)
    with pytest.raises(RefusedError, match="another agent's"):
        authority.answer(request(Identity.generate(), tokens["meter-2"]), NOW)
    with pytest.raises(RefusedError, match="another agent's"):
        authority.answer(request(Identity.generate(), tokens["meter-1"], role=Role.PPN), NOW)
    authority.answer(request(Identity.generate(), tokens["meter-1"]), NOW)
    with pytest.raises(RefusedError, match="another identity"):
        authority.answer(request(Identity.generate(), tokens["meter-1"]), NOW)
    with pytest.raises(RefusedError, match="a token is needed"):
        authority.answer(request(Identity.generate(), None, agent="meter-9"), NOW)


def test_a_name_belongs_to_whoever_had_it_first(authority: Authority) -> None:
    tokens = authority.issue_tokens([("meter-1", Role.METER), ("meter-2", Role.METER)], NOW)
    authority.answer(request(Identity.generate(), tokens["meter-1"], "a"), NOW)
    second = Identity.generate()
    with pytest.raises(RefusedError, match="the name a is another agent's"):
        authority.answer(request(second, tokens["meter-2"], "b", "a", agent="meter-2"), NOW)
    # The refusal spent nothing.
    assert authority.answer(request(second, tokens["meter-2"], "b", agent="meter-2"), NOW).certificates


def test_a_carrier_comes_through_the_meters_door(authority: Authority) -> None:
    token = authority.issue_tokens([("fleet-1", Role.CARRIER)], NOW)["fleet-1"]
    (signed,) = authority.answer(
        request(Identity.generate(), token, agent="fleet-1", role=Role.CARRIER), NOW
    ).certificates
    certificate = x509.load_pem_x509_certificate(signed.certificate.encode())
    certificate.verify_directly_issued_by(authority.signer("meter").certificate)


def test_who_is_shut_out_is_on_the_list_of_its_door_and_gets_nothing_more(authority: Authority) -> None:
    identity = Identity.generate()
    token = authority.issue_tokens([("meter-1", Role.METER)], NOW)["meter-1"]
    answer = authority.answer(request(identity, token, "a", "b"), NOW)
    serials = {x509.load_pem_x509_certificate(c.certificate.encode()).serial_number for c in answer.certificates}
    assert sorted(authority.revoke("meter-1", NOW)) == ["a", "b"]
    listed = x509.load_pem_x509_crl(authority.revocation_list(Role.METER, NOW))
    assert {entry.serial_number for entry in listed} == serials
    assert not list(x509.load_pem_x509_crl(authority.revocation_list(Role.PPN, NOW)))
    with pytest.raises(RefusedError, match="shut out"):
        authority.answer(request(identity, token, "c"), NOW)
    # What has run out by itself need not be listed.
    assert not list(x509.load_pem_x509_crl(authority.revocation_list(Role.METER, NOW + 10_000 * HOUR)))


def test_an_unused_token_can_be_revoked(authority: Authority) -> None:
    token = authority.issue_tokens([("meter-1", Role.METER)], NOW)["meter-1"]
    assert authority.revoke("meter-1", NOW) == []
    with pytest.raises(RefusedError):
        authority.answer(request(Identity.generate(), token), NOW)


def test_who_was_shut_out_before_it_enrolled_stays_out(authority: Authority) -> None:
    agents = [("meter-1", Role.METER)]
    authority.issue_tokens(agents, NOW)
    authority.revoke("meter-1", NOW)
    with pytest.raises(ConfigurationError, match="meter-1 is shut out"):
        authority.issue_tokens(agents, NOW)
    with pytest.raises(ConfigurationError, match="meter-1 is shut out"):
        authority.accept_tokens(agents, {"meter-1": "x" * 32}, NOW, HOUR)
    with pytest.raises(RefusedError, match="meter-1 is shut out"):
        authority.answer(request(Identity.generate(), "x" * 32), NOW)
    assert authority.revoke("meter-1", NOW) == []
    with pytest.raises(ConfigurationError, match="no agent meter-2"):
        authority.revoke("meter-2", NOW)


def test_an_older_authority_keeps_its_agents_and_who_is_shut_out(tmp_path: Path) -> None:
    older = Database(tmp_path / "authority.sqlite", _MIGRATIONS[:1], secrets=True)
    identities = {agent: Identity.generate() for agent in ("meter-1", "meter-2")}
    older.execute("INSERT INTO agent VALUES ('meter-1', 'meter', ?, 7)", identities["meter-1"].public)
    older.execute("INSERT INTO agent VALUES ('meter-2', 'meter', ?, NULL)", identities["meter-2"].public)
    older.execute("INSERT INTO certificate VALUES ('1', 'ppn', 'ppn-1', 'a', 9, 8)")
    older.close()
    authority = Authority(tmp_path)
    for agent in ("meter-1", "ppn-1"):
        with pytest.raises(ConfigurationError, match="shut out"):
            authority.issue_tokens([(agent, Role.METER)], NOW)
    with pytest.raises(RefusedError, match="shut out"):
        authority.answer(request(identities["meter-1"], None), NOW)
    assert authority.answer(request(identities["meter-2"], None, agent="meter-2"), NOW).certificates
    authority.close()


def test_another_kind_of_key_is_refused(authority: Authority) -> None:
    token = authority.issue_tokens([("meter-1", Role.METER)], NOW)["meter-1"]
    for key in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())):
        wanted = (WantedCertificate(pseudonym="a", public=der(key)),)
        asked = request(Identity.generate(), token).model_copy(update={"wanted": wanted})
        with pytest.raises(RefusedError, match="P-256"):
            authority.answer(asked, NOW)


def test_everything_is_remembered(authority: Authority) -> None:
    identity = Identity.generate()
    token = authority.issue_tokens([("meter-1", Role.METER)], NOW)["meter-1"]
    authority.answer(request(identity, token), NOW)
    trust = authority.server_trust
    again = Authority(authority.directory)
    assert again.server_trust == trust
    assert again.answer(request(identity, None), NOW).certificates
    again.close()


def test_only_the_owner_can_read_the_authoritys_keys(authority: Authority) -> None:
    authority.signer("meter")
    assert authority.directory.stat().st_mode & 0o077 == 0
    for path in authority.directory.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_request_is_believed_with_its_identitys_signature_only() -> None:
    identity = Identity.generate()
    asked = request(identity, "x" * 20)
    line = asked.to_line(identity)
    assert CertificateRequest.from_line(line) == asked
    for wrong in (
        asked.to_line(Identity.generate()), line.replace(b"meter-1", b"meter-2"), b"", b"\n", b"00 {}\n", b"\xff" * 99,
        line[130:], line[:129] + b"{}\n",
    ):  # fmt: skip
        with pytest.raises(MessageError):
            CertificateRequest.from_line(wrong)


def test_the_service_answers_rubbish_with_a_reason(authority: Authority) -> None:
    service = AuthorityService(authority, "g", 24 * HOUR)
    identity = Identity.generate()
    assert service.answer(b"rubbish\n", NOW).refusal == "malformed: signature"
    assert "token" in service.answer(request(identity, None).to_line(identity), NOW).refusal
    elsewhere = request(identity, None).model_copy(update={"grid": "other"})
    assert service.answer(elsewhere.to_line(identity), NOW).refusal == "this is the authority of g"
