"""The control plane: signed statements, sealed to one agent or published for all (docs/protocol.md, section Statements).

A statement is JSON {sender, recipient, sequence, body}, signed by its sender's identity. Between an agent and the configurator
it travels in a box that only the recipient opens; cards, heads and clocks are published open. `body.kind` names what is
said; a later layer adds a kind by adding a model to `Body`. An unknown kind is refused and counted, and stops nothing.
"""

from __future__ import annotations

import enum
import hashlib
from typing import Annotated, Literal

from pydantic import Field

from hushgrid import sealing
from hushgrid.bitmap import Bitmap
from hushgrid.errors import MessageError, RejectReason
from hushgrid.link_settings import LinkStage
from hushgrid.messages import SHARING_ID_BYTES, VERSION, WithheldReason
from hushgrid.plan import (
    Count,
    EpochKey,
    Head,
    Hex,
    Key,
    Mechanism,
    Model,
    Name,
    PointNumber,
    Round,
    RuleNumber,
    Signature,
)

#: Recipient of what is published for everybody.
EVERYBODY = "*"
MAX_STATEMENT_BYTES = 16 * 2**20


class Role(enum.StrEnum):
    """What an agent is."""

    METER = "meter"
    CARRIER = "carrier"  # a concentrator: carries the envelopes of several meters and can read none
    PPN = "ppn"
    CONSUMER = "consumer"
    CONFIGURATOR = "configurator"
    CONDUCTOR = "conductor"


class Enrol(Model):
    """An agent introduces itself, once, with a one-time token. It says who carries it and, of a PPN, who runs it."""

    kind: Literal["enrol"] = "enrol"
    role: Role
    token: Annotated[str, Field(min_length=16, max_length=128)]
    identity: Key
    operator: Name | None = None
    carrier: Name | None = None
    keys: tuple[EpochKey, ...]


class Enrolled(Model):
    """The agent is known from now on. number: a meter's number, a PPN's point; 0 otherwise."""

    kind: Literal["enrolled"] = "enrolled"
    number: Count
    epoch: Count  # keys up to this epoch are stored


class AnnounceKeys(Model):
    """An agent's agreement keys of coming epochs."""

    kind: Literal["announce-keys"] = "announce-keys"
    keys: tuple[EpochKey, ...]


class KeysKnown(Model):
    """The configurator has stored the keys up to this epoch."""

    kind: Literal["keys-known"] = "keys-known"
    epoch: Count


class Refusal(Model):
    """A statement was refused for good; the text depends on rules and registration only."""

    kind: Literal["refusal"] = "refusal"
    of: str
    reason: str


class RequestRule(Model):
    """A consumer asks for a rule. cohort: "all", meter ids, or inclusive ranges "first..last" in the order of meter ids."""

    kind: Literal["request-rule"] = "request-rule"
    name: Name
    cohort: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1, max_length=4096)]
    window_rounds: Annotated[int, Field(ge=0, lt=2**16)]
    minimum_contributors: Annotated[int, Field(ge=0)] | None = None
    mechanism: Mechanism = Mechanism.SHARES
    weights: tuple[int, ...] = (1,)


class WithdrawRule(Model):
    """A consumer wants a rule no longer; it ends with the windows that have begun."""

    kind: Literal["withdraw-rule"] = "withdraw-rule"
    name: Name


class RuleState(enum.StrEnum):
    """What became of a request."""

    GRANTED = "granted"
    REFUSED = "refused"
    PENDING = "pending"  # meters it names are expected but not enrolled yet
    WITHDRAWN = "withdrawn"


class RuleAnswer(Model):
    """The configurator's answer about one rule. because_of: the granted rules that lead to a refusal."""

    kind: Literal["rule-answer"] = "rule-answer"
    name: Name
    state: RuleState
    number: Annotated[int, Field(ge=0, lt=2**24)] = 0
    reason: str = ""
    because_of: tuple[str, ...] = ()


class RequestParts(Model):
    """An agent asks for the parts of a plan: its own and those of the meters it carries."""

    kind: Literal["request-parts"] = "request-parts"
    version: Count
    agents: Annotated[tuple[Name, ...], Field(max_length=1024)]


class RequestHead(Model):
    """An agent that was away asks for the head of a plan it missed, and is told it as a `PublishedHead`."""

    kind: Literal["request-head"] = "request-head"
    version: Count


class PartPage(Model):
    """One page of a part with its way up the digest tree."""

    kind: Literal["part-page"] = "part-page"
    version: Count
    recipient: Name
    page: Count
    pages: Count
    leaf: Count
    path: tuple[Hex, ...]
    part: str


class NoPart(Model):
    """The plan has nothing for this agent."""

    kind: Literal["no-part"] = "no-part"
    version: Count
    recipient: Name


class RosterPage(Model):
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


class DecisionMessage(Model):
    """One page of a decision; the core travels with every page. signature: the configurator's, over the core."""

    kind: Literal["decision"] = "decision"
    core: DecisionCore
    signature: Signature
    index: Count
    page: DecisionPage


class Countersignature(Model):
    """A PPN stands by the first decision it saw for a round. signature: over the decision's digest."""

    kind: Literal["countersignature"] = "countersignature"
    round: Round
    point: PointNumber
    digest: Key
    signature: Signature


class Certificate(Model):
    """Countersignatures of more than half of all PPNs under one decision: the leave to release."""

    kind: Literal["certificate"] = "certificate"
    round: Round
    digest: Key
    signatures: tuple[tuple[PointNumber, Signature], ...]


class Observation(Model):
    """A consumer's word about one concluded window: at which points the aggregate share fitted the others, and at which not.

    misfit: the points that answered where more were wrong than can be corrected: none of them is known right or wrong.
    """

    kind: Literal["observation"] = "observation"
    rule: Count
    first_round: Count
    right: tuple[Count, ...]
    wrong: tuple[Count, ...]
    misfit: tuple[Count, ...] = ()


