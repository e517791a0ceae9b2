"""Children of a testbed: restarted, surfaced, stopped, and gone whatever happens to the testbed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from hushgrid.errors import ConfigurationError
from testbed.processes import Supervisor

DEADLINE_SECONDS = 120.0
SLEEPER = "import time\nwhile True: time.sleep(60)"
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\nwhile True: time.sleep(60)"


def python(program: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(program)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - processes tell nobody
            await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    await supervisor.stop_all()
    assert supervisor.left_running() == []


async def test_a_child_says_who_it_is_and_stops_on_sigterm(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start("ppn", "ppn-1", python(SLEEPER), tmp_path / "ppn-1.log")
    assert supervisor.left_running() == [child.pid]
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    await supervisor.stop_all()
    assert supervisor.left_running() == []
    assert supervisor.rows() == [{"role": "ppn", "id": "ppn-1", "pid": child.pid, "exit_code": -signal.SIGTERM}]


async def test_what_a_child_prints_is_in_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    program = "import sys; print('out'); sys.stdout.flush(); print('last', file=sys.stderr); sys.exit(2)"
    child = await supervisor.start("meter", "m", python(program), tmp_path / "deep" / "m.log")
    await asyncio.wait_for(supervisor.failure, DEADLINE_SECONDS)
    assert child.log_file.read_text(encoding="utf-8") == "out\nlast\n"


async def test_a_killed_child_is_started_again_under_a_new_pid(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start("ppn", "ppn-1", python(SLEEPER), tmp_path / "log")
    first = child.pid
    supervisor.kill("ppn-1")
    await until(lambda: len(child.pids) == 2)
    assert child.exit_code == -signal.SIGKILL
    assert child.running
    assert not lives(first)
    assert not supervisor.failure.done()


async def test_a_configuration_error_is_not_tried_again_and_its_line_is_surfaced(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    program = "import sys; sys.stderr.write('hushgrid-ppn: threshold is above width\\n'); sys.exit(2)"
    child = await supervisor.start("ppn", "ppn-1", python(program), tmp_path / "log")
    failure = await asyncio.wait_for(supervisor.failure, DEADLINE_SECONDS)
    assert failure == "ppn-1 ended with status 2: hushgrid-ppn: threshold is above width"
    assert len(child.pids) == 1


async def test_restarts_are_counted_and_end(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start("ppn", "ppn-1", python("import sys; sys.exit(7)"), tmp_path / "log", restarts=2)
    assert "status 7" in await asyncio.wait_for(supervisor.failure, DEADLINE_SECONDS)
    assert len(child.pids) == 3
    assert child.exit_code == 7


async def test_a_program_that_is_not_there_is_a_configuration_error(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"x cannot be started: .*no-such-program"):
        await supervisor.start("ppn", "x", ["/no-such-program"], tmp_path / "log")
    assert supervisor.children == []


async def test_a_child_that_ignores_sigterm_is_killed(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testbed.processes._STOP_SECONDS", 0.2)
    child = await supervisor.start("meter", "m", python(STUBBORN), tmp_path / "log")
    await until(lambda: child.last_line() == "ready")
    await supervisor.stop_all()
    assert child.exit_code == -signal.SIGKILL


async def test_what_a_child_started_itself_does_not_outlive_it(supervisor: Supervisor, tmp_path: Path) -> None:
    program = f"""
        import subprocess, sys, time
        grandchild = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}])
        print(grandchild.pid, flush=True)
        time.sleep(60)
    """
    child = await supervisor.start("meter", "m", python(program), tmp_path / "log")
    await until(lambda: child.last_line().isdigit())
    grandchild = int(child.last_line())
    assert sorted(supervisor.left_running()) == sorted([child.pid, grandchild])
    await supervisor.stop_all()
    await until(lambda: not lives(grandchild))


async def test_the_broker_is_stopped_after_everybody_else(supervisor: Supervisor, tmp_path: Path) -> None:
    order = tmp_path / "order"
    program = f"""
        import signal, sys, time
        def end(*_):
            time.sleep(0.2 if sys.argv[1] != "broker" else 0)
            with open({str(order)!r}, "a") as file: file.write(sys.argv[1] + "\\n")
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        print("ready", flush=True)
        time.sleep(60)
    """
    for role in ("broker", "ppn"):
        child = await supervisor.start(role, role, [*python(program), role], tmp_path / f"{role}.log")
        await until(lambda child=child: child.last_line() == "ready")
    await supervisor.stop_all()
    assert order.read_text(encoding="utf-8") == "ppn\nbroker\n"


def test_nothing_outlives_kill_9_of_the_testbed(tmp_path: Path) -> None:
    program = f"""
        import asyncio, sys
        from pathlib import Path
        from testbed.processes import Supervisor
        async def main():
            supervisor = Supervisor()
            for number in range(3):
                command = [sys.executable, "-c", {STUBBORN!r}]
                child = await supervisor.start("ppn", str(number), command, Path({str(tmp_path)!r}) / str(number))
                while child.last_line() != "ready":
                    await asyncio.sleep(0.01)
                print(child.pid, flush=True)
            await asyncio.Event().wait()
        asyncio.run(main())
    """
    with subprocess.Popen(python(program), stdout=subprocess.PIPE, text=True) as testbed:
        assert testbed.stdout is not None
        pids = [int(testbed.stdout.readline()) for _ in range(3)]
        assert all(lives(pid) for pid in pids)
        testbed.kill()
        testbed.wait()
    asyncio.run(until(lambda: not any(lives(pid) for pid in pids)))
