"""The sample rules file, played on the sample households as README says."""

from __future__ import annotations

import pytest
from support import ROOT

EXAMPLES = ROOT / "examples"


@pytest.mark.system
def test_the_rules_of_a_file_are_played_on_its_meters(testbed):
    done = testbed(
        "--rules", str(EXAMPLES / "rules.toml"), "--data", str(EXAMPLES / "households.csv"), "--rounds", "4"
    )  # fmt: skip
    assert done.status == 0, done.err
    found = {(row["consumer"], row["rule"]): row for row in done.aggregates}
    assert found.keys() == {("utility", "load"), ("utility", "feeder-1"), ("supplier", "supply")}
    assert found["supplier", "supply"]["expected"] == 20 * 2
    assert all(row["watt_hours"] == row["truth_watt_hours"] for row in done.aggregates)
    assert len(done.aggregates) == 4 + 2 + 2
