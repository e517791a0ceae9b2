"""The plan: who sends what to whom, signed by the configurator (docs/protocol.md, section Plan).

A plan is a signed `Head`, equal for all and no larger for a million meters than for ten, and `Part`s by role, each bound to
the head by a digest tree: an agent reads the head and its own part, and no agent sees the cohorts of others. A part that
lists meters comes in pages of at most `PAGE_METERS`.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from hushgrid import sealing
from hushgrid.bitmap import Bitmap
from hushgrid.errors import MessageError, RejectReason
from hushgrid.field import Field as PrimeField
from hushgrid.field import is_prime

#: Meters on one page of a part, of a roster and of a decision.
PAGE_METERS = 16_384
_TREE_LABEL = b"hushgrid/1 plan"


def _from_hex(value: object) -> object:
    return bytes.fromhex(value) if isinstance(value, str) else value


def _whole(value: object) -> object:
    """A number that JSON carries as text, because it may exceed what other readers of JSON can hold."""
    return int(value) if isinstance(value, str) and len(value) <= _MODULUS_DIGITS else value


_MODULUS_DIGITS = 80
#: Bytes that JSON shows in hexadecimal.
Hex = Annotated[bytes, BeforeValidator(_from_hex), PlainSerializer(bytes.hex, return_type=str, when_used="json")]
Key = Annotated[Hex, Field(min_length=32, max_length=32)]
Signature = Annotated[Hex, Field(min_length=64, max_length=64)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Pseudonym = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
Modulus = Annotated[
    int, Field(ge=2, lt=2**256), PlainSerializer(str, return_type=str, when_used="json"), BeforeValidator(_whole)
]
Count = Annotated[int, Field(ge=0, lt=2**32)]
Round = Annotated[int, Field(ge=0, lt=2**63)]
PointNumber = Annotated[int, Field(ge=1, lt=2**16)]
RuleNumber = Annotated[int, Field(ge=1, lt=2**24)]


class Model(BaseModel):
    """Whatever comes from outside: closed, frozen, checked. Validators are built at first use: a meter uses few of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    def to_json(self) -> bytes:
        """The one JSON form that is signed and hashed: keys in the order of declaration, no spaces."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, wire: bytes) -> Self:
        """Back from JSON; MessageError(MALFORMED) naming the first bad field, never its value."""
        try:
            return cls.model_validate_json(wire)
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "union_tag_invalid":
                raise MessageError(RejectReason.UNKNOWN_KIND, cls.__name__) from None
            where = ".".join(str(step) for step in first["loc"])
            raise MessageError(RejectReason.MALFORMED, f"{cls.__name__} {where}".rstrip()) from None


#: An envelope's attempt has one byte: twice this many requests, those of a PPN that was away included.
MAX_REPAIR_ATTEMPTS = 100


class Recovery(enum.StrEnum):
    """What becomes of a missing share, for the whole plan."""

    NONE = "none"  # that PPN has no usable aggregate share: the paper's model, for reproduction only
    AGREE = "agree"  # its (meter, round) is left out everywhere
    REPAIR = "repair"  # it is asked for again, then left out


class Mechanism(enum.StrEnum):
    """How a rule's sum is hidden."""

    SHARES = "shares"
    PAIRWISE = "pairwise"
    BOTH = "both"


class Variant(enum.StrEnum):
    """Which pairwise noise a plan uses."""

    PUBLISHED = "published"  # as printed in the paper: for study, unsafe
    HARDENED = "hardened"  # uniform in Z_q from agreed keys


class EpochKey(Model):
    """An agent's agreement key and pseudonym for one epoch, signed by its identity."""

    epoch: Count
    agreement: Key
    pseudonym: Pseudonym
    signature: Signature

    @classmethod
    def sign(cls, identity: sealing.Identity, grid: str, epoch: int, agreement: bytes) -> EpochKey:
        """The announcement an agent makes of its own key."""
        pseudonym = identity.pseudonym(grid, epoch)
        payload = cls._payload(grid, epoch, agreement, pseudonym)
        return cls(epoch=epoch, agreement=agreement, pseudonym=pseudonym, signature=identity.sign("epoch key", payload))

    def check(self, identity: bytes, grid: str) -> None:
        """MessageError(BAD_SIGNATURE) unless this identity announced it for this grid."""
        payload = self._payload(grid, self.epoch, self.agreement, self.pseudonym)
        sealing.verify(identity, "epoch key", payload, self.signature)

    @staticmethod
    def _payload(grid: str, epoch: int, agreement: bytes, pseudonym: str) -> bytes:
        return sealing.fields(grid.encode(), epoch.to_bytes(8, "big"), agreement, pseudonym.encode())


class PpnEntry(Model):
    """One PPN of the plan. Its point is never given to another."""

    id: Name
    point: PointNumber
    operator: Name
    identity: Key
    key: EpochKey


