"""What a station's meters mask with: their streams by plan, and the noises of each period. Memory over the journal."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence

from hushgrid.core.pairwise import Noise, SelfMask
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import KEY_BYTES
from hushgrid.plan.following import AdoptedPlan
from hushgrid.plan.parts import ConsumerEntry, MaskingPart
from hushgrid.plan.periods import stream_in_force
from hushgrid.shell.agent import Agent
from hushgrid.wire.model import Variant
from meter_agent.masked.journal import MaskingJournal
from meter_agent.masked.stream import MaskedStream
from meter_agent.masked.values import PairPeriod

log = logging.getLogger("hushgrid.meter")


class MaskedStreams:
    """See the module. members: every (meter, stream) that some plan asks for masked readings; stream 0 is shared (both)."""

    def __init__(self, agent: Agent, journal: MaskingJournal) -> None:
        self._agent = agent
        self._journal = journal
        self._versions: dict[int, dict[tuple[str, int], MaskedStream]] = {}
        self.members: set[tuple[str, int]] = set()
        self._noises: dict[PairPeriod, tuple[Noise, ...]] = {}
        self._self_masks: dict[tuple[str, int, bytes], SelfMask | None] = {}

    def adopt(self, adopted: AdoptedPlan, meters: Sequence[str]) -> None:
        """Take in the parts of a plan that ask for masked readings."""
        head, found = adopted.head, {}
        for meter in meters:
            own = self._agent.keyring.agreement(meter, head.epoch)
            for part in adopted.parts.get(meter, ()):
                if isinstance(part, MaskingPart) and own is not None:
                    found[meter, part.terms.stream] = MaskedStream.derive(meter, head, part, own, self._agent.grid)
        self._versions[head.version] = found
        self.members |= found.keys()
        if any(stream.terms.variant is Variant.PUBLISHED for stream in found.values()):
            log.warning("plan %d masks with the published noise, which does not hide readings", head.version)

    def in_plan(self, version: int) -> set[str]:
        """The meters that the plan asks for masked readings, shared ones included."""
        return {meter for meter, _ in self._versions.get(version, {})}

    def stream_of(self, member: tuple[str, int], round_number: int) -> tuple[MaskedStream, Window] | None:
        """Under what a meter masks a round: the plan in force for the first round of its billing period; None for none."""
        plans = self._agent.membership.plans
        return stream_in_force(plans, lambda version: self.in_version(version, member), round_number)

    def noises(self, stream: MaskedStream, period: Window) -> tuple[Noise, ...] | None:
        """The noises of one meter in one period; None while the pairs are not agreed."""
        place = stream.place(period)
        if place not in self._noises:
            drawn = None if stream.pairs else self._journal.drawn(place, stream.isolated_draws(period))
            noises = stream.noises(period, self._journal.setups(place), drawn)
            if noises is None:
                return None
            self._noises[place] = noises
        return self._noises[place]

    def self_mask(self, stream: MaskedStream) -> SelfMask | None:
        """The meter's second mask under this graph, where the plan asks for one; its secret is on disk."""
        key = (stream.meter, stream.terms.stream, stream.scope.to_bytes())
        if key not in self._self_masks:
            mask = None
            if stream.terms.self_masks:
                mask = stream.self_mask(self._journal.self_secret(*key, secrets.token_bytes(KEY_BYTES)))
            self._self_masks[key] = mask
        return self._self_masks[key]

    def of_version(self, version: int) -> list[MaskedStream]:
        """What one plan asks of this station's meters."""
        return list(self._versions.get(version, {}).values())

    def in_version(self, version: int, member: tuple[str, int]) -> MaskedStream | None:
        """What one plan asks of a (meter, stream)."""
        return self._versions.get(version, {}).get(member)

    def consumers(self) -> list[tuple[ConsumerEntry, int]]:
        """Whom masked readings go to, with the streams, over all plans."""
        parts = [stream.part for streams in self._versions.values() for stream in streams.values()]
        return [(part.consumer, part.terms.stream) for part in parts if part.consumer is not None]

    def forget_before(self, round_number: int) -> None:
        """Let go of the noises of periods before this round."""
        self._noises = {place: noises for place, noises in self._noises.items() if place.first_round >= round_number}
