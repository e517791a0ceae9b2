"""A PostgreSQL server of one's own: in a temporary folder, reached by a socket in it, as a user without rights, ended by its pid."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

#: Debian's package brings this user; root may not start a server.
_USER = "postgres"
_START_SECONDS = 60


def programs() -> Path | None:
    """Where initdb and postgres are: Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


class PostgreSQLServer:
    """A server that runs. Its databases are gone with it."""

    def __init__(self, folder: Path, user: str) -> None:
        self.folder, self.user = folder, user
        self._numbers = itertools.count()

    def url(self, database: str) -> str:
        """As the gateway takes it."""
        return f"postgresql://{self.user}@/{database}?host={self.folder}"

    def fresh(self) -> str:
        """The URL of a new database."""
        name = f"store{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@contextlib.contextmanager
def postgresql_server(at: Path) -> Iterator[PostgreSQLServer]:
    """at: what `programs` gave."""
    folder = Path(tempfile.mkdtemp(prefix="hushgrid-postgresql-"))
    user = _USER if os.geteuid() == 0 else getpass.getuser()
    account = pwd.getpwnam(user)
    who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        os.chown(folder, account.pw_uid, account.pw_gid)
        made = [str(at / "initdb"), "-D", str(folder / "pg"), "-U", user, "-A", "trust", "-E", "UTF8", "--no-locale"]
        subprocess.run([*made, "--no-sync"], check=True, capture_output=True, cwd=folder, **who)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(at / "postgres"), "-D", str(folder / "pg"), "-k", str(folder), "-c", "listen_addresses="],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, **who,
            )  # fmt: skip
        try:
            server = PostgreSQLServer(folder, user)
            _await(server, process)
            yield server
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=_START_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(server: PostgreSQLServer, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(server.url("postgres")).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((server.folder / "log").read_text()) from None
            time.sleep(0.05)
        else:
            return
