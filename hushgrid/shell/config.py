"""One way to configure an agent: a TOML file, overridden by the environment, checked at start.

`HUSHGRID_BROKER__URL=mqtt://broker:1883` overrides `url` in `[broker]`. Secrets are paths to files. A bad value stops the
agent at start with one line that names file and field.
"""

from __future__ import annotations

import enum
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, model_validator

from hushgrid.errors import ConfigurationError
from hushgrid.plan.floors import Floors
from hushgrid.wire.model import Key, Model, Name, Pseudonym


class AgentSection(Model):
    """Who this agent is. token_file: its one-time token for enrolment, needed once. pulse_file: see `hushgrid.shell.runtime.keep_pulse`."""

    id: Name
    grid: Pseudonym = "hushgrid"
    state_directory: Path
    token_file: Path | None = None
    pulse_file: Path | None = None


class BrokerSection(Model):
    """Where the broker is. The files are for mqtts://.

    further_urls: other nodes of the same cluster, tried in turn when one is away. user_name, password_file: the broker's own
    account, for brokers that let nobody in without one; an agent logs in under its pseudonym otherwise. silence_seconds: a
    subscription that brings nothing for so long is made anew, should the broker have forgotten it.
    """

    url: str = "mqtt://localhost:1883"
    further_urls: tuple[str, ...] = ()
    user_name: Annotated[str, Field(min_length=1)] | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    keepalive_seconds: Annotated[int, Field(ge=5, le=3600)] = 30
    silence_seconds: Annotated[int, Field(ge=5, le=86400)] = 1800

    @model_validator(mode="after")
    def _whole_account(self) -> BrokerSection:
        if (self.user_name is None) != (self.password_file is None):
            raise ValueError("user_name and password_file belong together")
        return self


class AuthoritySection(Model):
    """Where certificates come from, tls://host:port. Without it certificate_file and key_file serve under every name."""

    url: str | None = None


class ConfiguratorSection(Model):
    """The one key an agent trusts from the start."""

    identity: Key


class PaceMode(enum.StrEnum):
    """Whose clock decides when a round ends."""

    UTC = "utc"  # the clock on the wall
    CONDUCTED = "conducted"  # a testbed's conductor, for compressed rounds


class PaceSection(Model):
    """When rounds end and freeze. conductor, conductor_agreement: the conductor's keys, for compressed rounds only."""

    mode: PaceMode = PaceMode.UTC
    grace_seconds: Annotated[float, Field(ge=0)] = 60.0
    conductor: Key | None = None
    conductor_agreement: Key | None = None

    @model_validator(mode="after")
    def _conducted(self) -> PaceSection:
        if self.mode is PaceMode.CONDUCTED and (self.conductor is None or self.conductor_agreement is None):
            raise ValueError("mode conducted needs conductor and conductor_agreement")
        return self


class FloorsSection(Model):
    """What this agent insists on, whatever a plan says. minimum_contributors: of every sum; the policy's own by default, so that no
    configurator can sign it away. pinned_ppns: PPN id -> identity key. unsafe_published: take part under the published pairwise
    noise, which hides nothing.
    """

    threshold: Annotated[int, Field(ge=1)] = 2
    minimum_contributors: Annotated[int, Field(ge=1)] = 15
    pinned_ppns: dict[str, Key] = Field(default_factory=dict)
    unsafe_published: bool = False

    @property
    def floors(self) -> Floors:
        """The same as plans are checked against it."""
        return Floors(
            self.threshold,
            self.minimum_contributors,
            tuple(self.pinned_ppns.items()),
            unsafe_published=self.unsafe_published,
        )


class LogSection(Model):
    """How much is said on standard error."""

    level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"


class ServiceConfig(Model):
    """What every service's configuration has."""

    agent: AgentSection
    broker: BrokerSection = BrokerSection()
    authority: AuthoritySection = AuthoritySection()
    pace: PaceSection = PaceSection()
    log: LogSection = LogSection()


class RoleConfig(ServiceConfig):
    """What the configuration of a meter, a PPN or a consumer has: it names the configurator it trusts."""

    configurator: ConfiguratorSection
    floors: FloorsSection = FloorsSection()


ENVIRONMENT_PREFIX = "HUSHGRID_"

Config = TypeVar("Config", bound=ServiceConfig)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content; ConfigurationError with one line otherwise."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def overridden(content: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The file's content with every `HUSHGRID_SECTION__FIELD` of the environment in its place.

    A value that begins with [ or { is JSON; any other is text, which the field's own type converts. (pydantic-settings does the
    same for 2.5 MiB more of a meter's memory: docs/decisions.)
    """
    merged = {section: dict(fields) if isinstance(fields, dict) else fields for section, fields in content.items()}
    for name, text in environment.items():
        section, _, field = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not name.startswith(ENVIRONMENT_PREFIX) or not field:
            continue
        try:
            value = json.loads(text) if text[:1] in ("[", "{") else text
        except ValueError:
            raise ConfigurationError(f"environment variable {name}: not valid JSON") from None
        fields = merged.setdefault(section, {})
        if isinstance(fields, dict):
            fields[field] = value
    return merged


def load(config: type[Config], path: Path) -> Config:
    """The role's configuration from a TOML file and the environment; ConfigurationError naming file and first bad field."""
    return _validated(config, overridden(read_toml(path), os.environ), path)


def _validated(config: type[Config], content: dict[str, Any], path: Path) -> Config:
    try:
        return config.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "file"
        unknown = first["type"] == "extra_forbidden"
        said = "there is no such section or field" if unknown else first["msg"]
        raise ConfigurationError(f"{path}: {where}: {said}") from None


def load_some(path: Path, sections: tuple[str, ...]) -> ServiceConfig:
    """These sections of any role's configuration; ConfigurationError as `load`."""
    content = overridden(read_toml(path), os.environ)
    return _validated(ServiceConfig, {name: content[name] for name in sections if name in content}, path)


def read_token(path: Path | None) -> str | None:
    """The token in a file, None when no file is named; ConfigurationError when it cannot be read."""
    if path is None:
        return None
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{path}: the token cannot be read") from None
