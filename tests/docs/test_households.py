"""examples/households.csv is what the script beside it makes, and a file that a testbed reads."""

from __future__ import annotations

import subprocess
import sys

from support import ROOT

from testbed.households import read_truth

SAMPLE = ROOT / "examples" / "households.csv"


def test_the_sample_is_made_by_the_script_beside_it():
    command = [sys.executable, str(ROOT / "examples" / "make_households.py")]
    made = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    assert made == SAMPLE.read_text()


def test_the_sample_has_a_gap_that_is_no_zero():
    truth = read_truth(SAMPLE, 40, 96, None)
    assert {meter for meter, _ in truth.gaps()} == {"m0007"}
    assert len(truth.gaps()) == 6
