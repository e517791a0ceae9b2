"""A 64-bit ARM machine's file system and its emulator."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support import ROOT

#: Where what is fetched is kept; HUSHGRID_CACHE outlives a checkout.
CACHE = Path(os.environ.get("HUSHGRID_CACHE") or ROOT / ".cache").resolve()
PYTHON = "3.11"
#: Debian's Python for the target, taken apart and nothing more: what the package says it depends on.
PACKAGES = f"python{PYTHON}-minimal,libpython{PYTHON}-stdlib"


@dataclass(frozen=True, slots=True)
class Arm64:
    """directory: the root file system, with the meter's package in it."""

    directory: Path

    def command(self, *arguments: str) -> list[str]:
        """Run the packaged agent's Python with these arguments."""
        return [
            "qemu-aarch64-static", "-L", str(self.directory), "-E", f"PYTHONHOME={self.directory}/usr",
            str(self.directory / f"usr/bin/python{PYTHON}"), *arguments,
        ]  # fmt: skip

    def meter(self, *arguments: str) -> list[str]:
        """`hushgrid-meter` with these arguments."""
        library = str(self.directory / "usr/lib/hushgrid-meter")
        code = f"import sys; sys.path.insert(0, {library!r}); from meter_agent.__main__ import main; main()"
        return self.command("-c", code, *arguments)


def missing() -> str | None:
    """What keeps this machine from being an ARM one; None when nothing does."""
    absent = [name for name in ("qemu-aarch64-static", "mmdebstrap", "dpkg-deb") if shutil.which(name) is None]
    return f"{', '.join(absent)} missing" if absent else None


def debian_arm64() -> Path:
    """Debian bookworm for arm64 as a tar, fetched once per checkout."""
    archive = CACHE / "debian-bookworm-arm64.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = archive.with_name(f"{os.getpid()}.tar")
        command = ["mmdebstrap", "--arch=arm64", "--variant=extract", f"--include={PACKAGES}", "bookworm", str(fresh)]
        subprocess.run(command, check=True, capture_output=True, timeout=200)
        fresh.rename(archive)
    return archive


def install(package: Path, directory: Path) -> Arm64:
    """The file system with the package unpacked into it."""
    directory.mkdir()
    subprocess.run(["tar", "-xf", str(debian_arm64()), "-C", str(directory)], check=True, timeout=300)
    subprocess.run(["dpkg-deb", "-x", str(package), str(directory)], check=True, timeout=300)
    return Arm64(directory)
