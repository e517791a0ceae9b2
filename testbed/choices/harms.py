"""What is done to the agents of a run, and everything about it that cannot be done: found before anything is started."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from hushgrid.core.decoding import Radius
from testbed.faults import Fault, Harm, Spell, overlaps


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part in a run of so many rounds, as far as harms can name them.

    others: what else is started again when it is killed: broker nodes, an authority. spare: nodes without any one of which the
    broker goes on. stations: by meter, the process that carries it; None while the meters are not known. absent: why something that
    a person may well name cannot be killed.
    """

    rounds: int
    ppns: frozenset[str]
    consumers: frozenset[str]
    others: frozenset[str]
    spare: frozenset[str]
    stations: Mapping[str, str] | None
    absent: Mapping[str, str]

    def why_not_killed(self, agent: str) -> str | None:
        """Why nobody of this name can be killed; None when it can be, or when the meters are not known yet."""
        if agent in self.ppns | self.consumers | self.others or self.stations is None:
            return self.absent.get(agent)
        if agent in self.stations.values():
            return None
        if agent in self.stations:
            return f"{self.stations[agent]} carries this meter: kill that, or play with --process-per-meter"
        return self.absent.get(agent, "there is no such agent")

    def outside(self, round_number: int) -> bool:
        """Whether no such round is played."""
        return not 1 <= round_number <= self.rounds


@dataclass(frozen=True, slots=True)
class Harms:
    """What is done to agents, in rounds counted from 1, when they have been played.

    kills: processes that are killed (SIGKILL) and come back; stops: PPNs that do not. pauses, cuts: (PPN, of cuts "broker" too, from,
    to): paused, or cut off from the network, from the first round until the second. liars: PPNs that add wrongly, "ppn-3" for
    everybody, "ppn-3:consumer-1" for one consumer.
    """

    kills: tuple[tuple[str, int], ...] = ()
    stops: tuple[tuple[str, int], ...] = ()
    pauses: tuple[tuple[str, int, int], ...] = ()
    cuts: tuple[tuple[str, int, int], ...] = ()
    liars: tuple[str, ...] = ()

    @property
    def faults(self) -> list[Fault]:
        """Everything that is to be done to agents, in no particular order."""
        found = [Fault(Harm.KILL, agent, at) for agent, at in self.kills]
        found += [Fault(Harm.STOP, agent, at) for agent, at in self.stops]
        for spans, begin, end in ((self.pauses, Harm.PAUSE, Harm.RESUME), (self.cuts, Harm.CUT, Harm.HEAL)):
            for agent, first, last in spans:
                found += [Fault(begin, agent, first), Fault(end, agent, last)]
        return found

    @property
    def lies(self) -> dict[str, str | None]:
        """Liar -> the only consumer it lies to, or None for all."""
        parts = [liar.partition(":") for liar in self.liars]
        return {ppn: consumer or None for ppn, _, consumer in parts}

    @property
    def misses_ppns(self) -> bool:
        """Whether PPNs are away for longer than a restart takes; a cluster's node is missed by nobody."""
        away = [agent for agent, _ in self.stops] + [agent for agent, _, _ in (*self.pauses, *self.cuts)]
        return any(agent.startswith("ppn-") for agent in away)

    def refusals(self, cast: Cast, *, in_containers: bool) -> list[str]:
        """One line for everything that names nobody of the cast, or no round, or that cannot be done beside another."""
        found = [*self._of_kills(cast), *self._of_stops(cast), *self._of_spans(cast, in_containers=in_containers)]
        return [*found, *self._of_liars(cast), *overlaps(self._spells)]

    def _of_kills(self, cast: Cast) -> Iterator[str]:
        for agent, at in dict.fromkeys(self.kills):
            why_not = cast.why_not_killed(agent)
            if why_not is not None:
                yield f"--kill {agent}@{at}: {why_not}"
            if cast.outside(at):
                yield f"--kill {agent}@{at}: {_counted(cast)}"

    def _of_stops(self, cast: Cast) -> Iterator[str]:
        for agent, at in dict.fromkeys(self.stops):
            if agent not in cast.ppns | cast.spare:
                yield f"--stop {agent}: there is no such PPN, nor such a node of a cluster"
            if cast.outside(at):
                yield f"--stop {agent}@{at}: {_counted(cast)}"

    def _of_spans(self, cast: Cast, *, in_containers: bool) -> Iterator[str]:
        if self.cuts and not in_containers:
            yield "--cut needs --runtime docker: a process shares this machine's network"
        for option, spans in (("--pause", self.pauses), ("--cut", self.cuts)):
            for agent, first, last in dict.fromkeys(spans):
                if option == "--pause" and agent == "broker":
                    yield "--pause broker: the rounds themselves go through it; cut it off instead"
                elif agent != "broker" and agent not in cast.ppns:
                    yield f"{option} {agent}: there is no such PPN, and it is not the broker"
                if cast.outside(first) or cast.outside(last) or last <= first:
                    yield f"{option} {agent}@{first}-{last}: {_counted(cast)}, and the first comes before the last"

    def _of_liars(self, cast: Cast) -> Iterator[str]:
        """A liar that is nobody, that lies to nobody, or that is named twice."""
        parts = [liar.partition(":") for liar in self.liars]
        for ppn in sorted({ppn for ppn, _, _ in parts} - cast.ppns):
            yield f"--liar {ppn}: there is no such PPN"
        if any(count > 1 for count in Counter(ppn for ppn, _, _ in parts).values()):
            yield "--liar: one PPN is named twice"
        for liar, (_, colon, consumer) in zip(self.liars, parts, strict=True):
            if colon and consumer not in cast.consumers:
                yield f"--liar {liar}: there is no such consumer"

    @property
    def _spells(self) -> Iterable[Spell]:
        spells = [Spell("--kill", agent, at, at) for agent, at in self.kills]
        spells += [Spell("--stop", agent, at, None) for agent, at in self.stops]
        spells += [Spell("--pause", *span) for span in self.pauses]
        return spells + [Spell("--cut", *span) for span in self.cuts]