class Head(Model):
    """What everybody knows of a plan. Its digest is what every share and aggregate share is bound to.

    A plan without PPNs serves rules of masked readings only (mechanism pairwise).
    """

    grid: Pseudonym
    version: Count
    previous: Hex  # digest of the head before, empty for the first
    epoch: Count
    valid_from_round: Round
    interval_seconds: Annotated[int, Field(ge=1)]
    threshold: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    modulus: Modulus
    slots: Annotated[int, Field(ge=1, le=64)]
    reading_bound_watt_hours: Annotated[int, Field(ge=1)]
    recovery: Recovery
    repair_attempts: Annotated[int, Field(ge=0, le=MAX_REPAIR_ATTEMPTS)] = 0  # how often a missing share is asked for
    minimum_contributors: Annotated[int, Field(ge=1)]
    coverage_floor_fraction: Annotated[float, Field(ge=0, le=1)]
    ppns: tuple[PpnEntry, ...]
    meters: Count  # length of every bitmap over meter numbers
    parts: Count
    parts_root: Hex

    @model_validator(mode="after")
    def _sound(self) -> Head:
        points = [ppn.point for ppn in self.ppns]
        if len(set(points)) != len(points) or len({ppn.id for ppn in self.ppns}) != len(points):
            raise ValueError("a point or a PPN occurs twice")
        if self.threshold > self.width or (points and self.width > len(points)):
            raise ValueError("threshold <= width <= number of PPNs does not hold")
        if self.recovery is not Recovery.NONE and 2 * self.threshold <= self.width:
            raise ValueError("threshold <= width / 2 is for recovery none only")
        if (self.recovery is Recovery.REPAIR) != (self.repair_attempts > 0):
            raise ValueError("repair_attempts is for recovery repair, and at least 1 there")
        if not is_prime(self.modulus) or self.modulus <= max(points, default=1):
            raise ValueError("the modulus is not a prime above every point")
        if any(ppn.key.epoch != self.epoch for ppn in self.ppns):
            raise ValueError("a PPN's key is of another epoch")
        return self

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed JSON form: 32 bytes."""
        return hashlib.sha256(self.to_json()).digest()

    @property
    def field(self) -> PrimeField:
        """Z_q of this plan."""
        return PrimeField(self.modulus)

    def ppn(self, point: int) -> PpnEntry:
        """The PPN at a point; MessageError(NOT_IN_PLAN)."""
        for entry in self.ppns:
            if entry.point == point:
                return entry
        raise MessageError(RejectReason.NOT_IN_PLAN, f"point {point}")

    @property
    def pages(self) -> int:
        """Pages that a bitmap over all meter numbers takes."""
        return max(1, -(-self.meters // PAGE_METERS))


class Rule(Model):
    """An approved statement, as PPNs and the configurator need it.

    number: never reused in an epoch; nonces depend on it. points: the width PPNs that serve it.
    Rounds [from_round, until_round) count; only windows that lie wholly inside are released. weights: one public integer
    per slot; a rule sums slot by slot.
    """

    number: RuleNumber
    name: Name
    consumer: Name
    window_rounds: Annotated[int, Field(ge=1, lt=2**16)]
    minimum_contributors: Annotated[int, Field(ge=1)]
    mechanism: Mechanism = Mechanism.SHARES
    weights: tuple[int, ...] = (1,)
    points: tuple[PointNumber, ...]
    from_round: Round
    until_round: Round | None = None


class ConsumerEntry(Model):
    """A consumer as its PPNs need it."""

    id: Name
    identity: Key
    key: EpochKey


class MeterEntry(Model):
    """A meter as its PPNs need it: a number, its key, and whom to send receipts to. No serial number.

    sender: pseudonym of the connection that carries it, its own or a concentrator's.
    """

    number: Count
    agreement: Key
    sender: Pseudonym


class MeterPart(Model):
    """All that a meter is told: its number and the points it sends shares to."""

    kind: Literal["meter"] = "meter"
    number: Count
    points: tuple[PointNumber, ...]
    rules: Count  # how many rules cover it


class ConsumerPart(Model):
    """A consumer's own rules, each with the number of meters in its cohort."""

    kind: Literal["consumer"] = "consumer"
    rules: tuple[Rule, ...]
    cohort_sizes: tuple[Count, ...]


class PpnPart(Model):
    """One page of what a PPN serves: its rules, the meters numbered [first, first + PAGE_METERS) that send to it, and each
    rule's cohort among them (bitmaps in hexadecimal, one per rule).
    """

    kind: Literal["ppn"] = "ppn"
    page: Count
    pages: Count
    first: Count
    rules: tuple[Rule, ...]
    consumers: tuple[ConsumerEntry, ...]
    meters: tuple[MeterEntry, ...]
    cohorts: tuple[Hex, ...]

    def cohort(self, index: int, size: int) -> Bitmap:
        """Rule `index`'s cohort on this page of `size` meters."""
        return Bitmap.from_bytes(size, self.cohorts[index])


