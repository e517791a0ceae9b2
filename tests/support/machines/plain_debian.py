"""A plain Debian of this machine's kind with systemd, and a person at its shell who types what a page says."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from support import ROOT
from support.machines.arm64 import CACHE

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Printed behind every command with its exit status: where its output ends.
_END = "--typed--"
#: What is waited for here has no time of its own: a busy machine takes ten times as long as an idle one. The tests have their bounds.
PATIENCE_SECONDS = 1000
PROGRAMS = ("mmdebstrap", "dpkg-deb", "systemd-nspawn", "nsenter")


def missing() -> str | None:
    """What keeps this machine from booting another Debian; None when nothing does."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    absent += ["root"] if os.geteuid() != 0 else []
    return f"{', '.join(absent)} missing" if absent else None


def debian(directory: Path) -> Path:
    """A fresh root file system; what it is made of is fetched once per checkout."""
    archive = CACHE / "debian-bookworm-apt.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = archive.with_name(f"debian-{os.getpid()}.tar")
        packages = "--include=python3,adduser,systemd,systemd-sysv,dbus,apt,ca-certificates,sudo"
        subprocess.run(
            ["mmdebstrap", "--variant=essential", "--dpkgopt=force-unsafe-io", packages, "bookworm", str(fresh)],
            check=True,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
        )
        fresh.rename(archive)
    directory.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(directory)], check=True, timeout=PATIENCE_SECONDS)
    return directory


def build_package(arch: str, output: Path) -> Path:
    """The meter's package, as `make deb` builds it."""
    command = [sys.executable, str(ROOT / "deploy/raspberry-pi/build_deb.py"), "--arch", arch, "--output", str(output)]
    built = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    return Path(built.stdout.strip())


def make_deb(arch: str) -> Path:
    """The package by `make deb` itself, in dist/; the Python that runs the tests stands in place of the checkout's own."""
    made = [
        "make",
        "--no-print-directory",
        "-o",
        ".venv/.stamps/testbed",
        "deb",
        f"ARCH={arch}",
        f"BIN={Path(sys.executable).parent}",
    ]
    began = time.monotonic()
    built = subprocess.run(made, cwd=ROOT, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    print(f"{time.monotonic() - began:6.1f} s  make deb")  # noqa: T201 - pytest -s shows it
    return Path(built.stdout.splitlines()[-1])


def first_child(pid: int) -> str:
    """The first process that another one started, "" before."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return children[0] if children else ""


@dataclass(slots=True)
class Machine:
    """A root file system, booted with its own systemd beside this machine's network."""

    root: Path
    log: Path
    process: asyncio.subprocess.Process | None = None
    leader: str = ""

    async def boot(self, *options: str) -> None:
        """Boot; returns once systemd answers. RuntimeError when it does not."""
        with self.log.open("wb") as sink:
            self.process = await asyncio.create_subprocess_exec(
                "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "-D", str(self.root), *options,
                stdin=asyncio.subprocess.DEVNULL, stdout=sink, stderr=sink,
            )  # fmt: skip
        for _ in range(300):
            self.leader = first_child(self.process.pid)
            if self.leader and (await self.inside("systemctl", "is-system-running"))[0] in {"running", "degraded"}:
                return
            await asyncio.sleep(0.1)
            if self.process.returncode is not None:
                break
        raise RuntimeError(f"no systemd in {self.root}: {self.log.read_text(errors='replace')[-500:]}")

    async def inside(self, *command: str) -> list[str]:
        """Run a command there; its lines."""
        entered = ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-p", *command]
        running = await asyncio.create_subprocess_exec(
            *entered, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await running.communicate()
        return said.decode(errors="replace").splitlines() or [""]

    async def show(self, name: str) -> str:
        """One property of the meter's unit."""
        return (await self.inside("systemctl", "show", "hushgrid-meter", "--value", "-p", name))[0]

    async def stop(self) -> None:
        """Power off, at once."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 10)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()


class Said(NamedTuple):
    """What a command printed on standard output, what it ended with, and how long it took."""

    status: int
    lines: list[str]
    seconds: float


@dataclass(slots=True)
class Person:
    """One bash that stays open, as a terminal does. errors: where it and all that it starts say what is on standard error."""

    process: asyncio.subprocess.Process
    errors: Path

    @classmethod
    async def at(cls, machine: Machine, errors: Path, user: str = "root", home: str = "/root") -> Self:
        """Log in."""
        shown = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        shown |= {"PATH": _PATH, "HOME": home, "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        entered = [
            "nsenter",
            "-t",
            machine.leader,
            "-m",
            "-u",
            "-i",
            "-p",
            "runuser",
            "-u",
            user,
            "--",
            "env",
            "-C",
            home,
        ]
        with errors.open("ab") as sink:
            process = await asyncio.create_subprocess_exec(
                *entered, "bash", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=sink, env=shown,
                limit=1 << 24,
            )  # fmt: skip
        return cls(process, errors)

    async def types(self, line: str, answer: str = "", seconds: float = PATIENCE_SECONDS) -> Said:
        """Type one line and wait until it is done; answer: what the person types then, and Ctrl-D. AssertionError after `seconds`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        began, lines = time.monotonic(), []
        typed = f"{{\n{line}\n}} <<'{_END}'\n{answer}\n{_END}\nprintf '\\n{_END} %d\\n' $?\n"
        self.process.stdin.write(typed.encode())
        try:
            async with asyncio.timeout(seconds):
                while not (said := (await self.process.stdout.readline()).decode(errors="replace")).startswith(_END):
                    assert said, f"{line}: the shell ended; {self.last_errors()}"
                    lines.append(said.rstrip("\n"))
        except TimeoutError:
            raise AssertionError(f"{line}: not done after {seconds:g} s; {lines[-5:]} {self.last_errors()}") from None
        status = re.fullmatch(rf"{_END} (\d+)\s*", said)
        assert status, said
        return Said(int(status[1]), lines[:-1] if lines and not lines[-1] else lines, time.monotonic() - began)

    def last_errors(self) -> str:
        """The end of what was said on standard error."""
        return self.errors.read_text(errors="replace")[-1500:]


def clone(directory: Path) -> None:
    """What a clone of the repository holds, as it stands here; and the certificates that this machine's network needs."""
    directory.mkdir(parents=True, exist_ok=True)
    asked = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name)


def online(root: Path) -> None:
    """What Debian's installer writes of the network, and what this one needs: names, and whom it believes."""
    (root / "etc/hosts").write_text(f"127.0.0.1\tlocalhost\n127.0.1.1\t{socket.gethostname()}\n::1\tlocalhost\n")
    for path in (Path("/etc/resolv.conf"), Path("/etc/ssl/certs/ca-certificates.crt")):
        target = root / path.relative_to("/")
        target.unlink(missing_ok=True)
        shutil.copy(path, target)
