"""The privacy gateway's configuration: a TOML file, checked at start."""

from __future__ import annotations

import ipaddress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from hushgrid.errors import ConfigurationError
from hushgrid.shell.config import ServiceConfig
from hushgrid.wire.model import Model
from privacy_gateway.deciding.policy import MINIMUM_HOMES, GatewayPolicy
from privacy_gateway.ledger.balance import BudgetCap
from privacy_gateway.ledger.price import MICRO, FailureDelta
from privacy_gateway.questions.question import Exact, Item, as_written
from privacy_gateway.vault.retention import RETENTION_MONTHS

_Delta = Annotated[Decimal, BeforeValidator(as_written), Field(gt=0, lt=1, decimal_places=15, allow_inf_nan=False)]
_Whole = Annotated[int, Field(ge=1, lt=2**48)]


class ListenSection(Model):
    """Where people come in. port 0: a free one. certificate_file, key_file: PEM, for https.

    behind_tls_proxy: TLS ends before the gateway; without that or a certificate it listens on this machine only.
    """

    address: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, lt=2**16)] = 8443
    certificate_file: Path | None = None
    key_file: Path | None = None
    behind_tls_proxy: bool = False

    @model_validator(mode="after")
    def _others_come_by_tls_only(self) -> ListenSection:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        try:
            ipaddress.ip_address(self.address)
        except ValueError:
            raise ValueError("address is the number of an interface, such as 127.0.0.1 or ::") from None
        if not (self.here or self.certificate_file or self.behind_tls_proxy):
            raise ValueError(
                "an address that others reach needs certificate_file and key_file, or behind_tls_proxy = true"
            )
        return self

    @property
    def here(self) -> bool:
        """Whether this machine alone reaches it."""
        return ipaddress.ip_address(self.address).is_loopback


class StoreSection(Model):
    """What must not be forgotten. url: see `privacy_gateway.store`. The others are in the state directory by default."""

    url: str
    audit_log: Path | None = None
    consents: Path | None = None


class HomesSection(Model):
    """Who can be asked about. file: a line `METER IDENTITY` for each, the identity in hexadecimal, as it was enrolled."""

    file: Path


class SumsSection(Model):
    """Where sums come from: a consumer's files, which are read again when they have grown.

    sums: its results.jsonl; bills: its bills.jsonl, of which customers see their own. rules: the cohort of each rule by the
    rule's name; rules that are not named here are passed over. interval_seconds: of a round. poll_seconds: how often is looked.
    """

    sums: Path
    bills: Path | None = None
    rules: dict[str, Item | Annotated[tuple[Item, ...], Field(min_length=1)]]
    interval_seconds: Annotated[int, Field(ge=1, le=86_400)]
    poll_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 5.0


class GatewayPolicySection(Model):
    """The numbers of `GatewayPolicy`. Epsilons are decimal numbers with six places at most."""

    bound_span_watt_hours: _Whole
    typical_watt_hours: _Whole
    budget_epsilon: Exact
    budget_delta: _Delta = Decimal("0.000001")
    period_rounds: _Whole
    minimum_homes: Annotated[int, Field(ge=2, lt=2**32)] = MINIMUM_HOMES
    minimum_rounds: _Whole = 1
    largest_epsilon: Exact = Decimal(1)

    @property
    def policy(self) -> GatewayPolicy:
        """The same for decisions."""
        return GatewayPolicy(
            bound_span_watt_hours=self.bound_span_watt_hours,
            typical_watt_hours=Fraction(self.typical_watt_hours),
            cap=BudgetCap(int(self.budget_epsilon * MICRO), FailureDelta.of(Fraction(self.budget_delta))),
            period_rounds=self.period_rounds,
            minimum_homes=self.minimum_homes,
            minimum_rounds=self.minimum_rounds,
            largest_epsilon_micro=int(self.largest_epsilon * MICRO),
        )


class LimitsSection(Model):
    """What anybody may ask for at most. requests_per_minute, burst: of each client, customer and stranger's address."""

    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 60
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 30
    body_bytes: Annotated[int, Field(ge=1024, le=64 * 2**20)] = 2**20
    token_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3600


class VaultSection(Model):
    """What is kept of single homes. column_keys: made at the first start; it belongs on another disk than the store.

    billing_period_rounds: of a pseudonym's life; retention_months: until its key is destroyed.
    """

    column_keys: Path | None = None
    pseudonym_keys: Path | None = None
    billing_period_rounds: _Whole = 1440
    retention_months: Annotated[int, Field(ge=1, le=1200)] = RETENTION_MONTHS


class IssuerSection(Model):
    """An OpenID Connect issuer whose tokens are believed beside the gateway's own.

    url: its `iss`. audience: what its tokens for this gateway are for. keys_file: its JSON Web Key Set, read at start.
    """

    url: Annotated[str, Field(min_length=1, max_length=1000)]
    audience: Annotated[str, Field(min_length=1, max_length=1000)]
    keys_file: Path


class GatewayConfig(ServiceConfig):
    """All of it."""

    listen: ListenSection = ListenSection()
    store: StoreSection
    homes: HomesSection
    results: SumsSection
    policy: GatewayPolicySection
    limits: LimitsSection = LimitsSection()
    vault: VaultSection = VaultSection()
    issuer: IssuerSection | None = None

    @model_validator(mode="after")
    def _speaks_to_no_broker(self) -> GatewayConfig:
        for name in ("broker", "authority", "pace"):
            if name in self.model_fields_set:
                raise ValueError(f"[{name}]: the gateway speaks to no broker; it reads what a consumer wrote")
        return self

    def at(self, path: Path | None, name: str) -> Path:
        """The path, or the file of this name in the state directory."""
        return self.agent.state_directory / name if path is None else path


def read_text(path: Path) -> str:
    """A file's text; ConfigurationError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8 text") from None
