"""The rules file of `hushgrid plan` and `hushgrid audit`, in TOML or JSON (docs/configurator.md, section Rules file)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from configurator.cohorts import Mask, MeterId, Partition, Roster
from configurator.placement import Assignment, Ppn, Problem
from configurator.policy import Policy, Request, Right
from hushgrid.errors import ConfigurationError
from hushgrid.field import MODULI

#: Distinct sets of rules that meet at a meter above which the placement assumes that all rules meet.
_LARGEST_OVERLAPS = 500
_RANGE = ".."

_MOST_METERS = 10_000_000
_MOST_PPNS = 100_000
_MOST_SUMS = 10**15
_MOST_SHARES = 1000
_LONGEST_WINDOW = 10**9
_LAST_ROUND = 10**15

Count = Annotated[int, Field(ge=1, le=_MOST_METERS)]
Rounds = Annotated[int, Field(ge=1, le=_LONGEST_WINDOW)]
PpnCount = Annotated[int, Field(ge=1, le=_MOST_PPNS)]
ShareCount = Annotated[int, Field(ge=1, le=_MOST_SHARES)]
MeterName = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
Cohort = str | list[MeterName]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RuleSection(_Section):
    """One rule, in the order of request. window: rounds; cohort: "all", a meter, "first..last", or a list of these."""

    name: Annotated[str, Field(min_length=1)]
    consumer: str = ""
    cohort: Cohort = "all"
    window: Annotated[int, Field(ge=-_LONGEST_WINDOW, le=_LONGEST_WINDOW)] = 1
    minimum_contributors: Count | None = None
    billing: bool = False
    from_round: Annotated[int, Field(ge=0, le=_LAST_ROUND)] = 0
    until_round: Annotated[int, Field(ge=-_LAST_ROUND, le=_LAST_ROUND)] | None = None


class PpnSection(_Section):
    """One PPN. capacity: sums a round (default: alpha times the number of meters)."""

    id: Annotated[str, Field(min_length=1)]
    operator: str | None = None
    capacity: Annotated[int, Field(ge=0, le=_MOST_SUMS)] | None = None
    in_service: bool = True


class RightSection(_Section):
    """What one consumer may ask for."""

    cohort: Cohort = "all"
    shortest_window: Rounds = 1


class Rulebook(_Section):
    """The whole file. meters: ids, or how many (then m0001, m0002, ...); ppns: how many or which (default: as many as it takes)."""

    meters: Count | list[MeterName]
    rules: list[RuleSection] = []
    minimum_contributors: Count = 15
    coverage_floor: Annotated[float, Field(gt=0, le=1)] = 0.8
    reading_bound_watt_hours: Annotated[int, Field(ge=1, le=10**15)] = 1_000_000
    modulus: Annotated[int, Field(ge=2, le=2**521)] = MODULI[-1]
    billing_period: Rounds | None = None
    owned: dict[str, Cohort] = {}
    rights: dict[str, RightSection] | None = None
    suppliers: dict[str, Cohort] = {}
    consents: Cohort = []
    ppns: PpnCount | list[PpnSection] | None = None
    width: ShareCount = 4
    threshold: ShareCount = 3
    alpha: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """A rules file, resolved: what the audit and the placement take."""

    roster: Roster
    policy: Policy
    requests: tuple[Request, ...]
    book: Rulebook

    def problem(self, existing: Assignment | None = None) -> Problem:
        """The placement of all rules of the file. ConfigurationError when it cannot be feasible."""
        demands = {request.name: int(request.cohort.sum()) for request in self.requests}
        ppns = list(_ppns(self.book, self.roster.size, sum(demands.values())))
        crowded = any(ppn.operator is not None for ppn in ppns)
        return Problem(
            demands=demands,
            ppns=ppns,
            width=self.book.width,
            threshold=self.book.threshold,
            overlaps=overlaps(self.requests, self.roster.size) if crowded else [],
            existing=existing,
        )


def load(path: Path) -> Rules:
    """Read and resolve a rules file; ConfigurationError in one line naming the file and the field."""
    return resolve(_parse(path), where=str(path))


def _parse(path: Path) -> Rulebook:
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}: not JSON: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from None
    except ValueError:
        raise ConfigurationError(f"{path}: a number has too many digits") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: nested too deeply") from None
    try:
        return Rulebook.model_validate(content)
    except ValidationError as error:
        errors = error.errors()
        # Of the branches of a union the one that got furthest is the one that was meant.
        first = max((e for e in errors if e["loc"][:1] == errors[0]["loc"][:1]), key=lambda e: len(e["loc"]))
        field = _field(step for step in first["loc"] if not _is_type_tag(step))
        raise ConfigurationError(f"{path}: {field}: {first['msg']}" if field else f"{path}: {first['msg']}") from None


def _is_type_tag(step: int | str) -> bool:
    """Pydantic names the tried branch of a union in the location: no field of the file."""
    return isinstance(step, str) and (step in {"int", "str", "constrained-int"} or "[" in step)


def _field(steps: Iterator[int | str]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def resolve(book: Rulebook, where: str = "rules") -> Rules:
    """Ids to positions; ConfigurationError for unknown meters and duplicate names."""
    roster = _roster(book, where)
    for field, names in (
        ("rules", [rule.name for rule in book.rules]),
        ("ppns", [ppn.id for ppn in book.ppns] if isinstance(book.ppns, list) else []),
    ):
        for at, name in enumerate(names):
            if name in names[:at]:
                raise ConfigurationError(f"{where}: {field}[{at}]: the name {name} occurs twice")
    requests = tuple(_request(book, roster, at, f"{where}: rules[{at}].cohort") for at in range(len(book.rules)))
    return Rules(roster, _policy(book, roster, where), requests, book)


def _roster(book: Rulebook, where: str) -> Roster:
    if isinstance(book.meters, int):
        digits = max(4, len(str(book.meters)))
        return Roster.of(f"m{number:0{digits}d}" for number in range(1, book.meters + 1))
    try:
        return Roster.of(sorted(book.meters))
    except ValueError:
        twice = next(meter for at, meter in enumerate(book.meters) if meter in book.meters[:at])
        raise ConfigurationError(f"{where}: meters: {twice} occurs twice") from None


def _request(book: Rulebook, roster: Roster, at: int, where: str) -> Request:
    rule = book.rules[at]
    return Request(
        name=rule.name,
        consumer=rule.consumer,
        cohort=cohort_mask(rule.cohort, roster, where),
        window_rounds=rule.window,
        minimum_contributors=rule.minimum_contributors,
        billing=rule.billing,
        from_round=rule.from_round,
        until_round=rule.until_round,
    )


def _policy(book: Rulebook, roster: Roster, where: str) -> Policy:
    rights = None
    if book.rights is not None:
        rights = {
            consumer: Right(cohort_mask(right.cohort, roster, f"{where}: rights.{consumer}"), right.shortest_window)
            for consumer, right in book.rights.items()
        }
    suppliers: dict[MeterId, str] = {}
    for consumer, cohort in book.suppliers.items():
        for meter in roster.named(cohort_mask(cohort, roster, f"{where}: suppliers.{consumer}")):
            if meter in suppliers:
                raise ConfigurationError(
                    f"{where}: suppliers.{consumer}: meter {meter} has the supplier {suppliers[meter]} already"
                )
            suppliers[meter] = consumer
    return Policy(
        minimum_contributors=book.minimum_contributors,
        coverage_floor_fraction=book.coverage_floor,
        reading_bound_watt_hours=book.reading_bound_watt_hours,
        modulus=book.modulus,
        owned={c: cohort_mask(cohort, roster, f"{where}: owned.{c}") for c, cohort in book.owned.items()},
        rights=rights,
        billing_period_rounds=book.billing_period,
        suppliers=suppliers,
        consents=frozenset(roster.named(cohort_mask(book.consents, roster, f"{where}: consents"))),
    )


def cohort_mask(cohort: Cohort | Literal["all"], roster: Roster, where: str) -> Mask:
    """The meters of "all", an id, an inclusive range "first..last" in the order of ids, or a list of these."""
    if cohort == "all":
        return roster.everyone()
    mask = roster.nobody()
    for item in [cohort] if isinstance(cohort, str) else cohort:
        if item in roster.position_of:
            mask[roster.position_of[item]] = True
            continue
        first, dots, last = item.partition(_RANGE)
        ends = (first, last) if dots else (item,)
        for end in ends:
            if end not in roster.position_of:
                raise ConfigurationError(f"{where}: unknown meter {end}")
        start, stop = roster.position_of[first], roster.position_of[last]
        if stop < start:
            raise ConfigurationError(f"{where}: the range {item} runs backwards")
        mask[start : stop + 1] = True
    return mask


def _ppns(book: Rulebook, meters: int, demand: int) -> Iterator[Ppn]:
    capacity = int(book.alpha * meters)
    if isinstance(book.ppns, list):
        for ppn in book.ppns:
            able = capacity if ppn.capacity is None else ppn.capacity
            yield Ppn(ppn.id, able, ppn.operator, ppn.in_service)
        return
    count = book.ppns
    if count is None:
        count = min(max(20, 2 * book.width, -(-2 * book.width * demand // max(1, capacity))), _MOST_PPNS)
    for number in range(1, count + 1):
        yield Ppn(f"ppn-{number}", capacity)


def overlaps(requests: Sequence[Request], meters: int) -> list[frozenset[str]] | None:
    """The sets of rules that meet at some meter; None (all rules meet) when there are too many to list."""
    partition = Partition.whole(meters)
    for request in requests:
        partition = partition.refined(request.cohort)
        if partition.classes > _LARGEST_OVERLAPS:
            return None
    return [
        frozenset(requests[at].name for at in np.flatnonzero(signature).tolist()) for signature in partition.signatures
    ]
