"""The link's shell: who may change it, and what it writes down."""

from __future__ import annotations

import json

import pytest

from hushgrid.conducted.link_settings import LinkStage
from hushgrid.conducted.loss import REPAIR, SHARE, LossModel
from hushgrid.conducted.lossy_link import LOG_NAME, LossyLink
from hushgrid.conducted.statements import Clock
from hushgrid.core.sealing import Identity
from hushgrid.errors import MessageError
from hushgrid.shell.config import PaceMode, PaceSection
from hushgrid.shell.pacing import PaceFollower, pace_follower
from hushgrid.statements.statement import Statement

CONDUCTOR = Identity.generate()


def clock(*stages: LinkStage, signer: Identity = CONDUCTOR) -> bytes:
    body = Clock(metered_through=1, frozen_through=0, link=stages)
    return Statement(sender="conductor", recipient="*", sequence=0, body=body).to_bytes(signer)


@pytest.fixture
def pacing() -> PaceFollower:
    return pace_follower(
        PaceSection(mode=PaceMode.CONDUCTED, conductor=CONDUCTOR.public, conductor_agreement=bytes(32))
    )


def test_the_conductors_word_changes_the_link_from_its_round_on(tmp_path, pacing):
    link = LossyLink(LossModel(1, 0.0), lambda: pacing.link_stages, tmp_path)
    stages = LinkStage(from_round=3, loss_fraction=1, seed=1), LinkStage(from_round=5, seed=1)
    for heard in (stages[:1], stages, stages[:1], ()):  # what comes late changes nothing
        pacing.hear(clock(*heard), "conductor")
    assert [r for r in range(8) if link.drops(SHARE, "m", "p", r)] == [3, 4]


def test_nobody_else_changes_the_link(tmp_path, pacing):
    link = LossyLink(LossModel(), lambda: pacing.link_stages, tmp_path)
    wire = clock(LinkStage(from_round=0, loss_fraction=1), signer=Identity.generate())
    for follower in (pacing, pace_follower(PaceSection())):
        with pytest.raises(MessageError):
            follower.hear(wire, "conductor")
        assert follower.link_stages == ()
    assert not link.drops(SHARE, "m", "p", 1)


def test_what_is_lost_is_written_down_once(tmp_path):
    link = LossyLink(LossModel(), tuple, tmp_path)
    link.note(SHARE, [("m1", "p"), ("m2", "p")], 5, 0)
    link.note(SHARE, [("m2", "p")], 5, 0)
    link.note(REPAIR, [("p", "m2")], 5, 1)
    link.note(SHARE, [], 6, 0)
    lines = [json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    assert [(line["kind"], line["sender"], line["receiver"], line["round"], line["attempt"]) for line in lines] == [
        ("share", "m1", "p", 5, 0),
        ("share", "m2", "p", 5, 0),
        ("repair", "p", "m2", 5, 1),
    ]
