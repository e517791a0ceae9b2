"""examples/ask_a_sum.py: questions to the gateway by hand, answered and refused, on lines that fit a terminal."""

from __future__ import annotations

import re
import subprocess
import sys

from support import ROOT


def test_some_questions_are_answered_and_the_others_say_why_not():
    command = [sys.executable, str(ROOT / "examples" / "ask_a_sum.py")]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert [line for line in said.splitlines() if len(line) > 80] == []
    assert re.findall(r"refused, ([a-z-]+):", said) == ["differencing", "budget", "not-yet-distribution"]
    answers = re.findall(r"^  (-?[\d.,]+(?:, -?[\d.,]+)*) Wh, each", said, re.MULTILINE)
    assert len(answers) >= 3
    assert answers[0] == answers[1]  # the same question, asked by another party
    assert "4 of 8 were charged" in " ".join(said.split())
