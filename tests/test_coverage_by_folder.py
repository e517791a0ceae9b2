"""What `make coverage` prints."""

from __future__ import annotations

from support.coverage_by_folder import table


def counted(run: int, lines: int) -> dict[str, object]:
    return {"summary": {"covered_lines": run, "num_statements": lines}}


def test_a_folder_is_what_its_own_modules_come_to_and_nothing_is_rounded_up():
    files = {
        "a/one.py": counted(999, 1000), "a/__init__.py": counted(0, 0), "a/b/two.py": counted(1, 4), "a/b/three.py": counted(4, 4),
    }  # fmt: skip
    header, outer, inner, everything = table({"files": files, "totals": counted(1004, 1008)["summary"]}).splitlines()
    assert header.split() == ["folder", "lines", "run", "least", "run"]
    assert outer.split() == ["a", "1000", "999", "99", "%", "one", "99", "%"]
    assert inner.split() == ["a/b", "8", "5", "62", "%", "two", "25", "%"]
    assert everything.split() == ["in", "all", "1008", "1004", "99", "%"]
