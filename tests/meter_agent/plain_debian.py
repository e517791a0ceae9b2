"""A plain Debian of this machine's kind with systemd, for the meter's package and unit."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from arm64 import CACHE, ROOT

PROGRAMS = ("mmdebstrap", "dpkg-deb", "systemd-nspawn", "nsenter")


def missing() -> str | None:
    """What keeps this machine from booting another Debian; None when nothing does."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    absent += ["root"] if os.geteuid() != 0 else []
    return f"{', '.join(absent)} missing" if absent else None


def debian(directory: Path) -> Path:
    """A fresh root file system; what it is made of is fetched once per checkout."""
    archive = CACHE / "debian-bookworm.tar"
    if not archive.exists():
        CACHE.mkdir(exist_ok=True)
        fresh = archive.with_name(f"debian-{os.getpid()}.tar")
        packages = "--include=python3,adduser,systemd,systemd-sysv"
        subprocess.run(
            ["mmdebstrap", "--variant=essential", "--dpkgopt=force-unsafe-io", packages, "bookworm", str(fresh)],
            check=True,
            capture_output=True,
            timeout=250,
        )
        fresh.rename(archive)
    directory.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(directory)], check=True, timeout=60)
    return directory


def build_package(arch: str, output: Path) -> Path:
    """The meter's package, as `make deb` builds it."""
    command = [sys.executable, str(ROOT / "deploy/raspberry-pi/build_deb.py"), "--arch", arch, "--output", str(output)]
    built = subprocess.run(command, check=True, capture_output=True, text=True, timeout=250)
    return Path(built.stdout.strip())


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
