"""What somebody sees who captures every byte through the broker, and what garbage on every topic does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest

from configurator.registry.registry import Registry
from hushgrid.core.encoding import lower
from hushgrid.core.sealing import Kind, SealingKey
from hushgrid.core.shamir import interpolate
from hushgrid.errors import MessageError, RecoveryError
from hushgrid.shell.keyring import Keyring
from hushgrid.shell.transport import BrokerAddress
from hushgrid.wire.frames import FrameKind, frame_kind
from hushgrid.wire.shares import Envelope, ShareText, share_context
from hushgrid.wire.topics import ROOT, Channel, parse
from testbed.choices.layout import lay_out
from testbed.choices.parameters import Parameters
from testbed.deployment import GRID
from testbed.households import Truth, constructed_truth
from testbed.run.play import Run, play

METERS, THRESHOLD = 20, 3
#: The last topic that somebody hears who hears everything.
END = "end-of-the-capture"
#: What an attacker has of a reading whose shares it opened without learning anything plausible.
NOTHING = 10**9


class Capture:
    """A subscriber to everything."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []

    @contextlib.asynccontextmanager
    async def running(self, url: str) -> AsyncIterator[None]:
        address = BrokerAddress.parse(url)
        async with aiomqtt.Client(address.host, address.port, identifier="eavesdropper") as client:
            await client.subscribe("#", qos=1)

            async def listen() -> None:
                async for message in client.messages:
                    if str(message.topic) == END:
                        return
                    self.messages.append((str(message.topic), bytes(message.payload)))

            task = asyncio.create_task(listen())
            try:
                yield
                await client.publish(END, b"", qos=1)  # comes behind all that the broker had before
                await asyncio.wait_for(task, 60)
            finally:
                task.cancel()


def run_testbed(directory: Path, around, rounds: int = 4) -> tuple[Run, Truth]:
    parameters = Parameters.of(meters=METERS, rounds=rounds, threshold=THRESHOLD)
    truth = constructed_truth(METERS, rounds, seed=1)
    wishes = lay_out(truth.meters, 3, (1, 2), 15)
    return asyncio.run(play(parameters, truth, wishes, directory, broker_started=around)), truth


def attack(
    directory: Path, captured: list[tuple[str, bytes]], corrupted: tuple[str, ...]
) -> dict[tuple[str, int], int]:
    """Everything an attacker with these PPNs' key files and the whole transcript can recover: (meter, round) -> Wh.

    It knows the plan, the meters' public keys and numbers (the configurator's registry, without any private key).
    """
    registry = Registry(directory / "configurator" / "registry.sqlite")
    head = registry.plans.heads()[0]
    meters = {agent.number: agent for agent in registry.agents.listed(head.epoch) if agent.role == "meter"}
    registry.close()
    keys: dict[int, dict[int, SealingKey]] = {}
    for ppn in head.ppns:
        if ppn.id in corrupted:
            keyring = Keyring(directory / ppn.id / "keys.sqlite")
            own = keyring.agreement(ppn.id, head.epoch)
            keyring.close()
            assert own is not None
            keys[ppn.point] = {
                n: SealingKey.derive(
                    own,
                    m.key.agreement,
                    kind=Kind.SHARE,
                    grid=GRID,
                    epoch=head.epoch,
                    sender=m.key.agreement,
                    recipient=own.public,
                )
                for n, m in meters.items()
                if m.key is not None
            }
    shares: dict[tuple[str, int], dict[int, int]] = {}
    for name, payload in captured:
        if parse(name).channel is not Channel.SHARE or frame_kind(payload) is not FrameKind.ENVELOPE:
            continue
        envelope = Envelope.from_bytes(payload)
        for number, sealed in envelope.shares.values():
            for point, by_meter in keys.items():
                context = share_context(head.digest, number, envelope.point, envelope.round)
                try:
                    plain = by_meter[number].unseal(sealed, context, stream=0, round_number=envelope.round)
                except MessageError:
                    continue
                text = ShareText.from_bytes(plain, head.slots, head.field)
                if text.elements is not None:
                    shares.setdefault((meters[number].id, envelope.round), {})[point] = text.elements[0]
    recovered = {}
    for place, found in shares.items():
        guess = interpolate(found, head.field)
        try:
            recovered[place] = lower(guess, head.reading_bound_watt_hours, head.field)
        except RecoveryError:
            recovered[place] = NOTHING
    return recovered


@pytest.fixture(scope="module")
def overheard(mosquitto: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, bytes]], Truth]:  # noqa: ARG001
    """A run of which somebody has every byte: its directory, what was captured, the truth."""
    directory, capture = tmp_path_factory.mktemp("overheard") / "run", Capture()
    run, truth = run_testbed(directory, capture.running)
    assert run.succeeded
    return directory, capture.messages, truth


