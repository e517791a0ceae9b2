"""What one plan asks of one PPN, in a form the pure modules compute with."""

from __future__ import annotations

from dataclasses import dataclass, field

from hushgrid.core.bitmap import Bitmap
from hushgrid.core.schedule import Window, window_of
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.head import Head
from hushgrid.plan.parts import ConsumerEntry, MeterEntry, Part, PpnPart, Rule
from hushgrid.wire.model import PAGE_METERS
from hushgrid.wire.shares import sealed_share_bytes


@dataclass(frozen=True, slots=True)
class ServedRule:
    """A rule this PPN serves, with its whole cohort as a bitmap over meter numbers."""

    rule: Rule
    cohort: Bitmap


@dataclass(frozen=True, slots=True)
class Assignment:
    """One plan as this PPN sees it. meters: by number; senders: pseudonym -> the numbers it carries."""

    head: Head
    digest: bytes
    point: int
    meters: dict[int, MeterEntry]
    expected: Bitmap
    rules: dict[int, ServedRule]
    consumers: dict[str, ConsumerEntry]
    share_bytes: int
    senders: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, head: Head, ppn_id: str, parts: tuple[Part, ...]) -> Assignment | None:
        """From the head and this PPN's pages; None when the plan has no place for it. MessageError when they do not fit."""
        mine = [entry for entry in head.ppns if entry.id == ppn_id]
        if not mine:
            return None
        pages = [part for part in parts if isinstance(part, PpnPart)]
        if len(pages) != len(parts) or [page.page for page in pages] != list(range(len(pages))):
            raise MessageError(RejectReason.MALFORMED, "parts of a PPN")
        meters = {entry.number: entry for page in pages for entry in page.meters}
        rules: dict[int, ServedRule] = {}
        for index, rule in enumerate(pages[0].rules if pages else ()):
            sizes = [min(PAGE_METERS, head.meters - page.first) for page in pages]
            cohort = Bitmap.joined(page.cohort(index, size) for page, size in zip(pages, sizes, strict=True))
            rules[rule.number] = ServedRule(rule, cohort)
        senders: dict[str, list[int]] = {}
        for entry in meters.values():
            senders.setdefault(entry.sender, []).append(entry.number)
        return cls(
            head=head,
            digest=head.digest,
            point=mine[0].point,
            meters=meters,
            expected=Bitmap.of(head.meters, meters),
            rules=rules,
            consumers={entry.id: entry for page in pages[:1] for entry in page.consumers},
            share_bytes=sealed_share_bytes(head.slots, head.field),
            senders=senders,
        )

    def windows_ending(self, round_number: int) -> list[tuple[ServedRule, Window]]:
        """The (rule, window)s whose last round this is and that lie wholly inside the rule's time."""
        found = []
        for served in self.rules.values():
            rule = served.rule
            window = window_of(round_number, rule.window_rounds)
            inside = rule.from_round <= window.first and (rule.until_round is None or window.last < rule.until_round)
            if window.last == round_number and inside:
                found.append((served, window))
        return found
