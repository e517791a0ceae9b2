"""What a person can choose about a testbed, all of it, checked before anything is started."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from hushgrid.conducted.link_settings import LinkStage
from hushgrid.errors import ConfigurationError
from hushgrid.wire.model import Mechanism
from hushgrid.wire.role import Role
from testbed.brokers.engines import ENGINES
from testbed.choices.groups import GridChoice, LinkChoice, MachineChoice, MaskingChoice, PlayChoice
from testbed.choices.harms import Cast, Harms, ids, lies_come_to, others_killed
from testbed.choices.layout import ConsumerWish, lay_out, lay_out_masked, request_refusals, stations_of
from testbed.choices.link_options import check_parties, parse_stages
from testbed.choices.rules import RulesChoice

#: Options that count something.
_COUNTS = ("meters", "ppns", "consumers", "threshold", "width", "rounds", "minimum_contributors", "epoch_rounds")


@dataclass(frozen=True, slots=True)
class Parameters:
    """One run, in groups; no two groups have an option of one name."""

    grid: GridChoice = field(default_factory=GridChoice)
    play: PlayChoice = field(default_factory=PlayChoice)
    machine: MachineChoice = field(default_factory=MachineChoice)
    link: LinkChoice = field(default_factory=LinkChoice)
    masking: MaskingChoice = field(default_factory=MaskingChoice)
    harms: Harms = field(default_factory=Harms)
    file: RulesChoice = field(default_factory=RulesChoice)

    @classmethod
    def of(cls, **options: Any) -> Self:
        """From options by name, each put into its group; TypeError for an unknown one."""
        groups: dict[str, Any] = {
            "grid": GridChoice, "play": PlayChoice, "machine": MachineChoice, "link": LinkChoice,
            "masking": MaskingChoice, "harms": Harms, "file": RulesChoice,
        }  # fmt: skip
        for name, group in groups.items():
            own = {each.name for each in dataclasses.fields(group)} & options.keys()
            groups[name] = group(**{option: options.pop(option) for option in own})
        if options:
            raise TypeError(f"no such options: {', '.join(sorted(options))}")
        return cls(**groups)

    @property
    def options(self) -> dict[str, Any]:
        """All options by name."""
        groups = [getattr(self, group.name) for group in dataclasses.fields(self)]
        return {each.name: getattr(group, each.name) for group in groups for each in dataclasses.fields(group)}

    # Checks

    def check(self) -> None:
        """ConfigurationError for what cannot be played: one line, and of harms one for each that cannot be done."""
        self.check_choices()
        _refuse(self._refused_harms(None, None))

    def check_choices(self) -> None:
        """ConfigurationError with one line for what cannot be played, whatever is done to agents."""
        options = self.options
        for name in _COUNTS:
            if options[name] < 1:
                raise ConfigurationError(f"--{name.replace('_', '-')} must be at least 1")
        if not 0 <= self.grid.ppn_workers <= 64:
            raise ConfigurationError(f"--ppn-workers {self.grid.ppn_workers} is outside 0 to 64")
        self.masking.check(self.grid)
        self.link.check(self.play.rounds, self.play.seed)
        self.grid.check(needs_ppns=self.masking.mechanism is not Mechanism.PAIRWISE)
        self.play.check()
        self.machine.check_port()
        if self.grid.away_seconds <= 0:
            raise ConfigurationError(f"--away-seconds {self.grid.away_seconds:g} is not positive")
        self.grid.check_modulus(self.longest_window)
        self.machine.check_broker()

    def check_harms(self, meters: Sequence[str], wishes: Sequence[ConsumerWish]) -> None:
        """ConfigurationError with one line for everything that is to be done to somebody and cannot be.

        meters, wishes: of the run, as it will be started.
        """
        self.check_parties(meters, {wish.consumer_id for wish in wishes})
        _refuse(self._refused_harms(sorted(meters), wishes))

    def _refused_harms(self, meters: Sequence[str] | None, wishes: Sequence[ConsumerWish] | None) -> list[str]:
        """What is known without the meters and the rules of the run, when there are none yet."""
        machine, rounds = self.machine, self.play.rounds
        spare = ENGINES[machine.broker].spare if machine.broker in ENGINES and not machine.in_containers else ()
        others, absent = others_killed(
            spare, broker=machine.broker, in_containers=machine.in_containers, secure=machine.secure
        )
        consumers = frozenset(ids("consumer", self.grid.consumers))
        cast = Cast(
            rounds=rounds,
            ppns=frozenset(ids("ppn", self.serving_ppns)),
            consumers=consumers if wishes is None else frozenset(wish.consumer_id for wish in wishes),
            others=others | {Role.CONFIGURATOR.value},
            spare=frozenset(spare),
            stations=None if meters is None else self._carriers(meters),
            absent=absent,
        )
        rules = None if wishes is None else {(wish.consumer_id, wish.name) for wish in wishes}
        requests = request_refusals(self.play.requests, cast.consumers, rules, rounds, meters)
        return [*self.harms.refusals(cast, in_containers=machine.in_containers), *requests]

    def _carriers(self, meters: Sequence[str]) -> dict[str, str]:
        """By meter, the process that carries it."""
        stations = stations_of(tuple(meters), process_per_meter=self.machine.process_per_meter)
        return {meter: station for station, carried in stations.items() for meter in carried}

    def check_parties(self, meters: Sequence[str], consumers: Collection[str]) -> None:
        """ConfigurationError for a partition of parties that do not take part. consumers: those that are started."""
        parties: dict[Role, Collection[str]] = {
            Role.METER: set(meters),
            Role.PPN: ids("ppn", self.serving_ppns),
            Role.CONSUMER: consumers,
            Role.CONFIGURATOR: [Role.CONFIGURATOR.value],
        }
        check_parties(parse_stages(self.link.links, 0, self.play.seed), parties)

    # What follows from several groups

    def link_stages(self, first_round: int) -> tuple[LinkStage, ...]:
        """The link's stages in the order of their rounds, the first from the run's first round; ConfigurationError."""
        return self.link.stages(first_round, self.play.seed)

    def wishes(self, meters: Sequence[str]) -> list[ConsumerWish]:
        """What each consumer will ask for; ConfigurationError when there are too few meters."""
        if self.file.rules is not None:
            return list(self.file.asked)
        grid, masking = self.grid, self.masking
        if masking.mechanism is Mechanism.SHARES:
            return lay_out(meters, grid.consumers, grid.windows, grid.minimum_contributors)
        return lay_out_masked(masking.mechanism, grid.consumers, grid.windows, masking.period)

    @property
    def modulus_in_force(self) -> int:
        """q: the one given, or the smallest known that is large enough."""
        return self.grid.modulus_for(self.longest_window)

    @property
    def lies_come_to(self) -> list[str]:
        """What becomes of the sums that are lied about; nothing when nobody lies."""
        return lies_come_to(self.harms.lies, self.grid.threshold, self.grid.width)

    @property
    def longest_window(self) -> int:
        """The longest sum: a consumer's window, or a billing period."""
        return max(*self.grid.windows, self.masking.period if self.masking.mechanism is not Mechanism.SHARES else 1)

    @property
    def serving_ppns(self) -> int:
        """How many PPNs are started: masked readings that go straight to their consumer need none."""
        return 0 if self.masking.mechanism is Mechanism.PAIRWISE else self.grid.ppns

    def as_json(self) -> dict[str, object]:
        """For the report."""
        grid, play, harms = self.grid, self.play, self.harms
        return self.options | {
            "windows": list(grid.windows),
            "rules": str(self.file.rules) if self.file.rules else None,
            "names": list(self.file.names),
            "asked": [dataclasses.asdict(wish) for wish in self.file.asked],
            "recovery": grid.recovery.value,
            "data": str(play.data) if play.data else None,
            "start": play.start.isoformat() if play.start else None,
            "modulus": str(self.modulus_in_force),
            "kills": [f"{agent}@{round_number}" for agent, round_number in harms.kills],
            "stops": [f"{agent}@{round_number}" for agent, round_number in harms.stops],
            "pauses": [f"{agent}@{first}-{last}" for agent, first, last in harms.pauses],
            "cuts": [f"{agent}@{first}-{last}" for agent, first, last in harms.cuts],
            "liars": list(harms.liars),
            "mechanism": self.masking.mechanism.value,
            "variant": self.masking.variant.value,
            "links": list(self.link.links),
            "requests": [str(request) for request in play.requests],
            "round_seconds": play.round_seconds or "auto",
        }


def _refuse(lines: Sequence[str]) -> None:
    if lines:
        raise ConfigurationError("\n".join(lines))
