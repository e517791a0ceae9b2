"""examples/one_round.py: a whole round by hand, with the real modules, and the exact sum at its end."""

from __future__ import annotations

import re
import subprocess
import sys

from support import ROOT


def played() -> str:
    command = [sys.executable, str(ROOT / "examples" / "one_round.py")]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def test_the_round_ends_with_the_exact_sum_and_shows_nobody_a_reading():
    first, second = played(), played()
    for said in (first, second):
        assert [line for line in said.splitlines() if len(line) > 80] == []
        text = " ".join(said.split())
        assert [int(number) for number in re.findall(r"(?:^| )(\d)\. ", text)] == [1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 8]
        recovered = re.search(r"together: (\d+) Wh from 19 meters, 1 without a reading\. .* knew: (\d+) Wh\.", text)
        assert recovered is not None
        assert recovered[1] == recovered[2]
    seen, seen_again = (re.findall(r"it sees ([\d,]+)$", said, re.MULTILINE) for said in (first, second))
    assert len({*seen, *seen_again}) == 8  # fresh coefficients: the same reading is never shared alike
