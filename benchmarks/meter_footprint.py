"""What a running hushgrid-meter costs: resident memory, processor time at one reading a second, what is installed for it.

A grid with mutual TLS by the clock on the wall, a process per meter, a round a second.
Run: python benchmarks/meter_footprint.py [--meters 4] [--seconds 40] [--open] [--wheels]; exit status 1 when a limit is missed
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import tomli_w

from testbed.brokers.broker import start_broker
from testbed.brokers.secure import start_secure_broker
from testbed.choices.layout import lay_out
from testbed.choices.parameters import Parameters
from testbed.deployment import GRID, Deployer
from testbed.households import constructed_truth
from testbed.processes import Child, Supervisor

#: Python 3.13 itself is larger by more than one of these.
LIMIT_MIB = 51.0 if sys.version_info < (3, 13) else 52.0
LIMIT_CPU_FRACTION, LIMIT_INSTALLED_MB = 0.01, 25.0
_BASE = "hushgrid"
_ROOT = Path(__file__).resolve().parents[1]
#: A Raspberry Pi's, as wheels call it.
PI_MACHINE = "aarch64"


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of the meter that costs most. rss_mib: highest resident size seen while rounds ran; peak_mib: since its start."""

    meters: int
    seconds: float
    readings_per_second: float
    rss_mib: float
    peak_mib: float
    cpu_fraction: float


def watch(meters: int, seconds: float, *, secure: bool = True) -> Footprint:
    """Run a grid by the clock on the wall, with rounds of one second, and watch its meters for so long.

    As after an installation, modules are compiled beforehand: compiling them at a start leaves half a megabyte behind.
    """
    compiled = [sys.executable, "-m", "compileall", "-q", *(str(_ROOT / name) for name in ("hushgrid", "meter_agent"))]
    subprocess.run(compiled, check=False, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="hushgrid-footprint-") as directory:
        return asyncio.run(_watched(Path(directory), meters, seconds, secure=secure))


async def _watched(directory: Path, meters: int, seconds: float, *, secure: bool) -> Footprint:
    parameters = Parameters.of(
        meters=meters, ppns=3, consumers=1, threshold=2, width=3, windows=(1,), minimum_contributors=meters,
        process_per_meter=True, secure=secure,
    )  # fmt: skip
    truth = constructed_truth(meters, parameters.play.rounds, seed=parameters.play.seed)
    supervisor = Supervisor()
    try:
        broker = await (
            start_secure_broker(supervisor, directory, GRID, None, parameters.machine.certificate_seconds)
            if secure
            else start_broker("mosquitto", supervisor, directory / "broker")
        )
        deployer = Deployer(parameters, truth, lay_out(truth.meters, 1, (1,), meters), directory, broker)
        deployer.prepare()
        for launch in deployer.write():
            _by_the_wall(launch.configuration)
            await supervisor.launch(launch, directory)
        children = [child for child in supervisor.children if child.role == "meter"]
        await _until(lambda: all(_stated(child) >= 3 for child in children), _last_lines(children))
        return await _sample(children, seconds)
    finally:
        await supervisor.stop_all()


