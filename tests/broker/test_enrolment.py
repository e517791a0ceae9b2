"""A real meter process at a real broker and a real authority: it enrols, renews, is shut out, and never loads X.509."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from configurator.authority.authority import utc_now
from configurator.authority.service import AuthorityService
from hushgrid.core.sealing import Identity
from hushgrid.wire.role import Role

DEADLINE_SECONDS = 120.0
#: The meter's own entry; at its end it writes down what it had loaded.
PROGRAM = """
import atexit, json, pathlib, sys
atexit.register(lambda: pathlib.Path({listing!r}).write_text(json.dumps(sorted(sys.modules))))
sys.argv = ["hushgrid-meter", "--config", {configuration!r}]
from meter_agent.__main__ import main
main()
"""
CONFIGURATION = """
[agent]
id = "meter-1"
grid = "grid"
state_directory = "{directory}/state"
token_file = "{directory}/token"

[broker]
url = "mqtts://127.0.0.1:{port}"
ca_file = "{directory}/broker-ca.pem"

[authority]
url = "tls://127.0.0.1:{authority_port}"

[configurator]
identity = "{identity}"

[source]
kind = "constructed"
"""


class Meter:
    """A meter's directory, and its process while there is one."""

    def __init__(self, doors: Any, directory: Path, authority_port: int) -> None:
        self._directory = directory
        self._listing = directory / "modules.json"
        self._configuration = directory / "meter.toml"
        self.certificates = directory / "state" / "certificates"
        directory.mkdir()
        (directory / "broker-ca.pem").write_bytes(doors.authority.server_trust)
        text = CONFIGURATION.format(
            directory=directory,
            port=doors.files.ports[Role.METER],
            authority_port=authority_port,
            identity=Identity.generate().public.hex(),
        )
        self._configuration.write_text(text)
        self.process: asyncio.subprocess.Process | None = None
        self.said = b""

    def give(self, token: str) -> None:
        (self._directory / "token").write_text(token)

    async def start(self) -> None:
        self.said = b""
        program = PROGRAM.format(listing=str(self._listing), configuration=str(self._configuration))
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE, env={**os.environ}
        )

    async def says(self, text: str) -> None:
        """Return when it has logged this."""
        assert self.process is not None
        assert self.process.stderr is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            while text.encode() not in self.said:
                line = await self.process.stderr.readline()
                assert line, self.said.decode()
                self.said += line

    async def stop(self) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_SECONDS):
            _, rest = await self.process.communicate()
        self.said += rest
        assert self.process.returncode is not None
        return self.process.returncode

    def loaded(self) -> set[str]:
        return set(json.loads(self._listing.read_text()))


Make = Callable[..., Awaitable[Meter]]


@pytest.fixture
async def make(doors: Any, tmp_path: Path) -> AsyncIterator[Make]:
    authority = doors.authority
    authority.write_server(authority.directory, "server", ["127.0.0.1"], utc_now())
    made: list[Meter] = []
    stop = asyncio.Event()
    waiting: list[asyncio.Task[None]] = []

    async def serve(life: dt.timedelta, bound: asyncio.Future[int]) -> None:
        async with AuthorityService(authority, "grid", life).listening("127.0.0.1", 0) as port:
            bound.set_result(port)
            await stop.wait()

    async def begin(life: dt.timedelta = dt.timedelta(days=1)) -> Meter:
        bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiting.append(asyncio.create_task(serve(life, bound)))
        made.append(Meter(doors, tmp_path / f"meter-{len(made)}", await bound))
        return made[-1]

    yield begin
    for meter in made:
        if meter.process is not None and meter.process.returncode is None:
            meter.process.kill()
            await meter.process.wait()
    stop.set()
    await asyncio.gather(*waiting)


def token(doors: Any, life: dt.timedelta = dt.timedelta(hours=1)) -> str:
    issued: str = doors.authority.issue_tokens([("meter-1", Role.METER)], utc_now(), life)["meter-1"]
    return issued


async def test_a_meter_enrols_and_runs_with_tls_and_loads_no_x509(doors: Any, make: Make) -> None:
    meter = await make()
    meter.give(token(doors))
    await meter.start()
    await meter.says("meter meter-1 is up")
    assert await meter.stop() == 0
    loaded = meter.loaded()
    assert {"ssl", "hushgrid.shell.certificates", "paho.mqtt.client"} <= loaded
    assert not {name for name in loaded if name.startswith(("cryptography.x509", "numpy", "click", "email", "http"))}
    assert len(list(meter.certificates.glob("*.pem"))) == 2
    # Started again it needs no token and, with what it has, no authority.
    meter.give("")
    await meter.start()
    await meter.says("meter meter-1 is up")
    assert await meter.stop() == 0


@pytest.mark.parametrize("late", [False, True])
async def test_a_token_that_is_wrong_or_late_ends_the_meter_with_one_line(doors: Any, make: Make, late: bool) -> None:
    meter = await make()
    meter.give(token(doors, dt.timedelta(seconds=-1)) if late else "x" * 32)
    await meter.start()
    assert meter.process is not None
    async with asyncio.timeout(DEADLINE_SECONDS):
        await meter.process.wait()
    assert await meter.stop() == 2
    last = meter.said.decode().strip().splitlines()[-1]
    assert "the authority gives meter-1 no certificate" in last
    assert "the token is unknown, used, expired, or another agent's" in last


@pytest.mark.system
async def test_a_certificate_is_renewed_while_the_meter_runs_and_outlives_the_first(doors: Any, make: Make) -> None:
    meter = await make(dt.timedelta(seconds=9))
    meter.give(token(doors))
    await meter.start()
    await meter.says("is up")
    first = {path.name: path.read_bytes() for path in meter.certificates.glob("*.pem")}
    await meter.says("certificates are renewed")
    await meter.says("is connected to")
    meter.said = b""
    await meter.says("certificates are renewed")
    await meter.says("is connected to")
    assert all((meter.certificates / name).read_bytes() != content for name, content in first.items())
    assert await meter.stop() == 0


async def test_a_meter_that_is_shut_out_says_so_and_gets_in_no_more(doors: Any, make: Make) -> None:
    meter = await make()
    meter.give(token(doors))
    await meter.start()
    await meter.says("is up")
    command = ["--state", doors.authority.directory, "--agent", "meter-1", "--broker", doors.directory / "broker"]
    command += ["--signal", doors.child.pid, "--evict", "127.0.0.1"]
    revoking = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "testbed.command", "enrol", "revoke", *map(str, command), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await revoking.communicate()
    assert (revoking.returncode, out) == (0, b"meter-1 is shut out (2 names)\n")
    # The connection that stood is ended, and there is no other: the process has not been touched.
    await meter.says("is the certificate for this door, still valid, and not revoked?")
    await meter.stop()
    await meter.start()
    await meter.says("is the certificate for this door, still valid, and not revoked?")
    await meter.stop()
