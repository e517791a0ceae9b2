"""Shares per second of a whole testbed beside the raw rate of mosquitto_pub and mosquitto_sub with the same payload.

Both in one run on one machine: quote the ratio, not the rates. The testbed's envelopes carry many shares each; the raw rate is
measured with one message per share and with one message per envelope.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hushgrid.core.field import MODULI, Field
from hushgrid.wire.shares import Envelope, sealed_share_bytes
from testbed.brokers.broker import mosquitto_path
from testbed.brokers.engines import free_port

_SHARES_PER_ENVELOPE = 250


def raw_rate(port: int, payload: bytes, messages: int) -> float:
    """Messages per second from mosquitto_pub through the broker to mosquitto_sub, QoS 1."""
    with tempfile.TemporaryDirectory() as directory:
        lines = Path(directory) / "lines"
        lines.write_text((payload.hex()[: len(payload)] + "\n") * messages, encoding="ascii")
        base = ["-h", "127.0.0.1", "-p", str(port), "-q", "1", "-t", "raw"]
        reader = subprocess.Popen(["mosquitto_sub", *base, "-C", str(messages)], stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        began = time.perf_counter()
        with lines.open("rb") as source:
            subprocess.run(["mosquitto_pub", *base, "-l"], stdin=source, check=True)
        reader.wait(timeout=120)
        return messages / (time.perf_counter() - began)


def testbed_rate(meters: int, rounds: int, port: int) -> tuple[float, dict[str, object]]:
    """Shares per second while rounds were played, every one sealed, journalled, receipted, agreed upon and summed."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.json"
        options = [
            "--meters",
            str(meters),
            "--rounds",
            str(rounds),
            "--consumers",
            "4",
            "--broker",
            f"mqtt://127.0.0.1:{port}",
        ]
        command = [sys.executable, "-m", "testbed.command", "testbed", *options, "--json", str(report)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        summary = json.loads(report.read_text())["summary"]
        return summary["shares_sent"] / summary["rounds_seconds"], summary


def main() -> None:
    """Print the rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--meters", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=24)
    arguments = parser.parse_args()
    program = mosquitto_path()
    if program is None or shutil.which("mosquitto_pub") is None:
        sys.exit("this benchmark needs mosquitto and mosquitto-clients")
    share = bytes(4 + sealed_share_bytes(1, Field(MODULI[0])))
    shares = {at: (at, share[4:]) for at in range(_SHARES_PER_ENVELOPE)}
    envelope = Envelope(1, 1, 1, 0, _SHARES_PER_ENVELOPE, 0, shares).to_bytes()
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as configuration:
        configuration.write(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nuser root\n")
        configuration.flush()
        broker = subprocess.Popen([program, "-c", configuration.name], stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            single = raw_rate(port, share, 40_000)
            packed = raw_rate(port, envelope, 4_000) * _SHARES_PER_ENVELOPE
            rate, summary = testbed_rate(arguments.meters, arguments.rounds, port)
        finally:
            broker.terminate()
            broker.wait()
    print(
        f"{arguments.meters} meters, {arguments.rounds} rounds: {summary['released']} windows released, {summary['wrong']} wrong"
    )
    print(f"{'':44}{'shares/s':>12}{'ratio':>8}")
    print(f"{'hushgrid testbed, sealed to receipted':44}{rate:12,.0f}{1:8.2f}")
    print(f"{'mosquitto_pub/_sub, a share per message':44}{single:12,.0f}{rate / single:8.2f}")
    print(f"{'mosquitto_pub/_sub, 250 shares per message':44}{packed:12,.0f}{rate / packed:8.2f}")


if __name__ == "__main__":
    main()
