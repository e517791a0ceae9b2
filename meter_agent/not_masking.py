"""What a station has instead of `meter_agent.masking_service` until a plan asks for masked readings: it costs no memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hushgrid.errors import MessageError, RejectReason
from hushgrid.membership import AdoptedPlan
from hushgrid.topics import Topic


class NotMasking:
    """Answers as a station that masks nothing; see `Masking` for what each method is about."""

    def adopt(self, adopted: AdoptedPlan, meters: Sequence[str]) -> None:
        """There is nothing to take in."""

    async def advance(self) -> None:
        """Nothing is due."""

    async def hear_consumer(self, parsed: Topic, _payload: bytes) -> None:
        """MessageError: nobody has to say this here."""
        raise MessageError(RejectReason.NOT_IN_PLAN, parsed.channel.value)

    async def hear_pair(self, parsed: Topic, _payload: bytes) -> None:
        """MessageError: nobody has to say this here."""
        raise MessageError(RejectReason.NOT_IN_PLAN, parsed.channel.value)

    def shared_terms(self, _meter: str, _round_number: int) -> tuple[tuple[int, ...], ...] | None:
        """Readings are shared bare."""
        return ()

    def epoch_in_use(self, _metered_through: int) -> int | None:
        """No key is needed for masks."""
        return None

    def in_plan(self, _version: int) -> set[str]:
        """No meter."""
        return set()

    def stated_through(self) -> Iterator[int | None]:
        """No meter."""
        return iter(())

    def figures(self) -> dict[str, int]:
        """Nothing waits."""
        return {"outbox": 0, "waiting": 0}

    def close(self) -> None:
        """There is no store."""
