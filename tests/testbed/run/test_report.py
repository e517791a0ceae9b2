"""What a person sees of a run fits every terminal, whole."""

from __future__ import annotations

import io

import pytest

from hushgrid.core.schedule import Window
from hushgrid.printing import Terminal
from testbed.households import constructed_truth
from testbed.run.report import _bills_table, _consumers_table, _windows_table
from testbed.verdict.sums import BillRow, WindowRow

REASON = "fewer contributors than the minimum [because of consumer-1/sum-1]"


def rows() -> list[WindowRow]:
    common = ("rule-1", 757_200, 757_247, 40_000_000, 39_999_999)
    return [
        WindowRow("consumer-1", *common, "released", "", 123_456_789_012, 123_456_789_012, (), {}),
        WindowRow("consumer-2", *common, "withheld", REASON, None, 123_456_789_013, (), {}),
        WindowRow("consumer-3", *common, "released", "", 123_456_789_014, 123_456_789_015, (), {}),
        WindowRow("consumer-with-quite-a-long-name", *common, "unrecovered", REASON, None, 123_456_789_016, (), {}),
    ]


@pytest.mark.parametrize("columns", [60, 80, 200, None])
def test_windows_consumers_and_bills_fit_and_lose_nothing(columns, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    out = io.StringIO()
    terminal = Terminal(file=out, columns=columns)
    truth = constructed_truth(15, 2, seed=1)
    bills = [
        BillRow("supplier", "m0001", 3, Window(96, 48), "released", "", 987_654_321, 987_654_321, ()),
        BillRow("supplier", "m0002", 3, Window(96, 48), "absent", REASON, None, 987_654_322, (97, 98)),
    ]
    for sheet in (_windows_table(rows(), truth), _consumers_table(rows()), _bills_table(bills)):
        terminal.show(sheet)
    said = out.getvalue()
    if columns is not None:
        assert max(map(len, said.splitlines())) <= columns
    else:
        assert f"withheld: {REASON}" in said
    words = said.split()
    for number in ("123,456,789,012", "123,456,789,013", "123,456,789,014", "123,456,789,015", "123,456,789,016"):
        assert number in words
    for word in (
        "consumer-with-quite-a-long-name",
        "[because",
        "987,654,321",
        "987,654,322",
        "m0002",
        "WRONG",
        "exact",
    ):
        assert word in words
