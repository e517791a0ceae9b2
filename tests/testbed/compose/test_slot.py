"""Equal meter containers on one volume: each household is one container's, and free again when that is gone."""

from __future__ import annotations

import subprocess
import sys

from testbed.compose.slot import READY, deployment_of, take

_HOLD = """
import sys
from pathlib import Path
from testbed.compose.slot import take
print(take(Path(sys.argv[1])).name, flush=True)
sys.stdin.read()
"""


def test_a_household_is_taken_once_and_free_again_when_its_container_is_killed(tmp_path):
    for name in ("m0001", "m0002"):
        (tmp_path / name).mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "m0001\n"
    assert take(tmp_path) == tmp_path / "m0002"
    assert take(tmp_path) is None
    holder.kill()
    holder.communicate()
    assert take(tmp_path) == tmp_path / "m0001"


def test_a_volume_that_is_being_written_holds_no_deployment(tmp_path):
    assert deployment_of(tmp_path) is None
    (tmp_path / READY).write_text("abc")
    assert deployment_of(tmp_path) == "abc"