def _by_the_wall(path: Path) -> None:
    """The same configuration for a grid in service: nobody conducts it, and nobody reports to a conductor."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    content["pace"] = {"mode": "utc", "grace_seconds": 1.0}
    if "plan" in content:
        content["plan"] = {**content["plan"], "interval_seconds": 1}
        del content["plan"]["first_round"]
    if "source" in content:
        content["source"] = {"kind": "constructed", "seed": 1}
    path.write_text(tomli_w.dumps(content), encoding="utf-8")


def _stated(child: Child) -> int:
    return child.log_file.read_text(encoding="utf-8").count("meters stated")


def _last_lines(children: list[Child]) -> Callable[[], str]:
    return lambda: "; ".join(child.last_line() for child in children)


async def _until(condition: Callable[[], bool], waiting_for: Callable[[], str]) -> None:
    try:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - processes tell nobody
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise RuntimeError(f"no rounds: {waiting_for()}") from None


async def _sample(children: list[Child], seconds: float) -> Footprint:
    processes = {child.id: psutil.Process(child.pid) for child in children}
    began = time.monotonic()
    used = {agent: sum(process.cpu_times()[:2]) for agent, process in processes.items()}
    stated = {child.id: _stated(child) for child in children}
    highest = 0
    while time.monotonic() - began < seconds:
        highest = max(highest, *(process.memory_info().rss for process in processes.values()))
        await asyncio.sleep(0.5)
    lasted = time.monotonic() - began
    return Footprint(
        meters=len(children),
        seconds=round(lasted, 1),
        readings_per_second=round(min(_stated(child) - stated[child.id] for child in children) / lasted, 2),
        rss_mib=round(highest / 2**20, 1),
        peak_mib=round(max(_peak_kib(process.pid) for process in processes.values()) / 2**10, 1),
        cpu_fraction=round(max(sum(p.cpu_times()[:2]) - used[agent] for agent, p in processes.items()) / lasted, 5),
    )


def _peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def closure(distribution: str = _BASE) -> dict[str, int]:
    """Bytes unpacked, bytecode aside, of the base install and all it depends on, by distribution."""
    found: dict[str, int] = {}
    waiting = [distribution]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        installed = importlib.metadata.distribution(name)
        found[name] = sum(_size(file) for file in installed.files or ())
        for requirement in installed.requires or ():
            if ";" not in requirement:
                waiting.append(re.split(r"[<>=!~\[ ]", requirement)[0])
            elif "extra" not in requirement:
                wanted = re.split(r"[<>=!~\[; ]", requirement)[0]
                try:
                    importlib.metadata.distribution(wanted)
                    waiting.append(wanted)
                except importlib.metadata.PackageNotFoundError:
                    continue
    if distribution == _BASE:  # installed in place: what a wheel would hold
        packages = ("hushgrid", "meter_agent", "ppn_node", "consumer_node", "configurator", "testbed", "experiments")
        found[_BASE] = sum(path.stat().st_size for package in packages for path in (_ROOT / package).rglob("*.py"))
    return found


def wheels(machine: str, python: str = "3.11") -> dict[str, int]:
    """Bytes of the base wheel and all wheels it depends on, unpacked, for another machine; asks the package registry.

    subprocess.CalledProcessError when they cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="hushgrid-wheels-") as directory:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", directory, str(_ROOT)], check=True)
        (own,) = Path(directory).glob("hushgrid-*.whl")
        target = [f"--platform=manylinux{since}_{machine}" for since in ("2014", "_2_17", "_2_28", "_2_34")]
        target += [f"--python-version={python}", "--only-binary=:all:"]
        subprocess.run([*pip, "download", *target, "--dest", directory, str(own)], check=True)
        found = {}
        for path in Path(directory).glob("*.whl"):
            with zipfile.ZipFile(path) as wheel:
                found[path.name.partition("-")[0]] = sum(entry.file_size for entry in wheel.infolist())
    return found


def _size(file: importlib.metadata.PackagePath) -> int:
    path = Path(str(file.locate()))
    return path.stat().st_size if path.is_file() and path.suffix != ".pyc" else 0


def main() -> None:
    """Print it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--meters", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--open", action="store_true", help="without TLS, for comparison")
    parser.add_argument(
        "--wheels", nargs="?", const=PI_MACHINE, metavar="MACHINE", help=f"sizes there, too ({PI_MACHINE})"
    )
    arguments = parser.parse_args()
    footprint = watch(arguments.meters, arguments.seconds, secure=not arguments.open)
    sizes = closure()
    print(json.dumps(asdict(footprint)))
    print(f"resident {footprint.rss_mib} MiB (limit {LIMIT_MIB}), peak {footprint.peak_mib} MiB")
    print(f"processor {footprint.cpu_fraction:.2%} of one core at a reading a second (limit {LIMIT_CPU_FRACTION:.0%})")
    _print_sizes("this machine", sizes)
    pi = wheels(arguments.wheels) if arguments.wheels else {}
    if pi:
        _print_sizes(f"{arguments.wheels}, from its wheels", pi)
    if over := missed(footprint, sum(pi.values())):
        sys.exit(f"limit missed: {', '.join(over)}")


def missed(footprint: Footprint, installed_bytes: int) -> list[str]:
    """The limits that are missed, by name; installed_bytes: on a Raspberry Pi, 0 when nobody asked."""
    found = {
        "memory": footprint.rss_mib > LIMIT_MIB,
        "processor": footprint.cpu_fraction > LIMIT_CPU_FRACTION,
        "installed": installed_bytes > LIMIT_INSTALLED_MB * 1e6,
    }
    return [name for name, over in found.items() if over]


def _print_sizes(where: str, sizes: dict[str, int]) -> None:
    print(f"installed on {where}: {sum(sizes.values()) / 1e6:.1f} MB (limit on {PI_MACHINE}: {LIMIT_INSTALLED_MB} MB)")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"  {size / 1e6:6.2f}  {name}")


if __name__ == "__main__":
    main()
