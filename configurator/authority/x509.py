"""X.509 as the private authority uses it: one self-signed authority per door, end certificates, revocation lists. No store.

All of it stands up to OpenSSL's strict checks (RFC 5280), which Python makes from 3.13 on: constraints, key usage, key identifiers.
Times are UTC; a certificate is valid from an hour before it is made, so that a clock that is a little slow accepts it.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hushgrid.errors import RefusedError

_SLACK = dt.timedelta(hours=1)
_AUTHORITY_LIFE = dt.timedelta(days=3650)


@dataclass(frozen=True, slots=True, repr=False)
class CertificateAuthority:
    """A self-signed certificate and the key that signs with it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, name: str, now: dt.datetime) -> CertificateAuthority:
        """A fresh one for ten years; it can sign end certificates and revocation lists only."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        builder = (
            _builder(subject, subject, key.public_key(), now, _AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> CertificateAuthority:
        """Back from two PEM texts; ValueError when they are none."""
        private = serialization.load_pem_private_key(key, None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise ValueError("not an elliptic-curve key")
        return cls(x509.load_pem_x509_certificate(certificate), private)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key, for the authority's own directory only."""
        return private_pem(self.key)

    def sign_agent(
        self, name: str, public: ec.EllipticCurvePublicKey, now: dt.datetime, life: dt.timedelta
    ) -> x509.Certificate:
        """A certificate that its holder connects with; `name` is all it says about it."""
        builder = self._end(name, public, now, life, ExtendedKeyUsageOID.CLIENT_AUTH)
        return builder.sign(self.key, hashes.SHA256())

    def sign_server(
        self,
        hosts: Iterable[str],
        public: ec.EllipticCurvePublicKey,
        now: dt.datetime,
        life: dt.timedelta,
        *,
        connects: bool = False,
    ) -> x509.Certificate:
        """A certificate that a broker or an authority's door is recognised by. hosts: DNS names or IP addresses.

        connects: its holder shows it also where it connects itself, as the nodes of a cluster do.
        """
        names = [_general_name(host) for host in hosts]
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if connects else [])]
        builder = self._end("hushgrid server", public, now, life, *purposes)
        return builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(self.key, hashes.SHA256())

    def revocation_list(self, revoked: Iterable[tuple[int, dt.datetime]], now: dt.datetime) -> bytes:
        """PEM. revoked: serial and time. It stays valid as long as the authority: a list that has run out locks out everybody."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now)
            .next_update(self.certificate.not_valid_after_utc)
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
            .add_extension(self._key_identifier(), critical=False)
        )
        for serial, when in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _end(
        self,
        name: str,
        public: ec.EllipticCurvePublicKey,
        now: dt.datetime,
        life: dt.timedelta,
        *purposes: x509.ObjectIdentifier,
    ) -> x509.CertificateBuilder:
        return (
            _builder(_name(name), self.certificate.subject, public, now, life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(self._key_identifier(), critical=False)
        )

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """How what it signs says whose signature that is."""
        public = self.certificate.public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise TypeError("not an elliptic-curve authority")
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)


def fresh_key() -> ec.EllipticCurvePrivateKey:
    """A key pair for an end certificate."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key(der: bytes) -> ec.EllipticCurvePublicKey:
    """An agent's public key from its DER bytes; RefusedError unless it is on P-256."""
    try:
        key = serialization.load_der_public_key(der)
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RefusedError("the public key is not one on P-256")
    return key


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: dt.datetime, life: dt.timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + life)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
