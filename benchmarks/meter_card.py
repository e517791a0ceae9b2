"""What a day of a meter writes to its card: 96 rounds of 15 minutes, 4 PPNs, every share receipted, a P1 telegram a second read."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from hushgrid.core.bitmap import Bitmap
from hushgrid.wire.shares import Envelope, Receipt
from meter_agent.shares.outbox import Outbox
from meter_agent.sources.register import Limits, Register
from meter_agent.sources.register_memory import RegisterMemory
from meter_agent.sources.sample import Sample

_ROUNDS, _INTERVAL_SECONDS, _PPNS, _SHARE_BYTES = 96, 900, 4, 80
_FIRST_ROUND = 2_000_000


def written_bytes() -> int:
    """What this process has made the kernel write to a disk."""
    found = re.search(r"^write_bytes: (\d+)$", Path("/proc/self/io").read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) if found else 0


def day(directory: Path) -> tuple[int, int]:
    """Live one day; (samples read, commits: each is one wait for the card)."""
    memory = RegisterMemory(directory / "register.sqlite", _INTERVAL_SECONDS, 40 * _ROUNDS)
    outbox = Outbox(directory / "outbox.sqlite")
    register = Register(Limits(_INTERVAL_SECONDS, 30, 25_000, 600))
    samples = commits = 0
    for second in range((_ROUNDS + 1) * _INTERVAL_SECONDS):
        samples += 1
        crossing = register.take(Sample(1000 + second // 10, 0, "E1"), _FIRST_ROUND * _INTERVAL_SECONDS + second)
        if crossing is None:
            continue
        memory.cross(crossing)
        commits += 1
        if crossing.closed is None:
            continue
        envelopes = [
            Envelope(1, crossing.closed, point, point - 1, 1, 0, {0: (1, os.urandom(_SHARE_BYTES))})
            for point in range(1, _PPNS + 1)
        ]
        outbox.state(crossing.closed, ["meter-0001"], envelopes)
        commits += 1
        for envelope in envelopes:
            commits += outbox.acknowledge(
                Receipt(envelope.round, envelope.point, envelope.sequence, Bitmap.full(1), Bitmap(1), None)
            )
    memory.close()
    outbox.close()
    return samples, commits


def main() -> None:
    """Print one day."""
    place = Path(os.environ.get("HUSHGRID_CARD", tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(dir=place) as directory:
        before = written_bytes()
        samples, commits = day(Path(directory))
        written = written_bytes() - before
    print(f"{_ROUNDS} rounds, {samples} samples: {commits} commits, {written / 2**20:.1f} MiB written ({place})")


if __name__ == "__main__":
    main()
