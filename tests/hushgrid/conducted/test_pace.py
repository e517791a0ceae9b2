"""Compressed rounds at an agent: the conductor's word is the pace, and it hears how far the agent is."""

from __future__ import annotations

import asyncio

import pytest

from hushgrid.conducted.pace import ConductedPace
from hushgrid.conducted.statements import Clock, Report
from hushgrid.core.schedule import Pace
from hushgrid.core.sealing import Identity
from hushgrid.errors import MessageError, RejectReason
from hushgrid.statements.statement import EVERYBODY, Statement
from hushgrid.wire.role import Role

CONDUCTOR, STRANGER = Identity.from_bytes(b"c" * 32), Identity.from_bytes(b"s" * 32)


def said(metered, frozen, signer=CONDUCTOR):
    body = Clock(metered_through=metered, frozen_through=frozen)
    return Statement(sender="conductor", recipient=EVERYBODY, sequence=0, body=body).to_bytes(signer)


@pytest.fixture
def pacing():
    return ConductedPace(CONDUCTOR.public, b"a" * 32)


def test_the_pace_is_the_conductors_and_never_goes_back(pacing):
    assert pacing.hear(said(5, 3), "here")
    assert not pacing.hear(said(5, 3), "here")
    assert not pacing.hear(said(4, 2), "here")
    assert pacing.hear(said(4, 4), "here")
    assert pacing.pace == Pace(5, 4)
    with pytest.raises(MessageError) as refused:
        pacing.hear(said(9, 9, STRANGER), "here")
    assert refused.value.reason is RejectReason.BAD_SIGNATURE
    assert pacing.pace == Pace(5, 4)


@pytest.mark.parametrize("signals", [True, False], ids=["says when", "never says when"])
async def test_the_conductor_is_told_how_far_the_agent_is_once_it_is_known(pacing, signals):
    changed = asyncio.Event() if signals else None
    heard: asyncio.Queue = asyncio.Queue()
    figures = {"stated": 0}

    async def say(*told):
        await heard.put(told)

    ((name, loop),) = pacing.loops(
        lambda: None, Role.PPN, lambda: (7, dict(figures), ("a note",)), say, changed
    ).items()
    assert name == "report"
    reporting = asyncio.create_task(loop)
    await asyncio.sleep(0)
    assert heard.empty()
    pacing.hear(said(0, -1), "here")
    expected = Report(role=Role.PPN, plan_version=7, figures={"stated": 0}, notes=("a note",))
    async with asyncio.timeout(30):
        assert await heard.get() == ("here", "conductor", b"a" * 32, expected)
        figures["stated"] = 1
        if changed is not None:
            changed.set()
        while (latest := await heard.get())[3].figures != {"stated": 1}:
            assert latest[3] == expected
    reporting.cancel()
