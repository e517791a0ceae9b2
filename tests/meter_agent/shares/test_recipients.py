"""To whom nothing is sent for now: by last wills, and by signed words that contradict them."""

from __future__ import annotations

import pytest
from support.builders import head

from hushgrid.core.sealing import Identity
from hushgrid.plan.head import EpochKey, PpnEntry
from hushgrid.wire.presence import OFFLINE, ONLINE
from meter_agent.shares.recipients import Recipients

GRID = "g"
ONE, TWO = Identity.from_bytes(b"1" * 32), Identity.from_bytes(b"2" * 32)


def plan(version, epoch):
    entries = [
        PpnEntry(
            id=f"ppn-{n}",
            point=n,
            operator=f"o{n}",
            identity=who.public,
            key=EpochKey.sign(who, GRID, epoch, b"k" * 32),
        )
        for n, who in ((1, ONE), (2, TWO))
    ]
    return head(version, epoch=epoch, ppns=tuple(entries), threshold=2, width=2)


@pytest.fixture
def recipients():
    found = Recipients()
    found.adopt(plan(1, 0))
    return found


def test_who_has_said_nothing_is_sent_to(recipients):
    assert recipients.gone == frozenset()


def test_from_its_last_will_on_a_ppn_is_sent_nothing_until_it_is_back(recipients):
    name = ONE.pseudonym(GRID, 0)
    assert not recipients.hear(name, OFFLINE)
    assert recipients.gone == {"ppn-1"}
    assert recipients.hear(name, ONLINE)
    assert recipients.gone == frozenset()


def test_a_signed_word_ends_the_pause_whatever_the_broker_says(recipients):
    name = ONE.pseudonym(GRID, 0)
    recipients.hear(name, OFFLINE)
    assert recipients.heard_from(name)
    assert not recipients.heard_from(name), "no news"
    assert recipients.gone == frozenset()


def test_a_last_will_that_comes_before_the_plan_counts_when_the_plan_is_there():
    found = Recipients()
    found.hear(TWO.pseudonym(GRID, 0), OFFLINE)
    assert found.gone == frozenset()
    found.adopt(plan(1, 0))
    assert found.gone == {"ppn-2"}


def test_a_ppn_is_here_under_any_of_its_names_and_a_name_given_up_says_nothing(recipients):
    old, new = ONE.pseudonym(GRID, 0), ONE.pseudonym(GRID, 1)
    recipients.hear(old, ONLINE)
    recipients.adopt(plan(2, 1))
    recipients.hear(old, b"")
    recipients.hear(new, ONLINE)
    assert recipients.gone == frozenset()
    recipients.heard_from(old)
    recipients.hear(new, OFFLINE)
    assert recipients.gone == {"ppn-1"}, "a late word under the old name is no news"


def test_a_strangers_status_concerns_nobody(recipients):
    recipients.hear("stranger", OFFLINE)
    assert recipients.gone == frozenset()
