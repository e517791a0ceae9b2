"""How the check ends when a run stalled."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hushgrid.errors import ConfigurationError, HushgridError
from hushgrid.printing import Terminal
from testbed.brokers.broker import RunningBroker
from testbed.choices.parameters import Parameters
from testbed.compose import check

STALLED = "nothing moved for 60 s while waiting for answers"


@pytest.mark.parametrize(
    ("stalled", "said"), [(STALLED, f"ended early: {STALLED}"), ("", "registry.sqlite is missing")]
)
async def test_where_nobody_began_the_stall_is_the_reason_and_no_file_that_is_missing(
    stalled, said, monkeypatch, tmp_path
):
    async def conduct(*_arguments):
        return SimpleNamespace(stalled=stalled, reports={})

    async def not_usable(_broker):
        return {"authority": "it ends again and again"}

    def judge(*_arguments):
        raise ConfigurationError("registry.sqlite is missing")

    deployment = SimpleNamespace(ppns=(), consumers=())
    parts = (Parameters(), SimpleNamespace(meters=()), deployment, RunningBroker(("mqtt://broker:1883",), "the broker"))
    monkeypatch.setattr(check, "read_deployment", lambda _directory: parts)
    monkeypatch.setattr(check, "conduct", conduct)
    monkeypatch.setattr(check, "not_usable", not_usable)
    monkeypatch.setattr(check, "judge", judge)
    with pytest.raises(HushgridError) as ended:
        await check.check(tmp_path, Terminal())
    assert str(ended.value) == said
