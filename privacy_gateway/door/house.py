"""Everything that is behind the door, opened from a configuration, and closed again."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hushgrid.core.cohorts import resolve_cohort
from hushgrid.errors import ConfigurationError, JournalError, RefusedError
from hushgrid.shell.keyring import Keyring
from privacy_gateway.audit.log_file import AuditLog
from privacy_gateway.config import GatewayConfig, read_text
from privacy_gateway.consent.store import HeardConsents
from privacy_gateway.deciding.policy import GatewayPolicy
from privacy_gateway.desk.gateway_desk import GatewayDesk
from privacy_gateway.desk.home_list import HomeList, read_homes
from privacy_gateway.desk.own_home import OwnHomes
from privacy_gateway.desk.published import PublishedHeads
from privacy_gateway.desk.results_file import ResultsFile
from privacy_gateway.noise.sampler import installed_sampler
from privacy_gateway.people.buckets import Buckets
from privacy_gateway.people.clients import ClientBook
from privacy_gateway.people.outside_issuer import OutsideIssuer
from privacy_gateway.people.sign_in import MeterSignIns
from privacy_gateway.people.tokens import TokenIssuer
from privacy_gateway.principles.checks import CheckedPrinciple, LookedAt, check_all
from privacy_gateway.store.disputes import StoredDisputes
from privacy_gateway.store.gateway_store import GatewayStore
from privacy_gateway.vault.key_file import make_key_file, read_keys
from privacy_gateway.vault.pseudonym_keys import PseudonymKeys
from privacy_gateway.vault.retention import Kept, is_over, last_epoch_over


def clients_of(config: GatewayConfig) -> Path:
    """Where clients are kept."""
    return config.agent.state_directory / "clients.sqlite"


@dataclass(frozen=True)
class House:
    """See the module."""

    config: GatewayConfig
    desk: GatewayDesk
    own: OwnHomes
    disputes: StoredDisputes
    heads: PublishedHeads
    identity: bytes
    clients: ClientBook
    issuer: TokenIssuer
    outside: OutsideIssuer | None
    sign_ins: MeterSignIns
    buckets: Buckets
    pseudonyms: PseudonymKeys
    log_path: Path

    def publish(self) -> bytes:
        """The signed head of the log as it is now."""
        with self.desk.lock:
            return self.heads.publish(self.desk.audit.head, int(time.time()))

    def principles(self) -> list[CheckedPrinciple]:
        """The eight, checked now, against a head of now."""
        config, state = self.config, self.config.agent.state_directory
        private = [
            self.log_path, config.at(config.store.consents, "consents.sqlite"), clients_of(config), state / "keys.sqlite",
            config.at(config.vault.pseudonym_keys, "pseudonyms.sqlite"), config.at(config.vault.column_keys, "column.keys"),
            state / "heads.txt", *_file_of(config.store.url),
        ]  # fmt: skip
        published = self.heads.last
        tls = bool(config.listen.certificate_file) or config.listen.here or config.listen.behind_tls_proxy
        return check_all(LookedAt(self.desk, config.agent.grid, self.log_path, published, private, tls))

    def forget(self) -> None:
        """What has been kept for as long as it may be."""
        now, vault = dt.datetime.now(dt.UTC), self.config.vault
        with self.desk.lock:
            over = last_epoch_over(
                now, interval_seconds=self.config.results.interval_seconds, period_rounds=vault.billing_period_rounds,
                months=vault.retention_months,
            )  # fmt: skip
            self.pseudonyms.destroy_through(over)
            self.disputes.forget_before(_oldest(now, vault.retention_months))


def _oldest(now: dt.datetime, months: int) -> int:
    """The first second, as whole days go, of what is still kept."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    while not is_over(Kept.BILL, day, now, months):
        day -= dt.timedelta(days=1)
    return int(day.timestamp())


def _file_of(url: str) -> list[Path]:
    return [Path(url.removeprefix("sqlite:///"))] if url.startswith("sqlite:///") else []


@contextlib.contextmanager
def opened(config: GatewayConfig) -> Iterator[House]:
    """ConfigurationError with one line for whatever cannot be opened."""
    with contextlib.ExitStack() as stack:
        try:
            house = _opened(config, stack)
            house.desk.take_in()
            house.forget()
            house.publish()
        except JournalError as error:
            raise ConfigurationError(str(error)) from None
        yield house


def _opened(config: GatewayConfig, stack: contextlib.ExitStack) -> House:
    agent, state, now = config.agent, config.agent.state_directory, int(time.time())
    policy, homes = _policy(config), read_homes(str(config.homes.file), read_text(config.homes.file).splitlines())
    source = ResultsFile(config.results.sums, _cohorts(config, homes))
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"{state}: {error.strerror or error}") from None
    ring = stack.enter_context(contextlib.closing(Keyring(state / "keys.sqlite")))
    identity = ring.identity(agent.id)
    heads = PublishedHeads(state / "heads.txt", identity, gateway=agent.id, grid=agent.grid)
    log_path = config.at(config.store.audit_log, "audit.log")
    audit = stack.enter_context(contextlib.closing(AuditLog(log_path, at_seconds=now, head=heads.last)))
    store = stack.enter_context(contextlib.closing(GatewayStore(config.store.url)))
    consents = HeardConsents(
        config.at(config.store.consents, "consents.sqlite"), grid=agent.grid, identities=homes.identities
    )
    stack.enter_context(contextlib.closing(consents))
    clients = stack.enter_context(contextlib.closing(ClientBook(clients_of(config))))
    pseudonyms = PseudonymKeys(config.at(config.vault.pseudonym_keys, "pseudonyms.sqlite"))
    stack.enter_context(contextlib.closing(pseudonyms))
    column_keys = config.at(config.vault.column_keys, "column.keys")
    if not column_keys.exists():
        make_key_file(column_keys)
    interval, limits = config.results.interval_seconds, config.limits
    desk = GatewayDesk(
        home_list=homes, store=store, consents=consents, audit=audit, policy=policy, interval_seconds=interval,
        sampler=installed_sampler(), source=source,
    )  # fmt: skip
    own = OwnHomes(
        bills=config.results.bills, interval_seconds=interval, period_rounds=config.vault.billing_period_rounds,
        keys=pseudonyms, audit=audit, log_path=log_path,
    )  # fmt: skip
    return House(
        config=config, desk=desk, own=own, disputes=StoredDisputes(store.ledger.database, read_keys(column_keys)), heads=heads,
        identity=identity.public, clients=clients,
        issuer=TokenIssuer(
            clients.token_key(), gateway=agent.id, grid=agent.grid, lifetime_seconds=limits.token_seconds
        ),
        outside=None if config.issuer is None else OutsideIssuer(
            config.issuer.url, config.issuer.audience, config.issuer.keys_file
        ),
        sign_ins=MeterSignIns(gateway=agent.id, grid=agent.grid, identities=homes.identities),
        buckets=Buckets(per_minute=limits.requests_per_minute, burst=limits.burst), pseudonyms=pseudonyms, log_path=log_path,
    )  # fmt: skip


def _policy(config: GatewayConfig) -> GatewayPolicy:
    try:
        return config.policy.policy
    except ValueError as error:
        raise ConfigurationError(f"policy: {error}") from None


def _cohorts(config: GatewayConfig, home_list: HomeList) -> dict[str, tuple[str, ...]]:
    found = {}
    for rule, selector in config.results.rules.items():
        try:
            found[rule] = resolve_cohort(selector, home_list.homes)
        except RefusedError as error:
            raise ConfigurationError(f"results.rules.{rule}: {error.reason}") from None
    return found
