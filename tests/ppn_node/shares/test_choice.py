"""Which store a PPN starts with, and that shares from a time without workers go to the workers once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppn_node.shares import choice
from ppn_node.shares.choice import hand_over, share_store
from ppn_node.shares.here import Here
from ppn_node.shares.journal import Journal
from ppn_node.shares.values import StoredShare


def share(round_number: int, number: int) -> StoredShare:
    return StoredShare(round_number, number, bytes([number] * 8), False, 1, b"sealed", 2)


class Recording:
    """Workers that are not started. dies: they do not live to answer."""

    def __init__(self, _directory: Path, count: int) -> None:
        self.count = count
        self.kept: list[StoredShare] = []
        self.dies = False

    @staticmethod
    def needed(_directory: Path, count: int) -> bool:
        return count > 0

    def keep(self, shares: list[StoredShare]) -> None:
        if self.dies:
            raise ConnectionResetError
        self.kept += shares


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    journal.add_shares([share(10, 1), share(10, 2), share(11, 1)])
    yield journal
    journal.close()


def chosen(directory: Path, workers: int, journal: Journal):
    return share_store(directory, workers, journal, plan_of=lambda _version: None, key_of=lambda _plan, _number: None)


def test_without_workers_shares_stay_in_this_process(journal, tmp_path):
    store = chosen(tmp_path, 0, journal)
    assert isinstance(store, Here)
    assert sorted(store.held(10)) == [1, 2]


def test_shares_from_a_time_without_workers_are_handed_over_at_the_start(journal, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "Workers", Recording)
    store = chosen(tmp_path, 3, journal)
    assert store.count == 3
    assert store.kept == [share(10, 1), share(10, 2), share(11, 1)]
    assert journal.share_rounds() == []
    assert chosen(tmp_path, 3, journal).kept == []  # once


def test_nothing_leaves_the_journal_before_the_workers_have_it(journal, tmp_path):
    store = Recording(tmp_path, 1)
    store.dies = True
    with pytest.raises(ConnectionResetError):
        hand_over(journal, store)
    assert journal.share_rounds() == [10, 11]
    store.dies = False
    hand_over(journal, store)
    assert len(store.kept) == 3
