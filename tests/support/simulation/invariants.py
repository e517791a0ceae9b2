"""What must hold whatever happens (docs/protocol.md, section Invariants), and what was seen of a history to judge it by.

Numbers in what is raised are those of the invariants.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from consumer_node.shares.collection import Aggregate, Outcome
from hushgrid.core import shamir
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.encoding import lift
from hushgrid.core.minimum import WithheldReason
from hushgrid.core.recovery import Recovery
from hushgrid.core.schedule import Window, window_of, windows_within
from hushgrid.statements.rounds import (
    Contributors,
    Countersignature,
    DecisionMessage,
    ReleaseCertificate,
    RosterPage,
)
from hushgrid.wire.aggregates import AggregateStatus, AggregateText
from hushgrid.wire.shares import Receipt
from ppn_node.rounds import Rounds
from ppn_node.shares.admission import open_share
from ppn_node.shares.assignment import Assignment
from ppn_node.shares.values import StoredRelease, StoredShare
from support.simulation.grid import COVERAGE_FLOOR, FIRST, LAST, METERS, MINIMUM, POINTS, THRESHOLD, Grid


class Violation(AssertionError):  # noqa: N818  # it is what an invariant's breach is called
    """An invariant does not hold."""


def hold(condition: object, invariant: str) -> None:
    """Violation unless it does."""
    if not condition:
        raise Violation(invariant)


def singles_out(sums: Sequence[Collection[tuple[int, int]]], few: int) -> bool:
    """Whether some combination of these sums, of (meter, round) pairs each, is over `few` meters or fewer and not nothing."""
    columns = sorted({pair for pairs in sums for pair in pairs})
    table = np.array([[pair in pairs for pair in columns] for pairs in sums], dtype=float)
    known = np.linalg.matrix_rank(table) if columns else 0
    for group in itertools.combinations(range(METERS), few):
        others = table[:, [at for at, (number, _) in enumerate(columns) if number not in group]]
        if known > (np.linalg.matrix_rank(others) if others.size else 0):
            return True
    return False


class Watch:
    """All that was seen of one history. Nothing here acts; every method raises Violation when it is shown what must not be."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.liar: int | None = None
        self.honest_meters = self.honest_configurator = True
        self.readings: dict[tuple[int, int], int | None] = {}
        self.decisions: dict[int, tuple[DecisionMessage, Contributors]] = {}  # the newest
        self.certificates: dict[int, ReleaseCertificate] = {}  # the first
        self.leaves: list[ReleaseCertificate] = []
        self.leave_given: set[tuple[int, int]] = set()
        self.signatures: dict[tuple[int, int], bytes] = {}
        self.results: dict[tuple[int, int], Aggregate] = {}
        self._assignments = {p: Assignment.of(grid.head, f"ppn-{p}", grid.adopted.parts[f"ppn-{p}"]) for p in POINTS}
        self._rostered: dict[tuple[int, int], RosterPage] = {}
        self._receipted: dict[tuple[int, int], set[int]] = {}
        self._released: dict[tuple[int, int, int], StoredRelease] = {}
        self._sets: dict[bytes, Bitmap] = {}

    # Meters

    def shared(self, number: int, round_number: int, sealed: Mapping[int, bytes]) -> None:
        """A meter shared a reading, point by point. Fewer than t shares of it do not give it."""
        reading = self.readings[number, round_number]
        if reading is None:
            return
        elements = {}
        for point, share in sealed.items():
            plan, key = self._assignments[point], self.grid.sharing_keys[number][point]
            opened = open_share(number, share, round_number, plan, lambda _n, key=key: key)
            elements[point] = opened.elements[0]
        secret = lift(reading, self.grid.head.reading_bound_watt_hours, self.grid.field)
        for few in itertools.combinations(elements, THRESHOLD - 1):
            found = shamir.interpolate({p: elements[p] for p in few}, self.grid.field)
            hold(found != secret, "6: fewer than t shares give the reading")

    # PPNs

    def receipted(self, point: int, receipt: Receipt) -> None:
        """It is on disk, so receipted: whatever happens to the process from here on, the share must stay."""
        self._receipted.setdefault((point, receipt.round), set()).update(receipt.held)

    def kept(self, point: int, shares: Sequence[StoredShare]) -> None:
        """New shares are on a PPN's disk. What comes after the roster was sent belongs to the contributor set."""
        for share in shares:
            if (point, share.round) in self._rostered:
                signed = self.signatures.get((point, share.round))
                included = set(self._sets[signed]) if signed is not None else set()
                hold(share.number in included, "3: a late share was counted")

    def rostered(self, point: int, page: RosterPage) -> None:
        """A PPN says what it holds of a round."""
        before = self._rostered.setdefault((point, page.round), page)
        hold(before == page, "3: a roster changed after it was sent")

    def countersigned(self, point: int, signature: Countersignature) -> None:
        """A PPN stands by a decision."""
        hold(signature.digest in self._sets, "4: a stranger's decision was countersigned")
        before = self.signatures.setdefault((point, signature.round), signature.digest)
        hold(before == signature.digest, "4: a PPN countersigned two decisions of one round")

    def released(self, point: int, release: StoredRelease) -> None:
        """An aggregate share is on a PPN's disk."""
        place = (point, release.rule, release.first_round)
        hold(place not in self._released, "3: released twice")
        self._released[place] = release
        for r in Window(release.first_round, self.grid.rules[release.rule].window_rounds):
            leave = self.certificates.get(r)  # own: None when it died between signing and saying so
            own = self.signatures.get((point, r), leave and leave.digest)
            hold(leave is not None and leave.digest == own, "4: released without leave")
            hold((point, r) in self.leave_given, "4: released on a stranger's leave")

    def published(self, point: int, rule: int, first_round: int, frame: bytes) -> None:
        """An aggregate share leaves a PPN."""
        release = self._released.get((point, rule, first_round))
        hold(release is not None, "3: published before it is on disk")
        hold(release is not None and release.frame == frame, "3: two aggregate shares of one window")

    def on_disk(self, rounds: Mapping[int, Rounds]) -> None:
        """After every step: what was receipted is held until it is over."""
        for (point, round_number), numbers in self._receipted.items():
            if round_number >= rounds[point].floor:
                hold(numbers <= set(rounds[point].held(round_number)), "9: a receipted share is gone")

    # The configurator

    def decided(self, message: DecisionMessage) -> None:
        """The configurator tells somebody a decision."""
        core = message.core
        before = self.decisions.get(core.round)
        if before is not None and before[0].core.digest == core.digest:
            hold(before[0] == message, "8: other bytes of one decision")
            return
        hold(before is None or not self.honest_configurator, "4: two decisions of one round")
        self.decisions[core.round] = (message, Contributors.from_pages([message.page]))
        self._sets[core.digest] = self.decisions[core.round][1].included
        hold(2 * len(core.punctual) > len(POINTS), "4: decided without a majority")
        self._check_sources(core.round)
        for number, rule in self.grid.rules.items():
            window = window_of(core.round, rule.window_rounds)
            if not all(r in self.decisions for r in window):
                continue  # it died before it told one of them
            if not self.covered(number, window, self._decided):
                last = self.decisions[window.last][0].core
                hold(number in {entry.rule for entry in last.withheld}, "5: too few, and not withheld")

    def _check_sources(self, round_number: int) -> None:
        """Nobody is in of whom a punctual PPN holds nothing, unless nothing is made up for (recovery none)."""
        message, coverage = self.decisions[round_number]
        for point in message.core.punctual:
            page = self._rostered.get((point, round_number))
            hold(page is not None, "2: decided on a roster that was not sent")
            if page is not None and self.grid.recovery.agrees:
                hold(set(coverage.included) <= set(page.held()[0]), "2: included, and a punctual PPN does not hold it")

    def certified(self, certificate: ReleaseCertificate) -> None:
        """The configurator tells somebody that a round may be released."""
        before = self.certificates.setdefault(certificate.round, certificate)
        hold(before.digest == certificate.digest, "4: two decisions of one round certified")
        self.leaves.append(certificate)

    def blamed(self, texts: Sequence[str]) -> None:
        """The configurator says who is at fault."""
        for text in texts if self.honest_meters else ():
            hold(self.liar is not None, f"13: {text}")
            if "released wrong sums" in text:
                hold(text.startswith(f"ppn-{self.liar} "), f"13: {text}")

    # The consumer

    def concluded(self, found: Aggregate, answers: Mapping[int, AggregateText]) -> None:
        """A consumer has its result of a window, from these aggregate shares."""
        self.results[found.rule, found.window.first] = found
        released = {p: text for p, text in answers.items() if text.status is AggregateStatus.RELEASED}
        common = Counter(text.digest for text in released.values()).most_common(1)
        agree = common[0][1] if common else 0
        lied = self.liar is not None and self.liar in released
        doubted = bool(found.wrong_points or found.misfit_points)
        hold(lied or not (doubted and self.honest_meters), "13: a PPN that adds rightly is doubted")
        if found.outcome is not Outcome.RELEASED:
            hold(found.watt_hours is None, "1: a number without a release")
            hold(agree < THRESHOLD or lied, "1: t PPNs agree and nothing is released")
            return
        hold(len({released[p].digest for p in found.points}) == 1, "2: shares of different contributor sets combined")
        hold(len(found.points) >= THRESHOLD, "1: fewer than t shares")
        wanted, pairs = 0, 0
        for round_number in found.window:
            included = self._included(found.rule, round_number)
            hold(len(included) >= MINIMUM, "5: released below the minimum")
            for number in included:
                reading = self.readings[number, round_number]
                hold(reading is not None, "1: a gap is counted")
                wanted, pairs = wanted + (reading or 0), pairs + 1
        hold(found.included == pairs, "1: the stated set is not the decided one")
        hold(self.covered(found.rule, found.window), "5: released below the coverage floor")
        # Any t shares lie on one polynomial: only with more of them does a lie show, and then it must.
        hold(
            found.watt_hours == wanted or (lied and not found.detects),
            f"1, 8, 13: {found.watt_hours} instead of {wanted}",
        )
        hold(not self.honest_configurator or not self._conspire(), f"11: sums single out fewer than {MINIMUM} meters")

    def _conspire(self) -> bool:
        sums = [
            {(number, r) for r in found.window for number in self._included(rule, r)}
            for (rule, _), found in self.results.items()
            if found.outcome is Outcome.RELEASED
        ]
        return singles_out(sums, MINIMUM - 1)

    def covered(self, rule: int, window: Window, sets: object = None) -> bool:
        """Whether a window has contributors enough, in every round and in all. sets: instead of the certified ones."""
        cohort = self.grid.cohorts[rule]
        counts = [len(cohort & set((sets or self._certified)(r))) for r in window]
        return min(counts) >= MINIMUM and sum(counts) >= COVERAGE_FLOOR * len(cohort) * window.rounds

    def _included(self, rule: int, round_number: int) -> set[int]:
        return self.grid.cohorts[rule] & set(self._certified(round_number))

    def _certified(self, round_number: int) -> Bitmap:
        """The set that was certified; with recovery `none`, too, nothing is released without."""
        certificate = self.certificates.get(round_number)
        hold(certificate is not None, "4: released without a certificate")
        return self._sets[certificate.digest if certificate else b""]

    def _decided(self, round_number: int) -> Bitmap:
        return self.decisions[round_number][1].included

    # The end

    def ended(self) -> None:
        """No more faults: everything has come to its end, and exactly what could be released is."""
        if not self.honest_configurator:
            return
        hold(len(self.results) == self.windows, f"{len(self.results)} of {self.windows} windows concluded")
        for found in self.results.values():
            if self.grid.recovery is Recovery.NONE or not self.honest_meters:
                continue
            if self.liar is not None and found.outcome is Outcome.UNRECOVERED:
                continue
            if found.outcome is Outcome.WITHHELD and self._discloses(found):
                continue
            wanted = Outcome.RELEASED if self.covered(found.rule, found.window) else Outcome.WITHHELD
            hold(found.outcome is wanted, f"window {found.window} is {found.outcome}: {found.reason}")

    def _discloses(self, found: Aggregate) -> bool:
        """Whether a window was withheld because of others, and in some round of it so few meters make the difference."""
        entries = {
            (entry.rule, entry.first_round): entry for entry in self.decisions[found.window.last][0].core.withheld
        }
        entry = entries.get((found.rule, found.window.first))
        if entry is None or entry.reason is not WithheldReason.WOULD_DISCLOSE:
            return False
        part, rest = self.grid.cohorts[2], self.grid.cohorts[1] - self.grid.cohorts[2]
        counts = [len(cell & set(self._certified(r))) for r in found.window for cell in (part, rest)]
        return any(0 < count < MINIMUM for count in counts)

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return sum(len(windows_within(FIRST, LAST, rule.window_rounds)) for rule in self.grid.rules.values())
