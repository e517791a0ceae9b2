"""Who is at fault where an aggregate share does not fit the others: the PPN, or a meter that sent it a bad share? No I/O.

A wrong point cannot tell: one bad share among the summands looks the same as a bad sum. But a meter states a round once, so that
the same share is a summand of every window over that (meter, round) pair. A pair is cleared at a point when some window over it
was right there, unless bad shares in it cancelled each other. A PPN is blamed for a wrong window only when all its pairs are cleared.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hushgrid.core.bitmap import Bitmap
from hushgrid.plan.head import Head
from hushgrid.plan.parts import Rule
from hushgrid.statements.rounds import Observation

log = logging.getLogger("hushgrid.configurator")

#: How long it is remembered at which points windows were wrong, in rounds; how many findings are told at once.
_EVIDENCE_ROUNDS, _MOST_TEXTS = 96, 8

#: The contributors of a window: by round, as bitmaps over meter numbers.
Pairs = Mapping[int, Bitmap]


@dataclass(frozen=True, slots=True)
class WrongWindow:
    """One wrong window at one point. suspects: distinct meters of it with a pair that nothing has cleared; 0 blames the PPN."""

    point: int
    rule: int
    first_round: int
    suspects: int

    @property
    def blames_the_ppn(self) -> bool:
        """Whether every share that it had to add has been right elsewhere."""
        return self.suspects == 0


@dataclass(slots=True)
class Evidence:
    """What consumers have said of points. Nothing in it depends on a reading."""

    _cleared: dict[tuple[int, int], Bitmap] = field(default_factory=dict)  # (point, round) -> meters
    _wrong: dict[tuple[int, int, int], Pairs] = field(default_factory=dict)  # (point, rule, first round)

    def observe(self, rule: int, first_round: int, pairs: Pairs, *, right: Iterable[int], wrong: Iterable[int]) -> None:
        """A consumer's word about one concluded window of its own; saying it again changes nothing."""
        for point in right:
            for round_number, meters in pairs.items():
                before = self._cleared.get((point, round_number), Bitmap(meters.size))
                size = max(before.size, meters.size)
                self._cleared[point, round_number] = before.resized(size) | meters.resized(size)
        for point in wrong:
            self._wrong.setdefault((point, rule, first_round), dict(pairs))

    def findings(self) -> list[WrongWindow]:
        """Every wrong window, by point, rule and round."""
        return [WrongWindow(*key, suspects=self._suspects(key[0], pairs)) for key, pairs in sorted(self._wrong.items())]

    def _suspects(self, point: int, pairs: Pairs) -> int:
        suspects = Bitmap(0)
        for round_number, meters in pairs.items():
            cleared = self._cleared.get((point, round_number), Bitmap(meters.size))
            size = max(cleared.size, meters.size, suspects.size)
            left = meters.resized(size) - cleared.resized(size)
            suspects = suspects.resized(size) | left
        return len(suspects)

    def forget(self, before_round: int) -> None:
        """Drop what is known of earlier rounds."""
        self._cleared = {key: meters for key, meters in self._cleared.items() if key[1] >= before_round}
        self._wrong = {key: pairs for key, pairs in self._wrong.items() if max(pairs, default=-1) >= before_round}


class Faults:
    """The evidence of a running grid, in words: what is new is logged once."""

    def __init__(self) -> None:
        self._evidence = Evidence()
        self._texts: dict[tuple[int, int, int], str] = {}
        self._misfits: dict[tuple[int, int], str] = {}  # (rule, first round)
        self._ppns: dict[int, str] = {}  # by point: it is one PPN's for ever

    @property
    def texts(self) -> tuple[str, ...]:
        """The latest findings, each text once."""
        return tuple(dict.fromkeys((*self._misfits.values(), *self._texts.values())))[-_MOST_TEXTS:]

    def observe(self, head: Head, rule: Rule, body: Observation, pairs: Pairs) -> None:
        """Take in an observation of a window of this rule that has been checked. head: of the plan the window was under."""
        self._evidence.observe(body.rule, body.first_round, pairs, right=body.right, wrong=body.wrong)
        self._evidence.forget(body.first_round - _EVIDENCE_ROUNDS)
        self._ppns |= {ppn.point: ppn.id for ppn in head.ppns}
        self._note_misfit(rule, body)
        before, self._texts = self._texts, {}
        for finding in self._evidence.findings():
            key = (finding.point, finding.rule, finding.first_round)
            who = f"{self._ppns[finding.point]} (point {finding.point})"
            self._texts[key] = f"{who} or a meter that sent it a bad share is at fault: undecided"
            if finding.blames_the_ppn:
                self._texts[key] = f"{who} is at fault: it released wrong sums of shares that were right elsewhere"
            if before.get(key) != self._texts[key]:
                log.warning(
                    "rule %d from round %d: %s (%d meters not cleared)", *key[1:], self._texts[key], finding.suspects
                )

    def _note_misfit(self, rule: Rule, body: Observation) -> None:
        """Say which shares do not fit together; nobody is blamed, for none is known right or wrong."""
        since = body.first_round - _EVIDENCE_ROUNDS
        self._misfits = {key: text for key, text in self._misfits.items() if key[1] >= since}
        key = (body.rule, body.first_round)
        if not body.misfit or key in self._misfits:
            return
        names = ", ".join(sorted((self._ppns[point] for point in body.misfit), key=lambda name: (len(name), name)))
        self._misfits[key] = (
            f"{rule.consumer}'s {rule.name}, rounds {body.first_round} to {body.first_round + rule.window_rounds - 1}: the shares of "
            f"{names} lie on no one polynomial; more are wrong than can be corrected"
        )
        log.warning("%s", self._misfits[key])
