"""What an agent believes about the plan: from heads and parts as they are heard to plans adopted, in order of versions. No I/O.

    published head --(floors)--> awaited --(every part, under the head's root)--> adopted
          |                         |
          |                         +--(a part below a floor)--> refused; skipped once a later plan is published
          +-- plans between it and the newest adopted are wanted first: some rounds are judged by them

Whoever calls it has checked that the configurator says so. A refusal is a MessageError; what was adopted before it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.book import PlanBook
from hushgrid.plan.digest_tree import check_path, leaf
from hushgrid.plan.floors import Floors, check_head, check_masking, check_roofs
from hushgrid.plan.head import Head
from hushgrid.plan.parts import MaskingPart, MeterPart, Part, part_from_json


@dataclass(slots=True)
class AdoptedPlan:
    """A plan with all that these members were told of it: agent -> its pages in order. No part: not in this plan."""

    head: Head
    parts: dict[str, tuple[Part, ...]]


@dataclass(frozen=True, slots=True)
class HeardPart:
    """One page of a member's part, as it was handed over: the index of its leaf under the head's root, and the path there."""

    version: int
    member: str
    page: int
    pages: int
    leaf: int
    path: Sequence[bytes]
    json: bytes


@dataclass(frozen=True, slots=True)
class KeptPage:
    """A page that goes to disk with its plan."""

    member: str
    page: int
    pages: int
    json: bytes


@dataclass(frozen=True, slots=True)
class Adoption:
    """A plan that is adopted now, and what must be on disk before it is used."""

    plan: AdoptedPlan
    pages: tuple[KeptPage, ...]


@dataclass(slots=True)
class _Awaited:
    """A head whose parts are still coming: member -> page -> part, and how many pages there are. refused: below a floor."""

    head: Head
    refused: bool = False
    pages: dict[str, dict[int, bytes]] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)

    def missing(self, members: Iterable[str]) -> list[str]:
        return [m for m in members if m not in self.expected or len(self.pages.get(m, {})) < self.expected[m]]

    def adoption(self) -> Adoption:
        kept = tuple(
            KeptPage(member, page, self.expected[member], json)
            for member, pages in self.pages.items()
            for page, json in sorted(pages.items())
        )
        parts = {
            member: tuple(part_from_json(json) for _, json in sorted(pages.items()))
            for member, pages in self.pages.items()
            if pages
        }
        return Adoption(AdoptedPlan(self.head, parts), kept)


class PlanFollower:
    """See the module. members: whose parts belong to a plan; kept: the plans adopted before, in order of versions."""

    def __init__(self, members: Sequence[str], grid: str, floors: Floors, kept: Iterable[AdoptedPlan] = ()) -> None:
        self._members = tuple(members)
        self._grid = grid
        self._floors = floors
        self._published: Head | None = None  # the newest; the plans before it are adopted first
        self._awaited: _Awaited | None = None
        self._skipped = 0  # the last plan that was refused and is waited for no longer
        self.plans: PlanBook[AdoptedPlan] = PlanBook()
        for plan in kept:
            self.plans.add(plan.head, plan)

    # What is wanted

    @property
    def awaited(self) -> Head | None:
        """The plan whose parts are wanted now."""
        return self._awaited.head if self._awaited else None

    @property
    def wanted_parts(self) -> list[str]:
        """The members whose parts of the awaited plan are not all here."""
        return self._awaited.missing(self._members) if self._awaited else []

    @property
    def wanted_head(self) -> int | None:
        """The version of a plan that came and went unheard, and is adopted next; None when no head is to be asked for."""
        return self._next_version if self._awaited is None else None

    @property
    def settled(self) -> bool:
        """Whether every plan up to the newest that was published is adopted or passed over."""
        return self._awaited is None and self._next_version is None

    @property
    def _next_version(self) -> int | None:
        """The plan to be adopted next; None when all that were published are."""
        head, newest = self._published, self.plans.newest
        if head is None:
            return None
        if newest is None:
            return head.version
        following = max(newest[0].version, self._skipped) + 1
        return following if following <= head.version else None

    # What is heard

    def hear_head(self, head: Head) -> None:
        """The newest plan, as published for everybody; MessageError for another grid's, an older one, one below the floors."""
        if head.grid != self._grid:
            raise MessageError(RejectReason.UNKNOWN_KIND, "head")
        newest = self.plans.newest
        if newest is not None and head.version <= newest[0].version:
            if head.version == newest[0].version and head.digest == newest[0].digest:
                return
            raise MessageError(RejectReason.ROLLED_BACK, f"plan {head.version} after {newest[0].version}")
        if self._published is not None and head.version < self._published.version:
            raise MessageError(RejectReason.ROLLED_BACK, f"plan {head.version} after {self._published.version}")
        check_head(head, self._floors)
        self._published = head
        if self._awaited is not None and self._awaited.refused:
            self._skip(self._awaited.head)
        if head.version == self._next_version:
            self._await(head)

    def hear_missed_head(self, head: Head) -> None:
        """A plan that came and went while this agent was away; nothing happens unless it is the next. Refused, it is passed over."""
        if head.grid != self._grid or head.version != self._next_version:
            return
        try:
            check_head(head, self._floors)
        except MessageError:
            self._skip(head)
            raise
        self._await(head)

    def hear_part(self, part: HeardPart) -> Adoption | None:
        """One page of a part of the awaited plan; the adoption when it was the last. MessageError for what is not under the
        plan's root, and below the agent's floors: then the plan is passed over as soon as a later one is published.
        """
        awaited = self._awaited
        if awaited is None or part.version != awaited.head.version:
            return None
        check_path(awaited.head.parts_root, leaf(part.member, part.page, part.json), part.leaf, part.path)
        try:
            self._check_part(awaited.head, part_from_json(part.json))
        except MessageError:
            self._refuse(awaited)
            raise
        awaited.pages.setdefault(part.member, {})[part.page] = part.json
        awaited.expected[part.member] = part.pages
        return self._adopt_if_complete(awaited)

    def hear_no_part(self, member: str, version: int) -> Adoption | None:
        """The awaited plan has nothing for a member."""
        awaited = self._awaited
        if awaited is None or version != awaited.head.version:
            return None
        awaited.expected[member] = 0
        return self._adopt_if_complete(awaited)

    # Inside

    def _check_part(self, head: Head, part: Part) -> None:
        if isinstance(part, MeterPart):
            check_roofs(head, part.points)
        elif isinstance(part, MaskingPart):
            check_masking(head, part, self._floors)

    def _await(self, head: Head) -> None:
        if self._awaited is None or self._awaited.head.digest != head.digest:
            self._awaited = _Awaited(head)

    def _refuse(self, awaited: _Awaited) -> None:
        """It stays the awaited plan while it is the newest: its configurator may say another part."""
        awaited.refused = True
        if self._published is not None and self._published.version > awaited.head.version:
            self._skip(awaited.head)

    def _skip(self, head: Head) -> None:
        """A plan that this agent refuses, and that another one has followed."""
        self._skipped, self._awaited = head.version, None
        self._await_newest()

    def _await_newest(self) -> None:
        if self._published is not None and self._next_version == self._published.version:
            self._await(self._published)

    def _adopt_if_complete(self, awaited: _Awaited) -> Adoption | None:
        if awaited.missing(self._members):
            return None
        adoption = awaited.adoption()
        try:
            self.plans.add(awaited.head, adoption.plan)
        except MessageError:
            self._refuse(awaited)
            raise
        self._awaited = None
        self._await_newest()
        return adoption
