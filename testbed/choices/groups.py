"""What a person can choose about a testbed, by what it is about; each group checks what it can say alone."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from configurator.masked.graphs import parse_shape
from hushgrid.conducted.link_settings import LinkStage
from hushgrid.core.field import check_modulus, choose_modulus, is_prime
from hushgrid.core.recovery import Recovery
from hushgrid.errors import ConfigurationError
from hushgrid.wire.model import MAX_REPAIR_ATTEMPTS, Mechanism, Variant
from testbed.brokers.broker import check_choice
from testbed.choices.layout import LateRequest
from testbed.choices.link_options import check_rounds, parse_stages

#: Option of masked readings, least, most.
_RANGES = (("period", 2, 2**16 - 1), ("colluders", 0, 10_000), ("losses_borne", 0, 10_000))


@dataclass(frozen=True, slots=True)
class GridChoice:
    """Who takes part, and what their plan says. windows: the consumers take them in turn; modulus: None for the smallest known."""

    meters: int = 100
    ppns: int = 5
    consumers: int = 3
    threshold: int = 3
    width: int = 4
    windows: tuple[int, ...] = (1, 2)
    minimum_contributors: int = 15
    recovery: Recovery = Recovery.REPAIR
    repair_attempts: int = 5
    ppn_workers: int = 0
    epoch_rounds: int = 336
    modulus: int | None = None
    reading_bound_watt_hours: int = 100_000
    away_seconds: float = 60.0

    def check(self, *, needs_ppns: bool) -> None:
        """ConfigurationError for a plan that cannot be. needs_ppns: readings are shared."""
        if self.threshold > self.width:
            raise ConfigurationError(f"--threshold {self.threshold} exceeds --width {self.width}")
        if self.width > self.ppns and needs_ppns:
            raise ConfigurationError(
                f"--width {self.width} exceeds --ppns {self.ppns}: every share goes to a PPN of its own"
            )
        if self.recovery.agrees and 2 * self.threshold <= self.width:
            raise ConfigurationError(
                f"--threshold {self.threshold} is not above half of --width {self.width}: allowed with --recovery none only"
            )
        if not 1 <= self.repair_attempts <= MAX_REPAIR_ATTEMPTS:
            raise ConfigurationError(f"--repair-attempts {self.repair_attempts} is outside 1 to {MAX_REPAIR_ATTEMPTS}")
        if not self.windows or min(self.windows) < 1:
            raise ConfigurationError("--window takes whole numbers from 1, separated by commas")

    def check_modulus(self, longest_window: int) -> None:
        """ConfigurationError for a modulus that is no prime, or too small for the longest sum."""
        if self.modulus is None:
            return
        if not is_prime(self.modulus):
            raise ConfigurationError(f"--modulus {self.modulus} is not prime")
        check_modulus(self.modulus, self.meters, longest_window, self.reading_bound_watt_hours)

    def modulus_for(self, longest_window: int) -> int:
        """q: the one given, or the smallest known that is large enough."""
        return self.modulus or choose_modulus(self.meters, longest_window, self.reading_bound_watt_hours)


@dataclass(frozen=True, slots=True)
class PlayChoice:
    """Which rounds are played, with whose readings. round_seconds: None for auto; data: None for constructed households.

    requests: what consumers ask for, or give up, in mid-run.
    """

    rounds: int = 8
    round_seconds: float | None = None
    seed: int = 1
    data: Path | None = None
    start: dt.datetime | None = None
    requests: tuple[LateRequest, ...] = ()

    def check(self) -> None:
        """ConfigurationError for a pace that cannot be."""
        if self.round_seconds is not None and self.round_seconds <= 0:
            raise ConfigurationError("--round-seconds must be positive, or auto")


@dataclass(frozen=True, slots=True)
class MachineChoice:
    """What the agents and the broker are on this machine. runtime: what an agent is, process or docker."""

    broker: str = "auto"
    port: int | None = None
    secure: bool = False
    certificate_seconds: float = 86_400.0
    process_per_meter: bool = False
    runtime: str = "process"

    @property
    def in_containers(self) -> bool:
        """Whether agents are containers."""
        return self.runtime == "docker"

    def check_port(self) -> None:
        """ConfigurationError for a port that is none."""
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ConfigurationError(f"--port {self.port} is outside 1 to 65535")

    def check_broker(self) -> None:
        """ConfigurationError for a broker that cannot be had."""
        if not self.in_containers:
            check_choice(self.broker, secure=self.secure)
        elif self.broker not in ("auto", "mosquitto"):
            raise ConfigurationError(f"--runtime docker starts a Mosquitto of its own: not with --broker {self.broker}")
        elif self.port is not None:
            raise ConfigurationError("--port is for --runtime process: the container's port is a free one")
        if self.certificate_seconds < 5:
            raise ConfigurationError("--certificate-seconds must be at least 5: agents need time to renew")


@dataclass(frozen=True, slots=True)
class LinkChoice:
    """The lossy link. links: what it does from which round on, beside `loss`, as `testbed.choices.link_options` reads it."""

    loss: float = 0.0
    links: tuple[str, ...] = ()

    def stages(self, first_round: int, seed: int) -> tuple[LinkStage, ...]:
        """What it does, in the order of the rounds, the first from the run's first round; ConfigurationError."""
        found = parse_stages(self.links, first_round, seed)
        if found and found[0].from_round == first_round:
            return found
        return (LinkStage(from_round=first_round, loss_fraction=self.loss, seed=seed), *found)

    def check(self, rounds: int, seed: int) -> None:
        """ConfigurationError for what is never in force or said twice."""
        if not -(2**63) <= seed < 2**63:
            raise ConfigurationError(f"--seed {seed} has more than 64 bits")
        found = parse_stages(self.links, 0, seed)
        check_rounds(found, 0, rounds)
        if self.loss and any(stage.from_round == 0 for stage in found):
            raise ConfigurationError("--loss and --link both say what the first round loses")
        if not 0 <= self.loss <= 1:
            raise ConfigurationError(f"--loss {self.loss} is outside 0 to 1")


