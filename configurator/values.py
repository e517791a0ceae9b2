"""What the configurator's parts hand to each other: agents, rules and plans as they stand."""

from __future__ import annotations

from dataclasses import dataclass

from hushgrid.core.bitmap import Bitmap
from hushgrid.core.schedule import Window
from hushgrid.plan.digest_tree import DigestTree
from hushgrid.plan.head import EpochKey, Head
from hushgrid.plan.parts import Rule
from hushgrid.statements.rounds import DecisionCore, DecisionPage, ReleaseCertificate
from hushgrid.statements.rules import RequestRule
from hushgrid.wire.role import Role


@dataclass(frozen=True, slots=True)
class Registered:
    """An enrolled agent. number: a meter's number or a PPN's point; key: its announced key of the plan's epoch, if any."""

    id: str
    role: Role
    number: int
    identity: bytes
    operator: str | None
    carrier: str | None
    key: EpochKey | None


@dataclass(frozen=True, slots=True)
class GrantedRule:
    """A rule with its cohort, by meter numbers."""

    rule: Rule
    cohort: frozenset[int]


@dataclass(frozen=True, slots=True)
class StandingRule:
    """A rule as it was granted, and as it was asked for."""

    granted: GrantedRule
    request: RequestRule


@dataclass(frozen=True, slots=True)
class PlannedRule:
    """A rule as a plan has it. lingers: as an earlier plan placed it, until its open window ends: its meters still send there."""

    granted: GrantedRule
    lingers: bool


@dataclass(frozen=True, slots=True)
class RuleWindow:
    """One window of a rule, with the rule's cohort over the meter numbers of its plan."""

    rule: Rule
    cohort: Bitmap
    window: Window


@dataclass(frozen=True, slots=True)
class BuiltPart:
    """One page of one agent's part, as the bytes that the digest tree covers."""

    recipient: str
    page: int
    pages: int
    json: str


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One page of one agent's part, with its leaf's number and its way up the tree."""

    part: BuiltPart
    leaf: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A head with all parts in the order of the tree's leaves, and the rules it stands for."""

    head: Head
    parts: tuple[BuiltPart, ...]
    tree: DigestTree
    rules: tuple[PlannedRule, ...]


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """The decision of a round with its signature and pages; certificate: once there is one."""

    core: DecisionCore
    signature: bytes
    pages: tuple[DecisionPage, ...]
    certificate: ReleaseCertificate | None
