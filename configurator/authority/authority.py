"""The private authority: who may come through which door of the broker. Its directory is the operator's secret.

It decides three things: whose token is good, which names an identity may carry, and who is shut out. A name is certified
for one identity for ever, so that nobody can take another's pseudonym. It keeps no private key but its own.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from configurator.authority.mosquitto_files import BrokerFiles
from configurator.authority.x509 import CertificateAuthority, fresh_key, pem, private_pem, public_key
from configurator.tokens import TOKEN_LIFE, fresh_tokens, token_hash
from hushgrid.errors import ConfigurationError, RefusedError
from hushgrid.shell.database import Database
from hushgrid.wire.access import CONDUCTED_DOORS, door_of
from hushgrid.wire.certificate_request import CertificateAnswer, CertificateRequest, SignedCertificate
from hushgrid.wire.role import Role

AGENT_LIFE = dt.timedelta(days=30)
SERVER_LIFE = dt.timedelta(days=397)
#: The authority that signs the broker and the authority's own door; agents are given its certificate.
_SERVERS = "broker"
_STORE = "authority.sqlite"
_GRID_FILE = "grid"
#: Of `configurator.tokens.token_hash`.
_PURPOSE = "door token"
_MIGRATIONS = (
    """
    CREATE TABLE token (hash BLOB PRIMARY KEY, agent TEXT NOT NULL, role TEXT NOT NULL, expires INTEGER NOT NULL,
        used INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE agent (id TEXT PRIMARY KEY, role TEXT NOT NULL, identity BLOB NOT NULL, revoked INTEGER);
    CREATE TABLE name (pseudonym TEXT PRIMARY KEY, agent TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE certificate (serial TEXT PRIMARY KEY, door TEXT NOT NULL, agent TEXT NOT NULL, pseudonym TEXT NOT NULL,
        not_after INTEGER NOT NULL, revoked INTEGER) WITHOUT ROWID;
    CREATE INDEX certificate_of ON certificate (agent)
    """,
    """
    CREATE TABLE shut_out (agent TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO shut_out SELECT agent, min(revoked) FROM certificate WHERE revoked IS NOT NULL GROUP BY agent;
    INSERT OR IGNORE INTO shut_out SELECT id, revoked FROM agent WHERE revoked IS NOT NULL;
    CREATE TABLE enrolled (id TEXT PRIMARY KEY, role TEXT NOT NULL, identity BLOB NOT NULL);
    INSERT INTO enrolled SELECT id, role, identity FROM agent;
    DROP TABLE agent;
    ALTER TABLE enrolled RENAME TO agent
    """,
)


def utc_now() -> dt.datetime:
    """The time, with its zone."""
    return dt.datetime.now(dt.UTC)


class Authority:
    """See the module. directory: made at first use, for its owner only. Every method is on disk when it returns."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(f"{directory}: {error.strerror}") from None
        self._database = Database(directory / _STORE, _MIGRATIONS, secrets=True)
        self._signers: dict[str, CertificateAuthority] = {}

    @classmethod
    def existing(cls, directory: Path) -> Authority:
        """One that has been made before; ConfigurationError when there is none in the directory."""
        if not (directory / _STORE).is_file():
            raise ConfigurationError(f"{directory}: there is no authority here; `hushgrid enrol deployment` makes one")
        return cls(directory)

    @property
    def grid(self) -> str | None:
        """The grid it was made for; None when nobody said so."""
        try:
            return (self.directory / _GRID_FILE).read_text(encoding="ascii").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError(f"{self.directory / _GRID_FILE}: the grid's name cannot be read") from None

    def belong_to(self, grid: str) -> None:
        """Be the authority of this grid."""
        replace(self.directory / _GRID_FILE, grid.encode() + b"\n")

    def close(self) -> None:
        """Close the store."""
        self._database.close()

    def signer(self, name: str) -> CertificateAuthority:
        """The authority behind one door, or `broker` for servers; made at first use."""
        if name not in self._signers:
            certificate, key = self.directory / f"{name}-ca.pem", self.directory / f"{name}-ca.key"
            if not key.exists():
                made = CertificateAuthority.make(f"hushgrid {name} authority", utc_now())
                write_secret(certificate, made.pem)
                write_secret(key, made.key_pem)
            try:
                self._signers[name] = CertificateAuthority.from_pem(certificate.read_bytes(), key.read_bytes())
            except (OSError, ValueError) as error:
                raise ConfigurationError(f"{key}: {error}") from None
        return self._signers[name]

    @property
    def server_signer(self) -> CertificateAuthority:
        """The authority behind brokers and this authority's own door."""
        return self.signer(_SERVERS)

    @property
    def server_trust(self) -> bytes:
        """PEM: what agents know the broker and this authority's door by."""
        return self.server_signer.pem

    # Tokens

    def issue_tokens(
        self, agents: Sequence[tuple[str, Role]], now: dt.datetime, life: dt.timedelta = TOKEN_LIFE
    ) -> dict[str, str]:
        """One fresh one-time token per agent; only its hash is kept."""
        tokens = fresh_tokens(agent for agent, _ in agents)
        self.accept_tokens(agents, tokens, now, life)
        return tokens

    def accept_tokens(
        self, agents: Sequence[tuple[str, Role]], tokens: Mapping[str, str], now: dt.datetime, life: dt.timedelta
    ) -> None:
        """Make tokens that were issued elsewhere good for this door too; ConfigurationError for who is shut out."""
        self.check_not_shut_out(agent for agent, _ in agents)
        expires = int((now + life).timestamp())
        rows = [(token_hash(_PURPOSE, tokens[agent]), agent, role.value, expires) for agent, role in agents]
        with self._database.transaction():
            self._database.execute_many("INSERT INTO token (hash, agent, role, expires) VALUES (?, ?, ?, ?)", rows)

    def check_not_shut_out(self, agents: Iterable[str]) -> None:
        """ConfigurationError naming the first who is."""
        for agent in agents:
            if self._shut_out(agent):
                raise ConfigurationError(f"{agent} is shut out: give a new agent a new id")

    # Certificates

    def answer(
        self, request: CertificateRequest, now: dt.datetime, life: dt.timedelta = AGENT_LIFE
    ) -> CertificateAnswer:
        """Certificates for a request whose signature was checked; RefusedError with its reason."""
        with self._database.transaction():
            self._admit(request, now)
            for wanted in request.wanted:
                self._claim(wanted.pseudonym, request.agent)
            made = [
                self._sign(request.agent, request.role, wanted.pseudonym, public_key(wanted.public), now, life)
                for wanted in request.wanted
            ]
        return CertificateAnswer(certificates=tuple(made))

    def issue(
        self, agent: str, role: Role, pseudonym: str, now: dt.datetime, life: dt.timedelta = AGENT_LIFE
    ) -> tuple[bytes, SignedCertificate]:
        """The operator's own way, without a token: a fresh private key (PEM) and its certificate."""
        key = fresh_key()
        with self._database.transaction():
            self._claim(pseudonym, agent)
            return private_pem(key), self._sign(agent, role, pseudonym, key.public_key(), now, life)

    def _admit(self, request: CertificateRequest, now: dt.datetime) -> None:
        if self._shut_out(request.agent):
            raise RefusedError(f"{request.agent} is shut out")
        known = self._database.query("SELECT role, identity FROM agent WHERE id = ?", request.agent)
        if known:
            role, identity = known[0]
            if identity != request.identity or role != request.role.value:
                raise RefusedError(f"{request.agent} is enrolled already under another identity or role")
            return
        if request.token is None:
            raise RefusedError(f"{request.agent} is not enrolled: a token is needed")
        spent = self._database.execute(
            "UPDATE token SET used = 1 WHERE hash = ? AND agent = ? AND role = ? AND used = 0 AND expires > ?",
            token_hash(_PURPOSE, request.token), request.agent, request.role.value, int(now.timestamp()),
        )  # fmt: skip
        if not spent:
            raise RefusedError("the token is unknown, used, expired, or another agent's")
        self._database.execute(
            "INSERT INTO agent (id, role, identity) VALUES (?, ?, ?)",
            request.agent,
            request.role.value,
            request.identity,
        )

    def _claim(self, pseudonym: str, agent: str) -> None:
        self._database.execute("INSERT OR IGNORE INTO name VALUES (?, ?)", pseudonym, agent)
        ((holder,),) = self._database.query("SELECT agent FROM name WHERE pseudonym = ?", pseudonym)
        if holder != agent:
            raise RefusedError(f"the name {pseudonym} is another agent's")

    def _sign(
        self,
        agent: str,
        role: Role,
        pseudonym: str,
        public: ec.EllipticCurvePublicKey,
        now: dt.datetime,
        life: dt.timedelta,
    ) -> SignedCertificate:
        door = door_of(role)
        signed = self.signer(door.value).sign_agent(pseudonym, public, now, life)
        not_after = int(signed.not_valid_after_utc.timestamp())
        self._database.execute(
            "INSERT INTO certificate (serial, door, agent, pseudonym, not_after) VALUES (?, ?, ?, ?, ?)",
            str(signed.serial_number), door.value, agent, pseudonym, not_after,
        )  # fmt: skip
        return SignedCertificate(
            pseudonym=pseudonym,
            certificate=pem(signed).decode(),
            not_before=int(signed.not_valid_before_utc.timestamp()),
            not_after=not_after,
        )

    # Shutting out

    def revoke(self, agent: str, now: dt.datetime) -> list[str]:
        """Shut an agent out for ever: its certificates go on the lists, it gets no new ones; the names they were for.

        May be repeated. ConfigurationError when nothing is known of it.
        """
        self.doors(agent)
        at = int(now.timestamp())
        with self._database.transaction():
            self._database.execute("INSERT OR IGNORE INTO shut_out VALUES (?, ?)", agent, at)
            self._database.execute("UPDATE token SET used = 1 WHERE agent = ? AND used = 0", agent)
            rows = self._database.query(
                "SELECT DISTINCT pseudonym FROM certificate WHERE agent = ? AND not_after > ?", agent, at
            )
            self._database.execute("UPDATE certificate SET revoked = ? WHERE agent = ? AND revoked IS NULL", at, agent)
        return [pseudonym for (pseudonym,) in rows]

    def doors(self, agent: str) -> set[Role]:
        """The doors that an agent may have come through or has a token for; ConfigurationError when nothing is known of it."""
        rows = self._database.query(
            "SELECT role FROM agent WHERE id = ? UNION SELECT role FROM token WHERE agent = ? "
            "UNION SELECT door FROM certificate WHERE agent = ?",
            agent, agent, agent,
        )  # fmt: skip
        if not rows:
            raise ConfigurationError(f"no agent {agent} is known to the authority in {self.directory}")
        return {door_of(Role(role)) for (role,) in rows}

    def check_broker(self, directory: Path, doors: Iterable[Role]) -> None:
        """ConfigurationError unless a directory holds a broker's files for these doors, of this authority."""
        for door in sorted(doors):
            path = directory / f"{door.value}-ca.pem"
            try:
                trusted = path.read_bytes()
            except OSError as error:
                raise ConfigurationError(f"{path}: {error.strerror}: the broker's files are not here") from None
            if trusted != self.signer(door.value).pem:
                raise ConfigurationError(f"{path}: this is another authority's broker")

    def _shut_out(self, agent: str) -> bool:
        return bool(self._database.query("SELECT 1 FROM shut_out WHERE agent = ?", agent))

    def names(self, agent: str) -> list[tuple[str, Role]]:
        """The names that an agent has had, with the door of each."""
        rows = self._database.query("SELECT DISTINCT pseudonym, door FROM certificate WHERE agent = ?", agent)
        return [(pseudonym, Role(door)) for pseudonym, door in rows]

    def revocation_list(self, door: Role, now: dt.datetime) -> bytes:
        """PEM: the certificates behind one door that no longer count and have not run out by themselves."""
        rows = self._database.query(
            "SELECT serial, revoked FROM certificate WHERE door = ? AND revoked IS NOT NULL AND not_after > ?",
            door.value, int(now.timestamp()),
        )  # fmt: skip
        revoked = [(int(serial), dt.datetime.fromtimestamp(when, dt.UTC)) for serial, when in rows]
        return self.signer(door.value).revocation_list(revoked, now)

    # Files

    def write_broker(self, files: BrokerFiles, directory: Path, hosts: Sequence[str], now: dt.datetime) -> None:
        """All that the broker needs, into a directory: configuration, rules, its own certificate, whom it believes.

        hosts: the names and addresses that agents reach it by. Written again, its certificate and key are new.
        """
        self.write_server(directory, "broker", hosts, now)
        for name, content in files.contents().items():
            replace(directory / name, content.encode())
        for door in files.doors:
            replace(directory / f"{door.value}-ca.pem", self.signer(door.value).pem)
        self.write_revocations(directory, now)

    def write_server(self, directory: Path, name: str, hosts: Sequence[str], now: dt.datetime) -> None:
        """A server's key and certificate as NAME.key and NAME.pem."""
        key = fresh_key()
        signed = self.server_signer.sign_server(hosts, key.public_key(), now, SERVER_LIFE)
        make_directory(directory)
        write_secret(directory / f"{name}.key", private_pem(key))
        replace(directory / f"{name}.pem", pem(signed))

    def write_revocations(self, directory: Path, now: dt.datetime) -> None:
        """The lists of every door that the directory has; the broker reads them at start and on SIGHUP."""
        for door in CONDUCTED_DOORS:
            if (directory / f"{door.value}-ca.pem").exists():
                replace(directory / f"{door.value}.crl", self.revocation_list(door, now))


def make_directory(directory: Path) -> None:
    """ConfigurationError when it cannot be made."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{directory}: {error.strerror}") from None


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """The file with this content, whole or not at all; ConfigurationError when it cannot be written."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def write_secret(path: Path, content: bytes) -> None:
    """As `replace`, for the owner only."""
    replace(path, content, 0o600)