class Forgotten(Model):
    """The configurator keeps nothing of rounds up to this one: a PPN that was away for so long lets go of them too."""

    kind: Literal["forgotten"] = "forgotten"
    through: Round


class Report(Model):
    """What an agent tells the conductor of a testbed: counts of its own progress, never a value."""

    kind: Literal["report"] = "report"
    role: Role
    plan_version: Count = 0
    figures: dict[str, int] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


class MaskedRoster(Model):
    """A consumer of masked readings says whose of one round it does not have, and asks for the round to be closed."""

    kind: Literal["masked-roster"] = "masked-roster"
    stream: Annotated[int, Field(ge=1, lt=2**24)]
    round: Round
    version: Count  # of the plan in force for the billing period's first round
    missing: Annotated[tuple[Count, ...], Field(max_length=4096)]


class MaskedClosing(Model):
    """The configurator's closing of a round (`masked_messages.RoundClosing`): one for ever."""

    kind: Literal["masked-closing"] = "masked-closing"
    stream: Count
    round: Round
    graph: Key
    absent: tuple[Count, ...]
    signature: Signature


class Card(Model):
    """The configurator's own agreement key of the epoch, published for all."""

    kind: Literal["card"] = "card"
    grid: str
    key: EpochKey


class PublishedHead(Model):
    """A plan's head, published for all."""

    kind: Literal["head"] = "head"
    head: Head


class Clock(Model):
    """The pace of a testbed's compressed rounds, published for all by its conductor. -1: none yet.

    link: what the lossy link does, each stage from its round on, all of them so far; in one statement with the pace, so that
    nobody states a round before it knows what becomes of it.
    """

    kind: Literal["clock"] = "clock"
    metered_through: Annotated[int, Field(ge=-1, lt=2**63)]
    frozen_through: Annotated[int, Field(ge=-1, lt=2**63)]
    link: Annotated[tuple[LinkStage, ...], Field(max_length=1024)] = ()


Body = Annotated[
    Enrol
    | Enrolled
    | AnnounceKeys
    | KeysKnown
    | Refusal
    | RequestRule
    | WithdrawRule
    | RuleAnswer
    | RequestParts
    | RequestHead
    | PartPage
    | NoPart
    | RosterPage
    | DecisionMessage
    | Countersignature
    | Certificate
    | Forgotten
    | Observation
    | Report
    | MaskedRoster
    | MaskedClosing
    | Card
    | PublishedHead
    | Clock,
    Field(discriminator="kind"),
]
KINDS = frozenset(model.model_fields["kind"].default for model in Body.__args__[0].__args__)


class Statement(Model):
    """Who says what to whom. sequence rises with every new statement of a sender; a repetition keeps its number."""

    sender: Name
    recipient: Annotated[str, Field(max_length=64)]
    sequence: Annotated[int, Field(ge=0, lt=2**63)]
    body: Body

    def to_bytes(self, signer: sealing.Identity) -> bytes:
        """version (1) | signature (64) | JSON."""
        body = self.to_json()
        return bytes((VERSION,)) + signer.sign("statement", body) + body

    @classmethod
    def from_bytes(cls, wire: bytes) -> tuple[Statement, Signed]:
        """The statement and what proves it. It is not believed yet: call `Signed.check` with the sender's identity."""
        start = 1 + sealing.SIGNATURE_BYTES
        if not start < len(wire) <= MAX_STATEMENT_BYTES:
            raise MessageError(RejectReason.MALFORMED, "statement length")
        if wire[0] != VERSION:
            raise MessageError(RejectReason.WRONG_VERSION, f"version {wire[0]}")
        return cls.from_json(wire[start:]), Signed(wire[start:], wire[1:start])


class Signed:
    """The exact bytes that were signed, and the signature."""

    __slots__ = ("_payload", "_signature")

    def __init__(self, payload: bytes, signature: bytes) -> None:
        self._payload = payload
        self._signature = signature

    def check(self, identity: bytes) -> None:
        """MessageError(BAD_SIGNATURE) unless this identity signed them."""
        sealing.verify(identity, "statement", self._payload, self._signature)


def box_context(grid: str, sender: str, recipient: str) -> bytes:
    """What a boxed statement is bound to: the grid and the two pseudonyms of the topic it travels on (invariant 7)."""
    return sealing.fields(b"hushgrid/1 control", grid.encode(), sender.encode(), recipient.encode())


def countersign(identity: sealing.Identity, round_number: int, point: int, digest: bytes) -> Countersignature:
    """A PPN's countersignature of a decision."""
    payload = countersignature_payload(round_number, point, digest)
    signature = identity.sign("countersign", payload)
    return Countersignature(round=round_number, point=point, digest=digest, signature=signature)


def countersignature_payload(round_number: int, point: int, digest: bytes) -> bytes:
    """What a countersignature covers."""
    return round_number.to_bytes(8, "big") + point.to_bytes(2, "big") + digest


def check_certificate(certificate: Certificate, head: Head) -> None:
    """MessageError unless more than half of all PPNs of the plan countersigned this digest (invariant 4)."""
    points = {point for point, _ in certificate.signatures}
    if len(points) != len(certificate.signatures) or 2 * len(points) <= len(head.ppns):
        raise MessageError(RejectReason.BELOW_FLOOR, f"{len(points)} countersignatures of {len(head.ppns)} PPNs")
    for point, signature in certificate.signatures:
        payload = countersignature_payload(certificate.round, point, certificate.digest)
        sealing.verify(head.ppn(point).identity, "countersign", payload, signature)
