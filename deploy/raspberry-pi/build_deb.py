"""Builds the Debian package of the meter agent: `make deb`, or `python deploy/raspberry-pi/build_deb.py --arch arm64`.

The package carries everything the agent needs beside Debian's own Python, so that installing it needs no network and no pip: the
wheels of its libraries for the target, unpacked. It is built on any machine; only `pip` and `dpkg-deb` are run. The same
sources and the same library versions give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LIBRARY = "usr/lib/hushgrid-meter"
#: What a meter runs of hushgrid's own; every other folder of the wheel is another role's.
OURS = frozenset({"hushgrid", "meter_agent"})
#: What some wheels carry along at the top of site-packages.
NOT_PACKAGES = ("tests", "test", "test_asyncio.py", "sml-mqtt-bridge.py", "sml-mqtt-bridge.service")
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
#: pip judges environment markers by the machine it runs on: what only the target needs is named here.
TARGET_ONLY = {"arm64": ("lgpio>=0.2.2",), "amd64": ()}
EPOCH = 1_767_225_600  # the files' date, so that two builds are the same


def main() -> None:
    """Entry of the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--arch", choices=sorted(MACHINES), default="arm64")
    parser.add_argument("--python", default="3.11", help="the target's Python: 3.11 for bookworm, 3.13 for trixie")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        print(build(Path(scratch), arguments.arch, arguments.python, arguments.output))


def build(scratch: Path, arch: str, python: str, output: Path) -> Path:
    """Build one package; returns its path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["project"]["version"]
    tree = scratch / "tree"
    others = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) - OURS
    unpack(download(scratch / "wheels", arch, python), tree / LIBRARY, others)
    install_files(tree)
    size_kibibytes = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024
    write_control(tree / "DEBIAN", version, arch, python, size_kibibytes)
    for path in [*tree.rglob("*"), tree]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
    package = output / f"hushgrid-meter_{version}_{arch}.deb"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
    run("dpkg-deb", "--root-owner-group", "-Zxz", "-z3", "--build", str(tree), str(package), environment=environment)
    return package


def download(wheels: Path, arch: str, python: str) -> list[Path]:
    """The wheels of the agent and all its libraries, for the target."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(ROOT))
    (own,) = wheels.glob("hushgrid-*.whl")
    tag = "cp" + python.replace(".", "")
    platforms = [f"manylinux{since}_{MACHINES[arch]}" for since in ("2014", "_2_17", "_2_28", "_2_34")]
    target = [f"--platform={platform}" for platform in platforms]
    target += [f"--python-version={python}", "--implementation=cp", f"--abi={tag}", "--abi=abi3", "--abi=none"]
    wanted = [f"{own}[meters]", *TARGET_ONLY[arch]]
    run(*pip, "download", "--quiet", "--only-binary=:all:", *target, "--dest", str(wheels), *wanted)
    return sorted(wheels.glob("*.whl"))


def unpack(wheels: list[Path], library: Path, others: set[str]) -> None:
    """Lay the wheels' packages beside each other, without those of other roles."""
    library.mkdir(parents=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as content:
            content.extractall(library)
    for name in (*sorted(others), *NOT_PACKAGES):
        path = library / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def install_files(tree: Path) -> None:
    """The command, the unit, the documentation."""
    copy(HERE / "hushgrid-meter", tree / "usr/bin/hushgrid-meter", 0o755)
    copy(HERE / "hushgrid-meter.service", tree / "lib/systemd/system/hushgrid-meter.service", 0o644)
    documentation = tree / "usr/share/doc/hushgrid-meter"
    copy(HERE / "README.md", documentation / "README.md", 0o644)
    copy(ROOT / "meter_agent" / "sample.toml", documentation / "meter.toml", 0o644)
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    (documentation / "copyright").write_text(
        f"hushgrid, and under their own licences the libraries in /{LIBRARY} (see each *.dist-info)\n\n{licence}",
        encoding="utf-8",
    )
    changes = (ROOT / "CHANGELOG.md").read_bytes()
    (documentation / "changelog.gz").write_bytes(gzip.compress(changes, mtime=EPOCH))


def copy(source: Path, target: Path, mode: int) -> None:
    """One file with its mode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def write_control(directory: Path, version: str, arch: str, python: str, size_kibibytes: int) -> None:
    """What dpkg wants to know, and the scripts it runs."""
    major, minor = (int(part) for part in python.split("."))
    directory.mkdir(parents=True)
    control = (HERE / "debian" / "control.in").read_text(encoding="utf-8")
    depends = f"python3 (>= {major}.{minor}~), python3 (<< {major}.{minor + 1}~), adduser"
    filled = control.format(version=version, arch=arch, depends=depends, size=size_kibibytes)
    (directory / "control").write_text(filled, encoding="utf-8")
    for script in ("postinst", "prerm", "postrm"):
        copy(HERE / "debian" / script, directory / script, 0o755)


def run(*command: str, environment: dict[str, str] | None = None) -> None:
    """Run a program; its failure ends the build."""
    done = subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{command[0]} failed with status {done.returncode}")


if __name__ == "__main__":
    main()
