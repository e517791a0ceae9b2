"""An agent that never reached its broker stops as cleanly as one that did, and leaves no store open."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys

import pytest
from support import ROOT

from configurator.authority.authority import Authority
from testbed.brokers.engines import free_ports

SAMPLES = {
    "meter_agent": ROOT / "meter_agent" / "sample.toml",
    "ppn_node": ROOT / "deploy" / "samples" / "ppn.toml",
    "consumer_node": ROOT / "deploy" / "samples" / "consumer.toml",
    "configurator": ROOT / "deploy" / "samples" / "configurator.toml",
}
#: Runs a module as `python -m` does, and names every SQLite file that is open when it has ended. Python itself warns of one from
#: 3.13 on, and only where nobody holds the connection any more.
WATCHED = """
import atexit, runpy, sqlite3, sys

opened = []
sys.addaudithook(lambda event, given: opened.append(given[0]) if event == "sqlite3.connect/handle" else None)


@atexit.register
def name_what_is_open():
    for connection in opened:
        try:
            print("left open:", connection.execute("PRAGMA database_list").fetchall(), file=sys.stderr)
        except sqlite3.ProgrammingError:
            pass  # closed
    print(len(opened), "stores were opened", file=sys.stderr)


sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def environment_of(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    (port,) = free_ports(1)
    return {
        **os.environ,
        "HUSHGRID_AGENT__STATE_DIRECTORY": str(tmp_path / "state"),
        "HUSHGRID_AGENT__TOKEN_FILE": str(token),
        "HUSHGRID_BROKER__URL": f"mqtt://127.0.0.1:{port}",
    }


def said_until_stopped(command, environment, sign, before=lambda _line: None):
    """All that a program wrote when it was sent SIGTERM at a sign, `before` called with that line; it has to end well."""
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        while sign not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        before(line)
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize("module", SAMPLES)
def test_sigterm_while_the_broker_is_out_of_reach_leaves_no_warning(tmp_path, module):
    command = [sys.executable, "-X", "dev", "-m", module, "--config", str(SAMPLES[module])]
    said = said_until_stopped(command, environment_of(tmp_path), "is away from")
    assert "never awaited" not in said
    assert "Warning" not in said


@pytest.mark.parametrize("module", SAMPLES)
def test_sigterm_closes_every_store(tmp_path, module):
    warn = ["-W", "error::ResourceWarning"]
    command = [sys.executable, *warn, "-c", WATCHED, module, "--config", str(SAMPLES[module])]
    said = said_until_stopped(command, environment_of(tmp_path), "is away from")
    assert "left open" not in said
    assert "ResourceWarning" not in said
    assert "0 stores were opened" not in said
    assert "stores were opened" in said


def test_sigterm_closes_the_authoritys_store_and_waits_for_no_silent_visitor(tmp_path):
    authority = Authority(tmp_path / "authority")
    trusting = ssl.create_default_context(cadata=authority.server_trust.decode())
    authority.close()
    serve = ["enrol", "serve", "--state", str(authority.directory), "--listen", "127.0.0.1", "--port", "0"]
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", WATCHED, "testbed", *serve, "--host", "localhost"]
    with contextlib.ExitStack() as visits:

        def visit(line):
            address = ("127.0.0.1", int(line.split()[-1]))
            visits.enter_context(
                socket.create_connection(address)
            )  # accepted before the next one, and silent from the start
            plain = socket.create_connection(address)
            visits.enter_context(trusting.wrap_socket(plain, server_hostname="localhost"))

        said = said_until_stopped(command, {**os.environ}, "listens on port", visit)
    assert "left open" not in said
    assert "ResourceWarning" not in said
    assert "Traceback" not in said
    assert "1 stores were opened" in said
