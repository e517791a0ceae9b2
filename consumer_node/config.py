"""Configuration of a consumer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from hushgrid.errors import ConfigurationError
from hushgrid.shell.config import RoleConfig
from hushgrid.wire.model import Mechanism, Model, Name


class WishSection(Model):
    """One rule this consumer asks for. cohort: "all", meter ids, or inclusive ranges "first..last". mechanism: pairwise gives
    bills over window_rounds and columns of single rounds.

    coverage_floor_fraction: a sum over a smaller part of the cohort's pairs is of no use to this consumer: it is not given.
    """

    name: Name
    mechanism: Mechanism = Mechanism.SHARES
    cohort: Literal["all"] | tuple[str, ...] = "all"
    window_rounds: Annotated[int, Field(ge=0)] = 1
    minimum_contributors: Annotated[int, Field(ge=0)] | None = None
    coverage_floor_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0

    @classmethod
    def of(cls, *, name: str, cohort: str, window_rounds: int, minimum_contributors: int | None = None) -> WishSection:
        """From what a person typed: a cohort's items are separated by commas. ConfigurationError naming what is wrong."""
        items = "all" if cohort == "all" else tuple(item.strip() for item in cohort.split(","))
        try:
            return cls.model_validate(
                {
                    "name": name,
                    "cohort": items,
                    "window_rounds": window_rounds,
                    "minimum_contributors": minimum_contributors,
                }
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigurationError(f"{'.'.join(str(step) for step in first['loc'][:1])}: {first['msg']}") from None


class ConsumerSection(Model):
    """rules: what it asks for from the start; more with `hushgrid-consumer request`.

    patience_seconds: how long it waits for the rest once t aggregate shares agree.
    """

    rules: tuple[WishSection, ...] = ()
    patience_seconds: Annotated[float, Field(ge=0)] = 30.0


class ResultsSection(Model):
    """Where results are kept: sqlite:///FILE or postgresql://NAME@HOST/DATABASE; by default `results.sqlite` in state_directory.

    password_file: holds the password of a PostgreSQL account.
    """

    url: str | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _whole_account(self) -> ResultsSection:
        if self.password_file is not None and not (self.url or "").startswith("postgresql:"):
            raise ValueError("password_file belongs to a url of the form postgresql://NAME@HOST/DATABASE")
        return self


class ConsumerConfig(RoleConfig):
    """`hushgrid-consumer --config FILE.toml`."""

    consumer: ConsumerSection
    results: ResultsSection = ResultsSection()

    @property
    def results_url(self) -> str:
        """Where results are kept."""
        return self.results.url or f"sqlite:///{self.agent.state_directory.absolute() / 'results.sqlite'}"

    def results_password(self) -> str | None:
        """ConfigurationError when the file cannot be read."""
        path = self.results.password_file
        if path is None:
            return None
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError(f"{path}: the password cannot be read") from None
