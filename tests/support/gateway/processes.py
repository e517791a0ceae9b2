"""A gateway as a process of its own, on a free port of this machine, ended by its pid."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from hushgrid.shell.config import load
from hushgrid.statements.lines import line_of
from hushgrid.statements.sign_in import SignIn
from hushgrid.statements.statement import Statement
from privacy_gateway.config import GatewayConfig
from privacy_gateway.door.house import clients_of
from privacy_gateway.people.clients import ClientBook
from privacy_gateway.people.scopes import read_scope
from support import ROOT
from support.gateway.desks import GATEWAY, GRID, HOUR, KEYS, NOW, RULES, write_homes, write_results

#: How long is waited for a process, at most: a bound, never a measure.
PATIENCE_SECONDS = 300

CONFIG = """
[agent]
id = "{gateway}"
grid = "{grid}"
state_directory = "{state}"

[listen]
port = 0
{listen}

[store]
url = "{url}"
consents = "{folder}/consents.sqlite"

[homes]
file = "{folder}/homes.txt"

[results]
sums = "{folder}/results.jsonl"
bills = "{folder}/bills.jsonl"
interval_seconds = {interval}
poll_seconds = 0.2
rules = {rules}

[policy]
bound_span_watt_hours = 5000
typical_watt_hours = 1200
budget_epsilon = 2
period_rounds = 24
minimum_homes = 3

[limits]
requests_per_minute = {per_minute}
burst = {per_minute}
"""


def write_config(
    folder: Path, *, state: str = "state", url: str | None = None, listen: str = "", per_minute: int = 1_000_000
) -> Path:
    """The file; homes and results beside it."""
    write_homes(folder / "homes.txt")
    if not (folder / "results.jsonl").exists():
        write_results(folder / "results.jsonl")
    rules = ", ".join(f'{name} = ["{homes[0]}..{homes[-1]}"]' for name, homes in RULES.items())
    path = folder / f"{state}.toml"
    path.write_text(
        CONFIG.format(
            gateway=GATEWAY, grid=GRID, state=folder / state, folder=folder, interval=HOUR, rules=f"{{ {rules} }}",
            url=url or f"sqlite:///{folder}/gateway.sqlite", listen=listen, per_minute=per_minute,
        )
    )  # fmt: skip
    return path


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """`hushgrid-gateway`, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "privacy_gateway", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
    )  # fmt: skip


def clients(config: Path) -> contextlib.closing[ClientBook]:
    """The clients of a gateway, which may run."""
    return contextlib.closing(ClientBook(clients_of(load(GatewayConfig, config))))


def add_client(config: Path, name: str, scope: str) -> str:
    """Its secret."""
    with clients(config) as book:
        return book.add(name, read_scope(scope))


class RunningGateway:
    """address: as it said. log: what it wrote to standard error, a file."""

    def __init__(self, process: subprocess.Popen[str], address: str, log: Path, http: httpx.Client) -> None:
        self.process, self.address, self.log, self.http = process, address, log, http

    def token(self, name: str, secret: str, scope: str = "") -> httpx.Response:
        form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret, "scope": scope}
        return self.http.post("/oauth/token", data=form)

    def as_client(self, name: str, secret: str) -> dict[str, str]:
        """Headers."""
        return {"Authorization": f"Bearer {self.token(name, secret).json()['access_token']}"}

    def as_customer(self, home: str) -> dict[str, str]:
        """Headers, once the home's meter has signed."""
        challenge = self.http.post("/oauth/challenge").json()["challenge"]
        form = {"grant_type": "urn:hushgrid:meter-signature", "statement": sign_in_line(home, challenge).decode()}
        return {"Authorization": f"Bearer {self.http.post('/oauth/token', data=form).json()['access_token']}"}

    def kill(self) -> None:
        """As `kill -9`."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)


def sign_in_line(
    home: str, challenge: str, *, gateway: str = GATEWAY, grid: str = GRID, by: str | None = None
) -> bytes:
    """What `hushgrid-meter sign-in` prints."""
    body = SignIn(grid=grid, challenge=bytes.fromhex(challenge), at_seconds=NOW)
    return line_of(Statement(sender=home, recipient=gateway, sequence=0, body=body).to_bytes(KEYS[by or home]))


@contextlib.contextmanager
def running(config: Path) -> Iterator[RunningGateway]:
    """From the line in which it says its address until it ends on SIGTERM, if it has not ended."""
    log = config.with_suffix(".log")
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "privacy_gateway", "run", "--config", str(config)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http"), log.read_text()
        with httpx.Client(base_url=address, timeout=PATIENCE_SECONDS, verify=False) as http:  # noqa: S501  # loopback
            yield RunningGateway(process, address, log, http)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        process.stdout.close()
