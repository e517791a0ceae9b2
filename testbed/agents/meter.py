"""A meter whose link loses, delays and doubles what it sends: `python -m testbed.agents.meter --config FILE.toml`.

Its configuration may have a `[link]`, which a deployed meter's may not; the conductor's later stages are followed. In all else
it is the deployed meter.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from hushgrid.conducted.envelopes import pass_envelope
from hushgrid.conducted.link_settings import LinkSection
from hushgrid.conducted.loss import MASKED, REPAIR, SHARE
from hushgrid.conducted.lossy_link import LossyLink
from hushgrid.shell.agent import Agent
from hushgrid.shell.config import read_token
from hushgrid.shell.membership import Member
from hushgrid.shell.runtime import run
from hushgrid.shell.transport import Transport
from hushgrid.wire.masked import MaskedEnvelope
from hushgrid.wire.role import Role
from hushgrid.wire.shares import Envelope, RepairRequest
from meter_agent.config import MeterConfig
from meter_agent.link import Send
from meter_agent.service import MeterStation


class LinkedMeterConfig(MeterConfig):
    """A meter's configuration with what its link does."""

    link: LinkSection = LinkSection()


class StationLink:
    """The lossy link as a station has it: messages by the meters whose readings are in them (see `meter_agent.link`)."""

    def __init__(self, lossy: LossyLink, agent: Callable[[], Agent], meters: Sequence[str]) -> None:
        self._lossy = lossy
        self._agent = agent
        self._meters = meters
        self._ids: dict[int, str] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        #: By (stream, round, meter number): how often a masked reading was sent, and those whose last sending was lost.
        self._sent: dict[tuple[int, int, int], int] = {}
        self._lost: set[tuple[int, int, int]] = set()

    async def say(self, said: Envelope | MaskedEnvelope, receiver: str, send: Send, /) -> None:
        """Send what is not lost."""
        if isinstance(said, Envelope):
            await self._say_shares(said, receiver, send)
        else:
            await self._say_masked(said, receiver, send)

    async def _say_shares(self, said: Envelope, ppn: str, send: Send) -> None:
        passed, lost = pass_envelope(said, self._lossy, self._names(), ppn)
        parties = [(self._names()[said.shares[position][0]], ppn) for position in sorted(lost)]
        self._lossy.note(SHARE, parties, said.round, said.attempt)
        if passed is None:
            return
        # An envelope travels as one message: one delay for all its shares.
        sender = f"{self._agent().id}/{said.sequence}"
        for seconds in self._lossy.delays(SHARE, sender, ppn, said.round, said.attempt):
            if seconds:
                task = asyncio.create_task(_later(seconds, send, passed.to_bytes()))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            else:
                await send(passed.to_bytes())

    async def _say_masked(self, said: MaskedEnvelope, consumer: str, send: Send) -> None:
        """Every sending of a masked reading is lost or not by itself."""
        passed = {}
        for number, sealed in said.sealed.items():
            meter, key = self._names()[number], (said.stream, said.round, number)
            attempt = self._sent.get(key, 0)
            self._sent[key] = attempt + 1
            if self._lossy.drops(MASKED, meter, consumer, said.round, attempt):
                self._lossy.note(MASKED, [(meter, consumer)], said.round, attempt)
                self._lost.add(key)
            else:
                passed[number] = sealed
                self._lost.discard(key)
        if passed:
            await send(replace(said, sealed=passed).to_bytes())

    def given_up(self, said: Envelope | MaskedEnvelope, receiver: str, /) -> int:
        """What the link has lost of it, or will."""
        if isinstance(said, Envelope):
            return len(pass_envelope(said, self._lossy, self._names(), receiver)[1])
        return sum((said.stream, said.round, number) in self._lost for number in said.sealed)

    def heard(self, request: RepairRequest, ppn: str, /) -> RepairRequest:
        """What the link loses of the request itself was never asked for."""
        names = self._names()
        asked = {number: names[number] for number in request.numbers if number in names}
        lost = {n for n, m in asked.items() if self._lossy.drops(REPAIR, ppn, m, request.round, request.attempt)}
        self._lossy.note(REPAIR, [(ppn, asked[n]) for n in sorted(lost)], request.round, request.attempt)
        return replace(request, numbers=tuple(number for number in asked if number not in lost))

    def figures(self) -> dict[str, int]:
        """How many shares and masked readings were lost when they were first sent."""
        return {"lost": self._lossy.lost_at_first(SHARE), "masked_lost": self._lossy.lost_at_first(MASKED)}

    def _names(self) -> dict[int, str]:
        """Meter ids by number, of those that are enrolled."""
        if len(self._ids) < len(self._meters):
            numbers = {meter: self._agent().keyring.number(meter) for meter in self._meters}
            self._ids = {number: meter for meter, number in numbers.items() if number is not None}
        return self._ids


async def _later(seconds: float, send: Send, payload: bytes) -> None:
    await asyncio.sleep(seconds)
    await send(payload)


def linked(
    config: LinkedMeterConfig, meters: Sequence[Member], carrier: Member | None, transport: Transport | None = None
) -> MeterStation:
    """A station behind such a link."""
    lossy = LossyLink(config.link.model, lambda: station.agent.pacing.link_stages, config.agent.state_directory)
    link = StationLink(lossy, lambda: station.agent, [meter.id for meter in meters])
    station = MeterStation(config, meters, carrier, transport, link=link)
    return station


async def serve(config: LinkedMeterConfig) -> None:
    """Run one meter."""
    section = config.agent
    meter = Member(section.id, Role.METER, read_token(section.token_file))
    await linked(config, [meter], None).run()


def main() -> None:
    """Entry of the process."""
    sys.exit(run("hushgrid-meter", LinkedMeterConfig, serve))


if __name__ == "__main__":
    main()