@dataclass(frozen=True, slots=True)
class MaskingChoice:
    """What is masked, and how. Everything but mechanism is of the mechanisms pairwise and both; period is in rounds."""

    mechanism: Mechanism = Mechanism.SHARES
    graph: str = "circulant:1,2"
    variant: Variant = Variant.HARDENED
    unsafe_published: bool = False
    period: int = 48
    colluders: int = 3
    self_masks: bool = False
    losses_borne: int = 2

    @property
    def borne(self) -> int:
        """Meters of one area that a round may be closed without."""
        return self.losses_borne if self.self_masks else 0

    def check(self, grid: GridChoice) -> None:
        """ConfigurationError for what says nothing about shares, or what cannot be masked that way."""
        options = [field for field in dataclasses.fields(self) if field.name != "mechanism"]
        given = [option.name for option in options if getattr(self, option.name) != option.default]
        if given and self.mechanism is Mechanism.SHARES:
            named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ConfigurationError(f"{named}: for --mechanism pairwise or both only")
        shape = parse_shape(self.graph)
        for name, least, most in _RANGES:
            if not least <= getattr(self, name) <= most:
                raise ConfigurationError(
                    f"--{name.replace('_', '-')} {getattr(self, name)} is outside {least} to {most}"
                )
        if self.mechanism is Mechanism.SHARES:
            return
        if "losses_borne" in given and not self.self_masks:
            raise ConfigurationError("--losses-borne needs --self-masks: without them a round waits for every meter")
        shape.check(grid.meters)
        self._check_variant(grid.windows)
        beside = (self.colluders if self.variant is Variant.HARDENED else 0) + self.borne
        if grid.meters < grid.minimum_contributors + beside:
            raise ConfigurationError(
                f"--meters {grid.meters}: {grid.minimum_contributors} honest ones beside {beside} that collude or are absent "
                f"make {grid.minimum_contributors + beside}"
            )

    def _check_variant(self, windows: tuple[int, ...]) -> None:
        if self.variant is Variant.PUBLISHED and not self.unsafe_published:
            raise ConfigurationError(
                "--variant published hides nothing (docs/pairwise.md): it needs the explicit flag --unsafe-published"
            )
        if self.variant is Variant.PUBLISHED and self.mechanism is Mechanism.BOTH:
            raise ConfigurationError("--mechanism both masks in Z_q: --variant published is for --mechanism pairwise")
        if self.mechanism is Mechanism.BOTH and any(self.period % window for window in windows if window > 0):
            raise ConfigurationError(f"--window: under --mechanism both each divides --period {self.period}")
        if self.self_masks and (self.variant is Variant.PUBLISHED or self.mechanism is not Mechanism.PAIRWISE):
            raise ConfigurationError("--self-masks are for --mechanism pairwise --variant hardened")
