"""Who is gone, and for how long: from statuses and last wills alone."""

from __future__ import annotations

from hushgrid.wire.presence import ONLINE, Presence

AGENTS = {"ppn-1": ("a0", "a1"), "ppn-2": ("b0", "b1")}


def presence(*heard):
    found = Presence()
    for pseudonym, payload, now in heard:
        found.hear(pseudonym, payload, now)
    return found


def test_an_agent_is_away_when_its_will_was_heard_and_it_did_not_come_back_in_time():
    gone = presence(("a0", ONLINE, 0.0), ("a0", b"offline", 10.0), ("b0", ONLINE, 0.0))
    assert gone.away(AGENTS, 14.9, 5.0) == frozenset()
    assert gone.away(AGENTS, 15.0, 5.0) == {"ppn-1"}
    gone.hear("a0", ONLINE, 16.0)
    assert gone.away(AGENTS, 99.0, 5.0) == frozenset()


def test_a_repeated_will_does_not_start_the_patience_anew():
    gone = presence(("a0", b"offline", 10.0), ("a0", b"offline", 14.0))
    assert gone.away(AGENTS, 15.0, 5.0) == {"ppn-1"}


def test_an_agent_of_which_nothing_was_heard_is_not_away():
    assert presence().away(AGENTS, 1e9, 5.0) == frozenset()


def test_a_new_epochs_pseudonym_takes_the_place_of_the_old_one():
    changed = presence(("a0", ONLINE, 0.0), ("a0", b"", 1.0), ("a1", ONLINE, 1.0))
    assert changed.away(AGENTS, 99.0, 5.0) == frozenset()
    late = presence(("a0", b"offline", 1.0), ("a1", ONLINE, 2.0))
    assert late.away(AGENTS, 99.0, 5.0) == frozenset()
