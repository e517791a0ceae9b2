"""What a person who sets up a meter wants to know before it runs: one finding per thing that must be right.

Nothing is changed by looking, and nothing is made in the state directory: it belongs to the service's own user.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

from hushgrid.errors import HushgridError
from hushgrid.shell.certificates import AuthorityAddress
from hushgrid.shell.config import read_token
from hushgrid.shell.connection import broker_password, tls_files
from hushgrid.shell.transport import Probe, TlsFiles
from meter_agent.config import MeterConfig
from meter_agent.finding import Finding, State
from meter_agent.source_checks import ANSWER_SECONDS, look, planned_interval, timing
from meter_agent.sources.wall_clock import synchronised

_LEAST_FREE_MEBIBYTES = 64
_MEBIBYTE = 1 << 20


async def examine(
    config: MeterConfig, source_seconds: float, interval_seconds: int | None = None
) -> AsyncGenerator[Finding, None]:
    """Everything there is to find. source_seconds: how long to wait for the meter's first word; interval_seconds: how long the
    installation's rounds are, where no plan says it yet.

    What has to be asked elsewhere is asked at the same time: what is not there is said within 5 s.
    """
    interval_seconds = planned_interval(config) or interval_seconds
    asked = [
        asyncio.create_task(_authority(config)),
        asyncio.create_task(_broker(config)),
        asyncio.create_task(look(config, source_seconds, interval_seconds)),
    ]
    try:
        yield _state_directory(config.agent.state_directory)
        yield _keys(config)
        yield _clock(config)
        yield timing(config, interval_seconds)
        for answered in asyncio.as_completed(asked):
            for finding in await answered:
                yield finding
    finally:
        for task in asked:
            task.cancel()


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


async def _broker(config: MeterConfig) -> list[Finding]:
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
        trouble = await probe.trouble(ANSWER_SECONDS)
    except HushgridError as error:
        trouble = str(error)
    if trouble is not None:
        return [Finding("broker", State.WRONG, f"{broker.url}: {trouble}")]
    if stranger:
        return [Finding("broker", State.NOTE, f"{broker.url} answers; the certificate comes at the first start")]
    return [Finding("broker", State.FINE, f"{broker.url} takes this agent in")]


async def _authority(config: MeterConfig) -> list[Finding]:
    """The door that certificates come from; nothing where there is none."""
    url = config.authority.url
    if url is None:
        return []
    try:
        address = AuthorityAddress.of(config)
        trouble = "" if address is None else await address.trouble(ANSWER_SECONDS)
    except HushgridError as error:
        return [Finding("authority", State.WRONG, str(error))]
    return [Finding("authority", State.WRONG if trouble else State.FINE, f"{url}: {trouble or 'answers'}")]
