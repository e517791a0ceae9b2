"""What of an envelope gets through a lossy link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hushgrid.conducted.loss import SHARE, Lossy
from hushgrid.wire.shares import Envelope


def pass_envelope(
    envelope: Envelope, model: Lossy, meter_ids: Mapping[int, str], receiver: str
) -> tuple[Envelope | None, frozenset[int]]:
    """What of an envelope gets through: the envelope (None when nothing is left) and the lost positions.

    meter_ids: by meter number; receiver: the PPN's id.
    """
    lost = frozenset(
        position
        for position, (number, _) in envelope.shares.items()
        if model.drops(SHARE, meter_ids[number], receiver, envelope.round, envelope.attempt)
    )
    if not lost:
        return envelope, lost
    left = {position: share for position, share in envelope.shares.items() if position not in lost}
    return (replace(envelope, shares=left) if left else None), lost
