"""What a person who sets up a meter wants to know before it runs: one finding per thing that must be right.

Nothing is changed by looking, and nothing is made in the state directory: it belongs to the service's own user.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import shutil
import sqlite3
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from hushgrid.agent import broker_password, tls_files
from hushgrid.certificates import AuthorityAddress
from hushgrid.config import read_token
from hushgrid.errors import HushgridError
from hushgrid.transport import Probe, TlsFiles
from meter_agent.config import MeterConfig
from meter_agent.register import Doubt, Sample, SampleRefusedError
from meter_agent.sources import SourceKind
from meter_agent.sources.csv_formats import open_csv
from meter_agent.wall_clock import synchronised

_LEAST_FREE_MEBIBYTES = 64
_ANSWER_SECONDS = 10.0
_MEBIBYTE = 1 << 20


class State(enum.IntEnum):
    """How bad a finding is."""

    FINE = 0
    NOTE = 1  # works, or will, but somebody should know
    WRONG = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. No text carries a register."""

    subject: str
    state: State
    text: str


async def examine(config: MeterConfig, source_seconds: float) -> AsyncGenerator[Finding, None]:
    """Everything there is to find; source_seconds: how long to wait for the meter's first word."""
    yield _state_directory(config.agent.state_directory)
    yield _keys(config)
    yield _clock(config)
    yield _timing(config)
    authority = await _authority(config)
    if authority is not None:
        yield authority
    yield await _broker(config)
    yield await _source(config, source_seconds)


def _state_directory(directory: Path) -> Finding:
    subject = "state"
    there = next((place for place in (directory, *directory.parents) if place.exists()), Path("/"))
    free = shutil.disk_usage(there).free // _MEBIBYTE
    if free < _LEAST_FREE_MEBIBYTES:
        return Finding(subject, State.WRONG, f"{there}: {free} MiB free, at least {_LEAST_FREE_MEBIBYTES} are needed")
    if not os.access(there, os.W_OK):
        return Finding(subject, State.WRONG, f"{there} cannot be written by this user")
    if there != directory:
        return Finding(subject, State.NOTE, f"{directory} will be made at the first start; {free} MiB free")
    return Finding(subject, State.FINE, f"{directory}, {free} MiB free")


def _keys(config: MeterConfig) -> Finding:
    subject, section = "keys", config.agent
    store = section.state_directory / "keys.sqlite"
    try:
        token = read_token(section.token_file)
        if store.exists():
            with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
                rows = database.execute("SELECT number FROM identity WHERE agent = ?", (section.id,)).fetchall()
            if rows and rows[0][0] is not None:
                return Finding(subject, State.FINE, f"{section.id} is enrolled")
    except (sqlite3.Error, HushgridError) as error:
        return Finding(subject, State.WRONG, f"{store}: {error}")
    if not token:
        return Finding(
            subject, State.WRONG, f"not enrolled, and no one-time token in {section.token_file or 'agent.token_file'}"
        )
    return Finding(subject, State.NOTE, "not enrolled yet; the token is there and is used at the first start")


def _clock(config: MeterConfig) -> Finding:
    if synchronised():
        return Finding("clock", State.FINE, "set by a time service")
    needed = config.source.live and config.registers.require_synchronised_clock
    text = "no time service has set it; " + ("nothing is read until then" if needed else "not required here")
    return Finding("clock", State.WRONG if needed else State.NOTE, text)


def _timing(config: MeterConfig) -> Finding:
    tolerance, grace = config.registers.tolerance_seconds, config.pace.grace_seconds
    text = f"a reading is known {tolerance:.0f} s after its round at the latest, the round freezes after {grace:.0f} s"
    late = config.source.live and tolerance >= grace
    return Finding("timing", State.WRONG if late else State.FINE, text)


async def _broker(config: MeterConfig) -> Finding:
    broker = config.broker
    tls, stranger = tls_files(config), False
    if tls is not None and config.authority.url is not None:
        held = sorted(
            (config.agent.state_directory / "certificates").glob("*.pem"), key=lambda file: file.stat().st_mtime
        )
        stranger = not held
        tls = TlsFiles(broker.ca_file, held[-1] if held else None, None)
    try:
        probe = Probe(broker.url, tls, broker.user_name, broker_password(broker), stranger)
        trouble = await probe.trouble(_ANSWER_SECONDS)
    except HushgridError as error:
        trouble = str(error)
    if trouble is not None:
        return Finding("broker", State.WRONG, f"{broker.url}: {trouble}")
    if stranger:
        return Finding("broker", State.NOTE, f"{broker.url} answers; the certificate comes at the first start")
    return Finding("broker", State.FINE, f"{broker.url} takes this agent in")


async def _authority(config: MeterConfig) -> Finding | None:
    """The door that certificates come from; None where there is none."""
    url = config.authority.url
    if url is None:
        return None
    try:
        address = AuthorityAddress.of(config)
        trouble = "" if address is None else await address.trouble(_ANSWER_SECONDS)
    except HushgridError as error:
        return Finding("authority", State.WRONG, str(error))
    return Finding("authority", State.WRONG if trouble else State.FINE, f"{url}: {trouble or 'answers'}")


async def _source(config: MeterConfig, seconds: float) -> Finding:
    subject, section = "source", config.source
    if section.kind is SourceKind.CONSTRUCTED:
        return Finding(subject, State.NOTE, "constructed, nothing is measured")
    try:
        if section.kind is SourceKind.CSV:
            return _file(section.path)
        from meter_agent.sources.devices import open_device  # noqa: PLC0415 - needs the extra of the kind

        device = open_device(section)
    except HushgridError as error:
        return Finding(subject, State.WRONG, str(error))
    begun, last_doubt = asyncio.get_running_loop().time(), None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), contextlib.aclosing(device.samples()) as said:
            async for sample in said:
                if isinstance(sample, SampleRefusedError):
                    last_doubt = sample
                    continue
                return _sound(device.label, sample, asyncio.get_running_loop().time() - begun)
    return Finding(subject, State.WRONG, f"{device.label}: {last_doubt or f'silent for {seconds:.0f} s'}")


def _sound(label: str, sample: Sample, seconds: float) -> Finding:
    if sample.import_watt_hours == sample.export_watt_hours == 0:
        return Finding("source", State.WRONG, f"{label}: {Doubt.ZERO.value}, both registers")
    return Finding("source", State.FINE, f"{label}: a sound sample after {seconds:.1f} s")


def _file(path: Path | None) -> Finding:
    if path is None:
        return Finding("source", State.WRONG, "source.path is missing")
    return Finding("source", State.FINE, f"{path}: {open_csv(path).format.name.lower()} readings")