class MaskTerms(Model):
    """What all who take part in one stream of masked readings agree on (docs/protocol.md, section Masked readings).

    stream: number of the rule that the masked readings serve; 0 under mechanism both, where they are shared among PPNs.
    Only billing periods that lie wholly inside [from_round, until_round) count, each under the plan of its first round.
    graph: digest of the connection graph. colluders: the stated number c that it withstands.
    noise_span_watt_hours: D of the published noise, 0 when hardened.
    """

    stream: Annotated[int, Field(ge=0, lt=2**24)]
    mechanism: Mechanism
    variant: Variant
    period_rounds: Annotated[int, Field(ge=2, lt=2**16)]
    from_round: Round
    until_round: Round | None = None
    graph: Key
    self_masks: bool
    colluders: Count
    noise_span_watt_hours: Count = 0

    @property
    def holders_threshold(self) -> int:
        """How many neighbours together open a silent meter's self-mask: one more than may collude."""
        return self.colluders + 1


class Neighbour(Model):
    """A meter one shares masks with: its number, its key, and the pseudonym of the connection that carries it."""

    number: Count
    identity: Key
    key: EpochKey
    sender: Pseudonym


class MaskingPart(Model):
    """What a meter is told of one stream: its number, whom the masked readings go to, and its own line of the graph.

    consumer: None under mechanism both. isolated_epsilon: of a meter without neighbours, as a fraction such as "1/2".
    """

    kind: Literal["masking"] = "masking"
    number: Count
    terms: MaskTerms
    consumer: ConsumerEntry | None
    neighbours: tuple[Neighbour, ...]
    isolated_epsilon: Annotated[str, Field(pattern=r"^[0-9]+(/[1-9][0-9]*)?$")] | None = None


class MaskedMeter(Model):
    """A meter as the consumer of its masked readings needs it: whom it bills, its key, and whom to send receipts to."""

    number: Count
    id: Name
    agreement: Key
    sender: Pseudonym


class BillingPart(Model):
    """One page of what a consumer of masked readings serves: meters in the order of numbers, and the pairs whose first meter
    (the one with the lower id) is on this page, by numbers.
    """

    kind: Literal["billing"] = "billing"
    page: Count
    pages: Count
    rule: Rule
    terms: MaskTerms
    minimum_group: Annotated[int, Field(ge=1)]
    meters: tuple[MaskedMeter, ...]
    edges: tuple[tuple[Count, Count], ...]


class PlainPart(Model):
    """The part of an agent that only carries others: a concentrator."""

    kind: Literal["carrier"] = "carrier"


Part = MeterPart | ConsumerPart | PpnPart | MaskingPart | BillingPart | PlainPart


class _AnyPart(Model):
    part: Annotated[Part, Field(discriminator="kind")]


def part_from_json(wire: bytes) -> Part:
    """The part of whichever kind it says it is; MessageError(MALFORMED)."""
    return _AnyPart.from_json(b'{"part":' + wire + b"}").part


