"""An agent that never reached its broker stops as cleanly as one that did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.engines import free_ports

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = {
    "meter_agent": ROOT / "meter_agent" / "sample.toml",
    "ppn_node": ROOT / "deploy" / "samples" / "ppn.toml",
    "consumer_node": ROOT / "deploy" / "samples" / "consumer.toml",
}


@pytest.mark.parametrize("module", SAMPLES)
def test_sigterm_while_the_broker_is_out_of_reach_leaves_no_warning(tmp_path, module):
    token = tmp_path / "token"
    token.write_text("secret")
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "HUSHGRID_AGENT__STATE_DIRECTORY": str(tmp_path / "state"),
        "HUSHGRID_AGENT__TOKEN_FILE": str(token),
        "HUSHGRID_BROKER__URL": f"mqtt://127.0.0.1:{port}",
    }
    command = [sys.executable, "-X", "dev", "-m", module, "--config", str(SAMPLES[module])]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        while "is away from" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=30)[1]
    assert process.returncode == 0, said
    assert "never awaited" not in said
    assert "Warning" not in said
