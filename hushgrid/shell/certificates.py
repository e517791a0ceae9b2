"""An agent's certificates: asked for at the authority's door, kept on disk, renewed before they run out. No X.509 is read here.

One file per pseudonym, `<state_directory>/certificates/<pseudonym>.pem`, with a private key made here and its certificate, replaced
as a whole; a first line says until when it serves. An agent has one for the epoch that has begun and one for the next, so
that the authority may be away for an epoch, and asks for a new one after two thirds of a certificate's life.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import ssl
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hushgrid.core.sealing import Identity
from hushgrid.errors import ConfigurationError, MessageError, RefusedError
from hushgrid.shell.config import ServiceConfig, read_token
from hushgrid.shell.transport import TlsFiles
from hushgrid.wire.certificate_request import (
    MAX_LINE_BYTES,
    CertificateAnswer,
    CertificateRequest,
    SignedCertificate,
    WantedCertificate,
)
from hushgrid.wire.role import Role

log = logging.getLogger("hushgrid.certificates")

_ANSWER_SECONDS = 15.0
_RETRY_FIRST_SECONDS, _RETRY_MOST_SECONDS = 1.0, 60.0
_LOOK_SECONDS = 60.0
_LIFE_USED = 2 / 3
_HEADING = "renew-at {} not-after {}\n"


@dataclass(frozen=True, slots=True)
class AuthorityAddress:
    """Where certificates come from, and the certificate that the authority's door is known by (the broker's authority)."""

    host: str
    port: int
    trust: Path

    @classmethod
    def of(cls, config: ServiceConfig) -> AuthorityAddress | None:
        """From a configuration; None when it names no authority. ConfigurationError for what cannot be used."""
        if config.authority.url is None:
            return None
        parts = urllib.parse.urlsplit(config.authority.url)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if parts.scheme != "tls" or not host or not port or parts.path not in ("", "/"):
            raise ConfigurationError(f"authority.url {config.authority.url!r}: expected tls://host:port")
        if config.broker.ca_file is None:
            raise ConfigurationError("broker.ca_file: needed to know the authority and the broker by")
        return cls(host, port, config.broker.ca_file)

    async def trouble(self, timeout_seconds: float) -> str | None:
        """None when the door answers and is the right one, else why not. Nothing is asked for."""
        try:
            async with asyncio.timeout(timeout_seconds):
                context = TlsFiles(self.trust, None, None).context()
                _, writer = await asyncio.open_connection(self.host, self.port, ssl=context)
                writer.close()
        except TimeoutError:
            return "no answer"
        except OSError as error:
            return str(error)
        return None

    async def ask(self, line: bytes) -> CertificateAnswer:
        """One request, one answer. OSError or TimeoutError when nobody is there, MessageError for an answer that is none."""
        context = TlsFiles(self.trust, None, None).context()
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(self.host, self.port, ssl=context, limit=16 * MAX_LINE_BYTES)
            try:
                writer.write(line)
                await writer.drain()
                answer = await reader.readline()
            finally:
                writer.close()
        if not answer:
            raise ConnectionError("no answer")
        return CertificateAnswer.from_json(answer)


class Certificates:
    """See the module. One agent's, whatever the number of its names."""

    def __init__(self, config: ServiceConfig, role: Role, identity: Identity, address: AuthorityAddress) -> None:
        self._config = config
        self._role = role
        self._identity = identity
        self._address = address
        self._directory = config.agent.state_directory / "certificates"
        self._due: dict[str, float] = {}

    def context(self, name: str) -> ssl.SSLContext:
        """To connect to the broker under a name; ConfigurationError when there is no certificate for it."""
        return TlsFiles(self._address.trust, self._file(name), None).context()

    def due(self, names: Iterable[str], now_seconds: float) -> list[str]:
        """Those without a certificate, and those whose certificate is to be renewed."""
        return [name for name in names if self._renew_at(name) <= now_seconds]

    async def ensure(self, names: Sequence[str]) -> None:
        """Return once there is a certificate for every name. RefusedError when the authority will not give one."""
        pause_seconds = _RETRY_FIRST_SECONDS
        said = ""
        while missing := self.due(names, 0.0):
            try:
                await self.obtain(missing)
            except (OSError, TimeoutError, MessageError) as error:
                trouble = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
                if trouble != said:
                    log.warning(
                        "no certificate from the authority at %s:%d: %s",
                        self._address.host,
                        self._address.port,
                        trouble,
                    )
                    said = trouble
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(_RETRY_MOST_SECONDS, 2 * pause_seconds)

    async def keep(self, wanted: Callable[[], Iterable[str]], renewed: Callable[[], Awaitable[None]]) -> None:
        """For ever: ask for what is due, and say when a certificate in use was replaced."""
        pause_seconds = _RETRY_FIRST_SECONDS
        while True:
            names = list(wanted())
            due = self.due(names, time.time())
            try:
                if due:
                    replaced = any(self._file(name).exists() for name in due)
                    await self.obtain(due)
                    self._forget(names)
                    if replaced:
                        log.info("certificates are renewed")
                        await renewed()
                pause_seconds = _RETRY_FIRST_SECONDS
                soonest = min((self._renew_at(name) for name in names), default=0.0)
                await asyncio.sleep(min(_LOOK_SECONDS, max(_RETRY_FIRST_SECONDS, soonest - time.time())))
            except (OSError, TimeoutError, MessageError, RefusedError) as error:
                log.warning("certificates are not renewed: %s", error or type(error).__name__)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(_RETRY_MOST_SECONDS, 2 * pause_seconds)

    async def obtain(self, names: Sequence[str]) -> None:
        """Fresh keys and certificates for these names, on disk. RefusedError when the authority says no."""
        keys = {name: _fresh_key() for name in names}
        wanted = [WantedCertificate(pseudonym=name, public=public) for name, (_, public) in keys.items()]
        request = CertificateRequest(
            grid=self._config.agent.grid,
            agent=self._config.agent.id,
            role=self._role,
            identity=self._identity.public,
            token=read_token(self._config.agent.token_file) or None,
            wanted=tuple(wanted),
        )
        answer = await self._address.ask(request.to_line(self._identity))
        if answer.refusal:
            raise RefusedError(f"the authority gives {self._config.agent.id} no certificate: {answer.refusal}")
        for signed in answer.certificates:
            if signed.pseudonym in keys:
                self._store(signed, keys[signed.pseudonym][0], time.time())

    def _store(self, signed: SignedCertificate, private: bytes, now_seconds: float) -> None:
        renew_at = now_seconds + (signed.not_after - now_seconds) * _LIFE_USED
        content = _HEADING.format(renew_at, signed.not_after).encode() + private + signed.certificate.encode()
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._file(signed.pseudonym)
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        self._due[signed.pseudonym] = renew_at

    def _renew_at(self, name: str) -> float:
        """Unix seconds; -1 when there is no certificate."""
        if name not in self._due:
            try:
                with self._file(name).open(encoding="ascii") as file:
                    words = file.readline().split()
                self._due[name] = float(words[1])
            except (OSError, ValueError, IndexError):
                return -1.0
        return self._due[name]

    def _forget(self, names: Sequence[str]) -> None:
        """Names of past epochs go."""
        for path in self._directory.glob("*.pem"):
            if path.stem not in names:
                path.unlink(missing_ok=True)
                self._due.pop(path.stem, None)

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.pem"


def certificates_of(config: ServiceConfig, role: Role, identity: Identity) -> Certificates | None:
    """What a configuration asks for; None when its agent has no authority to ask."""
    address = AuthorityAddress.of(config)
    return None if address is None else Certificates(config, role, identity, address)


#: Around the numbers of a P-256 key: of a private one (PKCS #8, RFC 5958 and 5915), and of a public one (RFC 5480).
_PRIVATE_DER = (
    bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"),
    bytes.fromhex("a14403420004"),
)
_PUBLIC_DER = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_P256_BYTES = 32


def _fresh_key() -> tuple[bytes, bytes]:
    """A private key (PEM) and its public half (DER)."""
    # Imported here: keys are made once a month. What writes keys in cryptography knows all kinds of them, and is a megabyte of a
    # meter's memory; these of one kind always have the same form.
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    secret, x, y = (
        number.to_bytes(_P256_BYTES)
        for number in (numbers.private_value, numbers.public_numbers.x, numbers.public_numbers.y)
    )
    private = ssl.DER_cert_to_PEM_cert(_PRIVATE_DER[0] + secret + _PRIVATE_DER[1] + x + y)
    return private.replace(" CERTIFICATE-", " PRIVATE KEY-").encode(), _PUBLIC_DER + x + y
