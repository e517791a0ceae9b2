"""Which way of keeping shares a PPN starts with, and what it does with shares that lie where an earlier start put them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hushgrid.core.sealing import SealingKey
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.here import Here
from ppn_node.shares.journal import Journal
from ppn_node.shares.store import ShareStore
from ppn_node.shares.workers import Workers


def share_store(
    directory: Path,
    workers: int,
    journal: Journal,
    *,
    plan_of: Callable[[int], Assignment],
    key_of: Callable[[Assignment, int], SealingKey],
) -> ShareStore:
    """`Here`, or `Workers` where they are asked for, or once were: then shares may lie with them.

    directory: of the PPN's state. plan_of, key_of: see `Here`.
    """
    if not Workers.needed(directory, workers):
        return Here(journal, plan_of=plan_of, key_of=key_of)
    store = Workers(directory, workers)
    hand_over(journal, store)
    return store


def hand_over(journal: Journal, store: ShareStore) -> None:
    """Shares in the PPN's own journal are from a time without workers: they go to the store, once.

    They are on disk there before they leave the journal. After a kill in between they are handed over again, which changes
    nothing.
    """
    for round_number in journal.share_rounds():
        store.keep(journal.shares(round_number))
        journal.forget_shares(round_number)
