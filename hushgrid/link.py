"""The lossy link between an agent and its MQTT client: which messages get lost, as a pure function.

A message is lost or not by (seed, kind, sender, receiver, round, attempt) alone, whatever the timing of processes: a run
is reproducible, and its outcome can be predicted and compared.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from hushgrid.messages import Envelope


@dataclass(frozen=True, slots=True)
class LossModel:
    """Independent loss. loss_fraction in [0, 1]; seed is simulated randomness, it protects nobody."""

    seed: int = 0
    loss_fraction: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.loss_fraction <= 1:
            raise ValueError("loss_fraction is outside [0, 1]")

    def drops(self, kind: str, sender: str, receiver: str, round_number: int, attempt: int = 0) -> bool:
        """True when the link loses this message."""
        if self.loss_fraction == 0:
            return False
        label = f"{kind}\x00{sender}\x00{receiver}".encode()
        digest = hashlib.blake2b(
            struct.pack(">qqq", self.seed, round_number, attempt) + label, digest_size=8, person=b"hushgrid link"
        ).digest()
        return int.from_bytes(digest, "big") < self.loss_fraction * 2**64


def pass_envelope(
    envelope: Envelope, model: LossModel, meter_ids: Mapping[int, str], receiver: str
) -> tuple[Envelope | None, frozenset[int]]:
    """What of an envelope gets through: the envelope (None when nothing is left) and the lost positions.

    meter_ids: by meter number; receiver: the PPN's id.
    """
    lost = frozenset(
        position
        for position, (number, _) in envelope.shares.items()
        if model.drops("share", meter_ids[number], receiver, envelope.round, envelope.attempt)
    )
    if not lost:
        return envelope, lost
    left = {position: share for position, share in envelope.shares.items() if position not in lost}
    if not left:
        return None, lost
    passed = Envelope(
        envelope.plan_version,
        envelope.round,
        envelope.point,
        envelope.sequence,
        envelope.size,
        envelope.attempt,
        left,
    )
    return passed, lost
