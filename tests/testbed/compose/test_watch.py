"""The dashboard of the containers: what consumers have written down, line by line."""

from __future__ import annotations

import json

from testbed.compose.watch import described, new_rows

ROW = {
    "rule": "sum-1", "first_round": 7, "last_round": 8, "status": "released", "watt_hours": 4577, "reason": "",
    "included": 40, "expected": 40, "points": [1, 2, 3],
}  # fmt: skip


def test_a_line_is_shown_once_and_only_when_it_is_whole(tmp_path):
    file = tmp_path / "consumer-1" / "results.jsonl"
    file.parent.mkdir()
    line = json.dumps(ROW)
    seen: dict[str, int] = {}
    file.write_text(line[:20])
    assert new_rows(tmp_path, seen) == []
    file.write_text(line + "\n" + line[:5])
    assert new_rows(tmp_path, seen) == [("consumer-1", ROW)]
    assert new_rows(tmp_path, seen) == []


def test_a_file_that_became_shorter_is_read_from_its_beginning(tmp_path):
    file = tmp_path / "consumer-1" / "results.jsonl"
    file.parent.mkdir()
    seen = {"consumer-1": 10_000}
    file.write_text(json.dumps(ROW) + "\n")
    assert len(new_rows(tmp_path, seen)) == 1


def test_a_window_that_was_not_released_shows_its_reason_and_no_number():
    text = described("consumer-2", ROW | {"status": "withheld", "watt_hours": None, "reason": "too few"})
    assert "withheld (too few)" in text
    assert "Wh" not in text
    assert "4,577 Wh; 40 of 40 readings, 3 PPNs" in described("consumer-2", ROW)