@pytest.mark.system
def test_a_transcript_needs_t_keys(overheard):
    directory, captured, truth = overheard
    assert len(captured) > 200
    everything = {
        (m, r): truth.watt_hours(m, r) for m in truth.meters for r in range(truth.first_round, truth.last_round + 1)
    }
    ppns = [f"ppn-{number}" for number in range(1, 6)]
    # Nobody's keys, one PPN's, two PPNs': what comes out is never a reading (a lucky hit in 2**40 would be one).
    for corrupted in [(), *itertools.combinations(ppns, 1), *itertools.combinations(ppns, THRESHOLD - 1)]:
        right = [place for place, value in attack(directory, captured, corrupted).items() if value == everything[place]]
        assert not right
    # The control: with t keys the same attack recovers every reading.
    serving = [process for process in ppns if attack(directory, captured, (process,))]
    assert len(serving) >= 4
    assert attack(directory, captured, tuple(serving[:THRESHOLD])) == everything
    transcript = b"".join(payload for _, payload in captured)
    for meter in truth.meters:
        assert meter.encode() not in transcript
    assert not [name for name, _ in captured if any(meter in name for meter in truth.meters)]


@pytest.mark.system
def test_frames_of_one_kind_have_one_length_whatever_they_say(overheard):
    _, captured, _ = overheard
    lengths: dict[str, set[int]] = {}
    for name, payload in captured:
        channel = parse(name).channel
        if channel is Channel.AGGREGATE:
            lengths.setdefault("aggregate", set()).add(len(payload))
        elif channel is Channel.SHARE:
            envelope = Envelope.from_bytes(payload)
            lengths.setdefault("share", set()).update(len(sealed) for _, sealed in envelope.shares.values())
    assert {kind: len(found) for kind, found in lengths.items()} == {"aggregate": 1, "share": 1}


@pytest.mark.system
@pytest.mark.usefixtures("mosquitto")
def test_arbitrary_bytes_on_every_topic_stop_nothing(tmp_path):
    """An attacker sees real topics and answers each message with garbage, cut, flipped and replayed ones on the same topic."""
    sent = 0

    @contextlib.asynccontextmanager
    async def attacker(url: str) -> AsyncIterator[None]:
        address = BrokerAddress.parse(url)
        rng = random.Random(7)
        async with aiomqtt.Client(address.host, address.port, identifier="attacker") as client:
            await client.subscribe(f"{ROOT}/#", qos=1)

            async def disturb() -> None:
                nonlocal sent
                seen: set[bytes] = set()
                async for message in client.messages:
                    payload = bytes(message.payload)
                    if payload in seen or sent > 3000:
                        continue
                    flipped = bytearray(payload or b"x")
                    flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
                    for forged in (
                        os.urandom(rng.randrange(1, 200)),
                        payload[: len(payload) // 2],
                        bytes(flipped),
                        payload,
                    ):
                        seen.add(forged)
                        sent += 1
                        await client.publish(str(message.topic), forged, qos=0)

            task = asyncio.create_task(disturb())
            try:
                yield
            finally:
                task.cancel()

    run, _ = run_testbed(tmp_path / "run", attacker, rounds=12)  # he is slower than they are on a busy machine
    assert run.succeeded, run.outcome.stalled
    assert run.verdict.counts["released"] == run.verdict.counts["windows"]
    assert sent > 500
    refused = {
        name: count
        for report in run.outcome.reports.values()
        for name, count in report.items()
        if name.startswith("refused") and count
    }
    assert len(refused) >= 3, refused


@pytest.mark.system
@pytest.mark.usefixtures("mosquitto")
def test_no_reading_and_no_share_is_in_any_log(tmp_path, monkeypatch):
    """Readings are canaries: numbers that occur nowhere by chance."""
    monkeypatch.setenv("HUSHGRID_LOG__LEVEL", "DEBUG")
    parameters = Parameters.of(meters=METERS, rounds=3, threshold=THRESHOLD)
    plain = constructed_truth(METERS, 3, seed=1)
    canaries = {m: [70_001 + 37 * i + r for r in range(3)] for i, m in enumerate(plain.meters)}
    truth = Truth(plain.meters, plain.first_round, 3, plain.interval_seconds, plain.label, canaries)
    run = asyncio.run(play(parameters, truth, lay_out(truth.meters, 1, (1,), 15), tmp_path / "run"))
    assert run.succeeded
    logs = "".join(path.read_text() for path in (tmp_path / "run" / "log").glob("*.log"))
    assert "3 meters stated" not in logs
    assert "meters stated" in logs
    for values in canaries.values():
        for value in values:
            assert str(value) not in logs