def _counted(cast: Cast) -> str:
    return f"rounds are counted from 1 to {cast.rounds}"


def ids(role: str, count: int) -> list[str]:
    """What so many agents of a role are called."""
    return [f"{role}-{number}" for number in range(1, count + 1)]


def others_killed(
    nodes: Collection[str], *, broker: str, in_containers: bool, secure: bool
) -> tuple[frozenset[str], dict[str, str]]:
    """What beside agents is started again when it is killed, and why the rest is not. nodes: of a cluster."""
    others, absent = set(nodes), {}
    if in_containers:
        others.add("broker")
    elif "://" in broker:
        absent["broker"] = f"the broker at {broker} is not the testbed's own"
    elif nodes:
        absent["broker"] = f"this one has nodes: {', '.join(sorted(nodes))}"
    else:
        absent["broker"] = (
            "it is not started again, and the run ends with it: --broker nats-cluster or --runtime docker"
        )
    if secure:
        others.add("authority")
    else:
        absent["authority"] = "there is none without --secure"
    return frozenset(others), absent


def lies_come_to(lies: Mapping[str, str | None], threshold: int, width: int) -> list[str]:
    """What becomes of sums that so many PPNs lie about, in one line; none when nobody lies."""
    if not lies:
        return []
    to_one = Counter(consumer for consumer in lies.values() if consumer)
    most = sum(consumer is None for consumer in lies.values()) + max(to_one.values(), default=0)
    radius = Radius.of(width, threshold)
    who = f"{most} liar{'s' * (most > 1)} among {width} PPNs of a rule, threshold {threshold}"
    wider = next(n for n in itertools.count(threshold) if Radius.of(n, threshold).corrects >= most)
    if most <= radius.corrects:
        return [f"{who}: wrong shares are corrected"]
    if most <= radius.detects:
        return [f"{who}: wrong shares are noticed, and no sum is given; they are corrected from --width {wider} on"]
    return [
        f"{who}: more than can be noticed for certain, so that sums may be wrong; corrected from --width {wider} on"
    ]


def idle_liars(lies: Mapping[str, str | None], serving: Collection[tuple[str, str]]) -> list[str]:
    """The liars that serve no rule of a consumer they lie to. serving: PPNs with the consumers of their rules."""
    return sorted(
        liar
        for liar, towards in lies.items()
        if not any(ppn == liar and towards in (None, consumer) for ppn, consumer in serving)
    )
