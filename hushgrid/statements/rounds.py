"""One contributor decision per round: rosters, decision, countersignatures, certificate (docs/protocol.md, section Rounds)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hushgrid.core import sealing
from hushgrid.core.bitmap import Bitmap
from hushgrid.core.minimum import WithheldReason
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.head import Head
from hushgrid.statements.statement import Body
from hushgrid.wire.model import PAGE_METERS, Count, Hex, Key, Model, PointNumber, Round, RuleNumber, Signature
from hushgrid.wire.shares import SHARING_ID_BYTES


class RosterPage(Body):
    """One page of what a PPN holds on disk of a frozen round, signed with the statement that carries it.

    readings, gaps: bitmaps over the meter numbers of the page; tags: the sharing id of each held share, whole, readings
    and gaps together, in the order of numbers.
    """

    kind: Literal["roster-page"] = "roster-page"
    round: Round
    version: Count
    point: PointNumber
    page: Count
    pages: Count
    size: Count
    readings: Hex
    gaps: Hex
    tags: Hex

    def held(self) -> tuple[Bitmap, Bitmap, dict[int, bytes]]:
        """Readings, gaps, and the tag by position; MessageError when they do not fit together."""
        readings = Bitmap.from_bytes(self.size, self.readings)
        gaps = Bitmap.from_bytes(self.size, self.gaps)
        both = readings | gaps
        if readings.bits & gaps.bits or len(self.tags) != SHARING_ID_BYTES * len(both):
            raise MessageError(RejectReason.MALFORMED, "roster")
        size = SHARING_ID_BYTES
        tags = {at: self.tags[size * i : size * (i + 1)] for i, at in enumerate(both)}
        return readings, gaps, tags


class Withheld(Model):
    """A (rule, window) that is not released, and why."""

    rule: RuleNumber
    first_round: Round
    reason: WithheldReason


class DecisionPage(Model):
    """Who is in and who is out among the meters of one page, for all rules."""

    size: Count
    included: Hex
    gaps: Hex
    inconsistent: Hex

    def sets(self) -> tuple[Bitmap, Bitmap, Bitmap]:
        """Included, gaps, inconsistent: disjoint. MessageError otherwise."""
        sets = tuple(Bitmap.from_bytes(self.size, part) for part in (self.included, self.gaps, self.inconsistent))
        included, gaps, inconsistent = sets
        if included.bits & gaps.bits or included.bits & inconsistent.bits or gaps.bits & inconsistent.bits:
            raise MessageError(RejectReason.MALFORMED, "decision")
        return included, gaps, inconsistent

    @property
    def digest(self) -> bytes:
        """SHA-256 of its JSON form."""
        return hashlib.sha256(self.to_json()).digest()


@dataclass(frozen=True, slots=True)
class Contributors:
    """Who is in the sums of one decided round: disjoint sets over the meter numbers of its plan.

    included: in every sum. gaps: said "no reading". inconsistent: sent different sharings. All others of the plan are lost.
    """

    included: Bitmap
    gaps: Bitmap
    inconsistent: Bitmap

    @classmethod
    def from_pages(cls, pages: Iterable[DecisionPage]) -> Contributors:
        """From all pages of a decision, in order; MessageError when the sets of a page overlap."""
        sets = [page.sets() for page in pages]
        return cls(*(Bitmap.joined(page[which] for page in sets) for which in range(3)))

    def to_pages(self) -> tuple[DecisionPage, ...]:
        """The sets cut into pages of `PAGE_METERS`."""
        pages = []
        for first in range(0, max(1, self.included.size), PAGE_METERS):
            sets = [whole.page(first, PAGE_METERS) for whole in (self.included, self.gaps, self.inconsistent)]
            included, gaps, inconsistent = (each.to_bytes() for each in sets)
            pages.append(DecisionPage(size=sets[0].size, included=included, gaps=gaps, inconsistent=inconsistent))
        return tuple(pages)


class DecisionCore(Model):
    """The contributor decision of one round: one for all rules, taken once (invariant 4). Its digest is countersigned."""

    round: Round
    version: Count
    pages: tuple[Key, ...]
    withheld: tuple[Withheld, ...]
    punctual: tuple[PointNumber, ...]  # PPNs whose rosters it rests on

    @property
    def digest(self) -> bytes:
        """SHA-256 of its JSON form."""
        return hashlib.sha256(self.to_json()).digest()


class DecisionMessage(Body):
    """One page of a decision; the core travels with every page. signature: the configurator's, over the core."""

    kind: Literal["decision"] = "decision"
    core: DecisionCore
    signature: Signature
    index: Count
    page: DecisionPage


class Countersignature(Body):
    """A PPN stands by the first decision it saw for a round. signature: over the decision's digest."""

    kind: Literal["countersignature"] = "countersignature"
    round: Round
    point: PointNumber
    digest: Key
    signature: Signature


class ReleaseCertificate(Body):
    """Countersignatures of more than half of all PPNs under one decision: the leave to release."""

    kind: Literal["certificate"] = "certificate"
    round: Round
    digest: Key
    signatures: tuple[tuple[PointNumber, Signature], ...]


class Observation(Body):
    """A consumer's word about one concluded window: at which points the aggregate share fitted the others, and at which not.

    misfit: the points that answered where more were wrong than can be corrected: none of them is known right or wrong.
    """

    kind: Literal["observation"] = "observation"
    rule: Count
    first_round: Count
    right: tuple[Count, ...]
    wrong: tuple[Count, ...]
    misfit: tuple[Count, ...] = ()


class Forgotten(Body):
    """The configurator keeps nothing of rounds up to this one: a PPN that was away for so long lets go of them too."""

    kind: Literal["forgotten"] = "forgotten"
    through: Round


def countersign(identity: sealing.Identity, round_number: int, point: int, digest: bytes) -> Countersignature:
    """A PPN's countersignature of a decision."""
    payload = countersignature_payload(round_number, point, digest)
    signature = identity.sign("countersign", payload)
    return Countersignature(round=round_number, point=point, digest=digest, signature=signature)


def countersignature_payload(round_number: int, point: int, digest: bytes) -> bytes:
    """What a countersignature covers."""
    return round_number.to_bytes(8, "big") + point.to_bytes(2, "big") + digest


def check_certificate(certificate: ReleaseCertificate, head: Head) -> None:
    """MessageError unless more than half of all PPNs of the plan countersigned this digest (invariant 4)."""
    points = {point for point, _ in certificate.signatures}
    if len(points) != len(certificate.signatures) or 2 * len(points) <= len(head.ppns):
        raise MessageError(RejectReason.BELOW_FLOOR, f"{len(points)} countersignatures of {len(head.ppns)} PPNs")
    for point, signature in certificate.signatures:
        payload = countersignature_payload(certificate.round, point, certificate.digest)
        sealing.verify(head.ppn(point).identity, "countersign", payload, signature)
