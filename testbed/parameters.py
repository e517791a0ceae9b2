"""What a person can choose about a testbed, checked before anything is started."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from configurator.graphs import parse_shape
from hushgrid.control import Role
from hushgrid.errors import ConfigurationError
from hushgrid.field import check_modulus, choose_modulus, is_prime
from hushgrid.link_settings import LinkStage
from hushgrid.plan import MAX_REPAIR_ATTEMPTS, Mechanism, Recovery, Variant
from testbed.broker import check_choice
from testbed.engines import ENGINES
from testbed.faults import Fault, Harm, Spell, check_apart
from testbed.layout import LateRequest
from testbed.link_options import check_parties, check_rounds, parse_stages

#: Options that say nothing about shares of readings.
_OF_MASKED_READINGS = ("graph", "variant", "unsafe_published", "period", "colluders", "self_masks", "losses_borne")
#: Option, least, most.
_OF_MASKED_RANGES = (("period", 2, 2**16 - 1), ("colluders", 0, 10_000), ("losses_borne", 0, 10_000))


@dataclass(frozen=True, slots=True)
class Parameters:
    """One run. round_seconds: None for auto; data: None for constructed households; windows: the consumers take them in turn.

    kills: (agent id, round counted from 1) of processes to be killed (SIGKILL) when that round has been played; stops: the
    same of PPNs that do not come back. pauses, cuts: (PPN, of cuts "broker" too, from, to): paused, or cut off from the network, when
    the first round has been played, and back when the second has. runtime: what an agent is, process or docker.
    liars: PPNs that add wrongly, "ppn-3" for everybody, "ppn-3:consumer-1" for one
    consumer.
    graph, variant, period (rounds), colluders, self_masks, losses_borne: of the mechanisms pairwise and both.
    links: what the lossy link does from which round on, beside `loss`, as `testbed.link_options` reads it.
    """

    meters: int = 100
    ppns: int = 5
    consumers: int = 3
    threshold: int = 3
    width: int = 4
    rounds: int = 8
    windows: tuple[int, ...] = (1, 2)
    round_seconds: float | None = None
    minimum_contributors: int = 15
    recovery: Recovery = Recovery.REPAIR
    repair_attempts: int = 5
    loss: float = 0.0
    seed: int = 1
    data: Path | None = None
    start: dt.datetime | None = None
    broker: str = "auto"
    port: int | None = None
    secure: bool = False
    certificate_seconds: float = 86_400.0
    process_per_meter: bool = False
    ppn_workers: int = 0
    epoch_rounds: int = 336
    modulus: int | None = None
    reading_bound_watt_hours: int = 100_000
    kills: tuple[tuple[str, int], ...] = ()
    stops: tuple[tuple[str, int], ...] = ()
    pauses: tuple[tuple[str, int, int], ...] = ()
    cuts: tuple[tuple[str, int, int], ...] = ()
    runtime: str = "process"
    liars: tuple[str, ...] = ()
    mechanism: Mechanism = Mechanism.SHARES
    graph: str = "circulant:1,2"
    variant: Variant = Variant.HARDENED
    unsafe_published: bool = False
    period: int = 48
    colluders: int = 3
    self_masks: bool = False
    losses_borne: int = 2
    requests: tuple[LateRequest, ...] = ()
    away_seconds: float = 60.0
    links: tuple[str, ...] = ()

    def link_stages(self, first_round: int) -> tuple[LinkStage, ...]:
        """The link's stages in the order of their rounds, the first from the run's first round; ConfigurationError."""
        stages = parse_stages(self.links, first_round, self.seed)
        if stages and stages[0].from_round == first_round:
            return stages
        return (LinkStage(from_round=first_round, loss_fraction=self.loss, seed=self.seed), *stages)

    @property
    def faults(self) -> list[Fault]:
        """Everything that is to be done to agents, in no particular order."""
        found = [Fault(Harm.KILL, agent, at) for agent, at in self.kills]
        found += [Fault(Harm.STOP, agent, at) for agent, at in self.stops]
        for spans, begin, end in ((self.pauses, Harm.PAUSE, Harm.RESUME), (self.cuts, Harm.CUT, Harm.HEAL)):
            for agent, first, last in spans:
                found += [Fault(begin, agent, first), Fault(end, agent, last)]
        return found

    def check(self) -> None:
        """ConfigurationError with one line for what cannot be played."""
        for name in (
            "meters",
            "ppns",
            "consumers",
            "threshold",
            "width",
            "rounds",
            "minimum_contributors",
            "epoch_rounds",
        ):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"--{name.replace('_', '-')} must be at least 1")
        if not 0 <= self.ppn_workers <= 64:
            raise ConfigurationError(f"--ppn-workers {self.ppn_workers} is outside 0 to 64")
        self._check_masking()
        self._check_stages()
        if self.threshold > self.width:
            raise ConfigurationError(f"--threshold {self.threshold} exceeds --width {self.width}")
        if self.width > self.ppns and self.mechanism is not Mechanism.PAIRWISE:
            raise ConfigurationError(
                f"--width {self.width} exceeds --ppns {self.ppns}: every share goes to a PPN of its own"
            )
        if self.recovery is not Recovery.NONE and 2 * self.threshold <= self.width:
            raise ConfigurationError(
                f"--threshold {self.threshold} is not above half of --width {self.width}: allowed with --recovery none only"
            )
        if not 1 <= self.repair_attempts <= MAX_REPAIR_ATTEMPTS:
            raise ConfigurationError(f"--repair-attempts {self.repair_attempts} is outside 1 to {MAX_REPAIR_ATTEMPTS}")
        if not 0 <= self.loss <= 1:
            raise ConfigurationError(f"--loss {self.loss} is outside 0 to 1")
        if not self.windows or min(self.windows) < 1:
            raise ConfigurationError("--window takes whole numbers from 1, separated by commas")
        if self.round_seconds is not None and self.round_seconds <= 0:
            raise ConfigurationError("--round-seconds must be positive, or auto")
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ConfigurationError(f"--port {self.port} is outside 1 to 65535")
        self._check_agents()
        self._check_modulus()
        self._check_broker()

    def _check_stages(self) -> None:
        if not -(2**63) <= self.seed < 2**63:
            raise ConfigurationError(f"--seed {self.seed} has more than 64 bits")
        stages = parse_stages(self.links, 0, self.seed)
        check_rounds(stages, 0, self.rounds)
        if self.loss and any(stage.from_round == 0 for stage in stages):
            raise ConfigurationError("--loss and --link both say what the first round loses")

    def _check_broker(self) -> None:
        if self.runtime != "docker":
            check_choice(self.broker, secure=self.secure)
        elif self.broker not in ("auto", "mosquitto"):
            raise ConfigurationError(f"--runtime docker starts a Mosquitto of its own: not with --broker {self.broker}")
        elif self.port is not None:
            raise ConfigurationError("--port is for --runtime process: the container's port is a free one")
        if self.certificate_seconds < 5:
            raise ConfigurationError("--certificate-seconds must be at least 5: agents need time to renew")

    def _check_agents(self) -> None:
        """Whoever is named takes part."""
        ppns = {f"ppn-{number}" for number in range(1, self.ppns + 1)}
        spare = set(ENGINES[self.broker].spare) if self.broker in ENGINES else set()
        stopped = {agent for agent, _ in self.stops}
        served = {f"ppn-{number}" for number in range(1, self.serving_ppns + 1)}
        for option, named, known in (("--liar", set(self.lies), served), ("--stop", stopped, ppns | spare)):
            if named - known:
                raise ConfigurationError(f"{option} {min(named - known)}: there is no such PPN")
        self._check_absences(ppns)
        if self.away_seconds <= 0:
            raise ConfigurationError(f"--away-seconds {self.away_seconds:g} is not positive")
        consumers = {f"consumer-{number}" for number in range(1, self.consumers + 1)}
        self._check_liars(consumers)
        for request in self.requests:
            if request.consumer not in consumers:
                raise ConfigurationError(f"{request.consumer}@{request.after_round}: there is no such consumer")

    def _check_liars(self, consumers: set[str]) -> None:
        if len(self.lies) < len(self.liars):
            raise ConfigurationError("--liar: one PPN is named twice")
        for liar in self.liars:
            _, colon, consumer = liar.partition(":")
            if colon and consumer not in consumers:
                raise ConfigurationError(f"--liar {liar}: there is no such consumer")

    def check_parties(self, meters: Sequence[str], consumers: Collection[str]) -> None:
        """ConfigurationError for a partition of parties that do not take part. consumers: those that are started."""
        ppns = [f"ppn-{number}" for number in range(1, self.serving_ppns + 1)]
        parties: dict[Role, Collection[str]] = {
            Role.METER: set(meters),
            Role.PPN: ppns,
            Role.CONSUMER: consumers,
            Role.CONFIGURATOR: [Role.CONFIGURATOR.value],
        }
        check_parties(parse_stages(self.links, 0, self.seed), parties)

    @property
    def lies(self) -> dict[str, str | None]:
        """Liar -> the only consumer it lies to, or None for all."""
        parts = [liar.partition(":") for liar in self.liars]
        return {ppn: consumer or None for ppn, _, consumer in parts}

    def _check_masking(self) -> None:
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        given = [name for name in _OF_MASKED_READINGS if getattr(self, name) != defaults[name]]
        if given and self.mechanism is Mechanism.SHARES:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ConfigurationError(f"{options}: for --mechanism pairwise or both only")
        shape = parse_shape(self.graph)
        for name, least, most in _OF_MASKED_RANGES:
            if not least <= getattr(self, name) <= most:
                raise ConfigurationError(
                    f"--{name.replace('_', '-')} {getattr(self, name)} is outside {least} to {most}"
                )
        if self.mechanism is Mechanism.SHARES:
            return
        if "losses_borne" in given and not self.self_masks:
            raise ConfigurationError("--losses-borne needs --self-masks: without them a round waits for every meter")
        shape.check(self.meters)
        if self.variant is Variant.PUBLISHED and not self.unsafe_published:
            raise ConfigurationError(
                "--variant published hides nothing (docs/pairwise.md): it needs the explicit flag --unsafe-published"
            )
        if self.variant is Variant.PUBLISHED and self.mechanism is Mechanism.BOTH:
            raise ConfigurationError("--mechanism both masks in Z_q: --variant published is for --mechanism pairwise")
        if self.mechanism is Mechanism.BOTH and any(self.period % window for window in self.windows if window > 0):
            raise ConfigurationError(f"--window: under --mechanism both each divides --period {self.period}")
        if self.self_masks and (self.variant is Variant.PUBLISHED or self.mechanism is not Mechanism.PAIRWISE):
            raise ConfigurationError("--self-masks are for --mechanism pairwise --variant hardened")
        beside = (self.colluders if self.variant is Variant.HARDENED else 0) + (self.borne if self.self_masks else 0)
        if self.meters < self.minimum_contributors + beside:
            raise ConfigurationError(
                f"--meters {self.meters}: {self.minimum_contributors} honest ones beside {beside} that collude or are absent "
                f"make {self.minimum_contributors + beside}"
            )

    @property
    def borne(self) -> int:
        """Meters of one area that a round may be closed without."""
        return self.losses_borne if self.self_masks else 0

    def _check_modulus(self) -> None:
        if self.modulus is None:
            return
        if not is_prime(self.modulus):
            raise ConfigurationError(f"--modulus {self.modulus} is not prime")
        check_modulus(self.modulus, self.meters, self.longest_window, self.reading_bound_watt_hours)

    def _check_absences(self, ppns: set[str]) -> None:
        if self.cuts and self.runtime != "docker":
            raise ConfigurationError("--cut needs --runtime docker: a process shares this machine's network")
        for option, spans in (("--pause", self.pauses), ("--cut", self.cuts)):
            for agent, first, last in spans:
                if option == "--pause" and agent == "broker":
                    raise ConfigurationError("--pause broker: the rounds themselves go through it; cut it off instead")
                if agent not in ppns | {"broker"}:
                    raise ConfigurationError(f"{option} {agent}: there is no such PPN, and it is not the broker")
                if not 1 <= first < last <= self.rounds:
                    raise ConfigurationError(
                        f"{option} {agent}@{first}-{last}: rounds are counted from 1 to {self.rounds}"
                    )
        check_apart(self._spells)

    @property
    def _spells(self) -> list[Spell]:
        spells = [Spell("--kill", agent, at, at) for agent, at in self.kills]
        spells += [Spell("--stop", agent, at, None) for agent, at in self.stops]
        spells += [Spell("--pause", *span) for span in self.pauses]
        return spells + [Spell("--cut", *span) for span in self.cuts]

    @property
    def misses_ppns(self) -> bool:
        """Whether PPNs are away for longer than a restart takes; a cluster's node is missed by nobody."""
        away = [agent for agent, _ in self.stops] + [agent for agent, _, _ in (*self.pauses, *self.cuts)]
        return any(agent.startswith("ppn-") for agent in away)

    @property
    def modulus_in_force(self) -> int:
        """q: the one given, or the smallest known that is large enough."""
        return self.modulus or choose_modulus(self.meters, self.longest_window, self.reading_bound_watt_hours)

    @property
    def longest_window(self) -> int:
        """The longest sum: a consumer's window, or a billing period."""
        return max(*self.windows, self.period if self.mechanism is not Mechanism.SHARES else 1)

    @property
    def serving_ppns(self) -> int:
        """How many PPNs are started: masked readings that go straight to their consumer need none."""
        return 0 if self.mechanism is Mechanism.PAIRWISE else self.ppns

    def as_json(self) -> dict[str, object]:
        """For the report."""
        shown = dataclasses.asdict(self)
        shown |= {
            "windows": list(self.windows),
            "recovery": self.recovery.value,
            "data": str(self.data) if self.data else None,
            "start": self.start.isoformat() if self.start else None,
            "modulus": str(self.modulus_in_force),
            "kills": [f"{agent}@{round_number}" for agent, round_number in self.kills],
            "stops": [f"{agent}@{round_number}" for agent, round_number in self.stops],
            "pauses": [f"{agent}@{first}-{last}" for agent, first, last in self.pauses],
            "cuts": [f"{agent}@{first}-{last}" for agent, first, last in self.cuts],
            "liars": list(self.liars),
            "mechanism": self.mechanism.value,
            "variant": self.variant.value,
            "links": list(self.links),
            "requests": [str(request) for request in self.requests],
            "round_seconds": self.round_seconds or "auto",
        }
        return shown
