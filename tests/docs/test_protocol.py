"""The tables of docs/protocol.md are complete: every kind of statement and every channel of the code, and none besides."""

from __future__ import annotations

import importlib
import re

from support import ROOT
from support.references import modules

from hushgrid.statements.statement import Body
from hushgrid.wire.frames import FrameKind
from hushgrid.wire.topics import Channel

PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


def section(heading: str) -> str:
    return PROTOCOL.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def first_column(text: str) -> list[str]:
    return re.findall(r"^\| `?([\w-]+)`? \|", text, re.MULTILINE)


def test_the_table_of_statements_names_every_kind_once():
    for name in modules():
        if ".statements" in name:
            importlib.import_module(name)
    kinds = [body.model_fields["kind"].default for body in Body.__subclasses__() if body.__module__ in modules()]
    table = first_column(section("Statements of the control plane"))
    assert sorted(table) == sorted(["kind", *kinds])


def test_the_table_of_topics_names_every_channel_once():
    assert sorted(first_column(section("Topics"))) == sorted(["channel", *(channel.value for channel in Channel)])


def test_every_kind_of_frame_has_its_number_in_a_table():
    tables = section("Bytes of the data plane") + section("Masked readings")
    numbers = [int(number) for number in re.findall(r"^\| (\d+) ", tables, re.MULTILINE)]
    assert sorted(numbers) == sorted(kind.value for kind in FrameKind)