def leaf(recipient: str, page: int, part: bytes) -> bytes:
    """The digest of one part in the tree: it names whose it is."""
    return hashlib.sha256(
        b"\x00" + sealing.fields(_TREE_LABEL, recipient.encode(), page.to_bytes(4, "big"), part)
    ).digest()


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class DigestTree:
    """A Merkle tree over the parts' leaves; an odd node moves up as it is."""

    levels: tuple[tuple[bytes, ...], ...]

    @classmethod
    def over(cls, leaves: Sequence[bytes]) -> DigestTree:
        """The tree over one or more leaves."""
        levels = [tuple(leaves)]
        while len(levels[-1]) > 1:
            row = levels[-1]
            pairs = [_parent(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
            levels.append(tuple(pairs) + (row[-1:] if len(row) % 2 else ()))
        return cls(tuple(levels))

    @property
    def root(self) -> bytes:
        """32 bytes; of an empty tree, the digest of nothing."""
        return self.levels[-1][0] if self.levels[0] else hashlib.sha256(b"").digest()

    def path(self, index: int) -> tuple[bytes, ...]:
        """The siblings from leaf to root; empty bytes where a node moved up alone."""
        siblings = []
        for row in self.levels[:-1]:
            sibling = index ^ 1
            siblings.append(row[sibling] if sibling < len(row) else b"")
            index //= 2
        return tuple(siblings)


def check_path(root: bytes, digest: bytes, index: int, path: Sequence[bytes]) -> None:
    """MessageError(BAD_SIGNATURE) unless the leaf is the index-th under this root."""
    for sibling in path:
        if sibling:
            digest = _parent(sibling, digest) if index % 2 else _parent(digest, sibling)
        elif index % 2:  # only a left node moves up alone
            raise MessageError(RejectReason.BAD_SIGNATURE, "part is not in the plan")
        index //= 2
    if digest != root or index:
        raise MessageError(RejectReason.BAD_SIGNATURE, "part is not in the plan")


@dataclass(frozen=True, slots=True)
class Floors:
    """What an agent insists on, whatever a configurator signs (P21). Part of the agent's own configuration."""

    threshold: int = 2
    minimum_contributors: int = 15
    pinned_ppns: tuple[tuple[str, bytes], ...] = ()
    unsafe_published: bool = False


def check_head(head: Head, floors: Floors) -> None:
    """Refuse a head below the agent's floors or with a PPN key its identity did not sign: MessageError."""
    if head.threshold < floors.threshold:
        raise MessageError(RejectReason.BELOW_FLOOR, f"threshold {head.threshold}, floor {floors.threshold}")
    if head.minimum_contributors < floors.minimum_contributors:
        detail = f"minimum contributors {head.minimum_contributors}, floor {floors.minimum_contributors}"
        raise MessageError(RejectReason.BELOW_FLOOR, detail)
    pinned = dict(floors.pinned_ppns)
    for ppn in head.ppns:
        ppn.key.check(ppn.identity, head.grid)
        if pinned.get(ppn.id, ppn.identity) != ppn.identity:
            raise MessageError(RejectReason.BELOW_FLOOR, f"{ppn.id} is not the pinned identity")


def check_roofs(head: Head, points: Sequence[int]) -> None:
    """A meter's own check of invariant 12: fewer than t of its shares under one operator. MessageError(BELOW_FLOOR)."""
    operators = [head.ppn(point).operator for point in points]
    for operator in set(operators):
        if operators.count(operator) >= head.threshold:
            raise MessageError(
                RejectReason.BELOW_FLOOR, f"operator {operator} would hold {operators.count(operator)} shares"
            )


def check_masking(head: Head, part: MaskingPart, floors: Floors) -> None:
    """A meter's own check of what it is to mask with: MessageError(BELOW_FLOOR) for the published noise without the unsafe
    flag, and for too few neighbours for the stated colluders; (BAD_SIGNATURE) for a key its owner did not announce.
    """
    if part.terms.variant is Variant.PUBLISHED and not floors.unsafe_published:
        raise MessageError(RejectReason.BELOW_FLOOR, "the published noise, without floors.unsafe_published")
    if part.neighbours and len(part.neighbours) <= part.terms.colluders:
        raise MessageError(RejectReason.BELOW_FLOOR, f"{len(part.neighbours)} neighbours may all collude")
    if not part.neighbours and part.isolated_epsilon is None and part.terms.variant is not Variant.PUBLISHED:
        raise MessageError(RejectReason.BELOW_FLOOR, "no neighbours, and no stated epsilon")
    for neighbour in part.neighbours:
        neighbour.key.check(neighbour.identity, head.grid)
        if neighbour.key.epoch != head.epoch:
            raise MessageError(RejectReason.BELOW_FLOOR, "a neighbour's key is of another epoch")


Entry = TypeVar("Entry")


class PlanBook(Generic[Entry]):
    """The plans an agent knows, by version, and which of them is in force for a round. Versions only rise."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Head, Entry]] = {}

    def add(self, head: Head, entry: Entry) -> None:
        """Take a plan in; MessageError(ROLLED_BACK) when it is older than the newest, or another of the same version."""
        if self._entries:
            newest = self._entries[max(self._entries)][0]
            same = head.version == newest.version and head.digest == newest.digest
            if not same and (
                head.version <= newest.version
                or head.valid_from_round < newest.valid_from_round
                or head.epoch < newest.epoch
            ):
                raise MessageError(RejectReason.ROLLED_BACK, f"plan {head.version} after {newest.version}")
        self._entries[head.version] = (head, entry)

    def in_force(self, round_number: int) -> tuple[Head, Entry] | None:
        """The newest plan valid from this round or before."""
        found = [pair for pair in self._entries.values() if pair[0].valid_from_round <= round_number]
        return max(found, key=lambda pair: pair[0].version) if found else None

    def version(self, version: int) -> tuple[Head, Entry] | None:
        """A plan by its version."""
        return self._entries.get(version)

    @property
    def newest(self) -> tuple[Head, Entry] | None:
        """The plan with the highest version."""
        return self._entries[max(self._entries)] if self._entries else None

    def __iter__(self) -> Iterator[tuple[Head, Entry]]:
        return iter(sorted(self._entries.values(), key=lambda pair: pair[0].version))
