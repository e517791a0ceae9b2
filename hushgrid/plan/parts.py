"""The plan's parts: what each role is told, and no more (docs/protocol.md, section Plan).

An agent reads the head and its own part. No agent sees the cohorts of others. A part that lists meters comes in pages of at
most `PAGE_METERS`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hushgrid.core.bitmap import Bitmap
from hushgrid.plan.head import EpochKey
from hushgrid.wire.model import (
    Count,
    Hex,
    Key,
    Mechanism,
    Model,
    Name,
    PointNumber,
    Pseudonym,
    Round,
    RuleNumber,
    Variant,
)


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
