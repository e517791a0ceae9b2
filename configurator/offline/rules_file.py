"""The rules file of `hushgrid plan` and `hushgrid audit`, in TOML or JSON (docs/configurator.md, section Rules file)."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from configurator.audit.cohorts import Census, Mask, MeterId
from configurator.audit.policy import Policy, Request, Right
from configurator.offline.lines import line_of
from configurator.placement.greedy import Assignment, PpnCapacity, Problem
from configurator.placement.overlaps import overlaps
from hushgrid.core.cohorts import RANGE, Selector
from hushgrid.core.field import MODULI
from hushgrid.errors import ConfigurationError, RefusedError
from hushgrid.wire.model import Mechanism

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
#: A range that says which meters there are: both ends differ in their last number, "m0001..m0050".
_SERIES = re.compile(r"(?P<stem>.*?)(?P<first>[0-9]{1,18})\.\.(?P=stem)(?P<last>[0-9]{1,18})", re.ASCII | re.DOTALL)
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
    mechanism: Mechanism = Mechanism.SHARES


class RulesPpn(_Section):
    """One PPN. capacity: sums a round (default: alpha times the number of meters)."""

    id: Annotated[str, Field(min_length=1)]
    operator: str | None = None
    capacity: Annotated[int, Field(ge=0, le=_MOST_SUMS)] | None = None
    in_service: bool = True


class RulesRight(_Section):
    """What one consumer may ask for."""

    cohort: Cohort = "all"
    shortest_window: Rounds = 1


class Rulebook(_Section):
    """The whole file. meters: ids and ranges of them, or how many (then m0001, m0002, ...); ppns: how many or which (default: as
    many as it takes).
    """

    meters: (
        Count | Annotated[list[MeterName], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
    )
    rules: list[RuleSection] = []
    minimum_contributors: Count = 15
    coverage_floor: Annotated[float, Field(gt=0, le=1)] = 0.8
    reading_bound_watt_hours: Annotated[int, Field(ge=1, le=10**15)] = 1_000_000
    modulus: Annotated[int, Field(ge=2, le=2**521)] = MODULI[-1]
    billing_period: Rounds | None = None
    owned: dict[str, Cohort] = {}
    rights: dict[str, RulesRight] | None = None
    suppliers: dict[str, Cohort] = {}
    consents: Cohort = []
    ppns: PpnCount | list[RulesPpn] | None = None
    width: ShareCount = 4
    threshold: ShareCount = 3
    alpha: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """A rules file, resolved: what the audit and the placement take."""

    census: Census
    policy: Policy
    requests: tuple[Request, ...]
    book: Rulebook

    def problem(self, existing: Assignment | None = None) -> Problem:
        """The placement of all rules of the file. ConfigurationError when it cannot be feasible."""
        demands = {request.name: int(request.cohort.sum()) for request in self.requests}
        ppns = list(_ppns(self.book, self.census.size, sum(demands.values())))
        crowded = any(ppn.operator is not None for ppn in ppns)
        return Problem(
            demands=demands,
            ppns=ppns,
            width=self.book.width,
            threshold=self.book.threshold,
            overlaps=overlaps(self.requests, self.census.size) if crowded else [],
            existing=existing,
        )


class _WrongEntryError(Exception):
    """Something in the file cannot be used: the keys and indexes that lead there, and why. item: of a list, where it stands in it."""

    def __init__(self, reason: str, *steps: str | int, item: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps = steps
        self.place = steps if item is None else (*steps, item)


def load(path: Path) -> Rules:
    """Read and resolve a rules file; ConfigurationError in one line naming the file, the line and the field."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8 text") from None
    is_json = path.suffix == ".json"
    content = _content(text, path, is_json=is_json)
    try:
        return _resolved(_book(content))
    except _WrongEntryError as wrong:
        line = line_of(wrong.place, text, is_json=is_json)
        where = f"{path}: line {line}" if line is not None else str(path)
        raise ConfigurationError(_said(where, wrong)) from None


def wrong_entry(path: Path, reason: str, *steps: str | int) -> ConfigurationError:
    """The error of whoever cannot use something in a file that was loaded: with the line where it stands."""
    line = line_of(steps, path.read_text(encoding="utf-8"), is_json=path.suffix == ".json")
    return ConfigurationError(
        _said(f"{path}: line {line}" if line is not None else str(path), _WrongEntryError(reason, *steps))
    )


def load_shared(path: Path) -> Rules:
    """As `load`, for who judges sums of shares: ConfigurationError for a rule of masked readings."""
    rules = load(path)
    for at, rule in enumerate(rules.book.rules):
        if rule.mechanism is Mechanism.PAIRWISE:
            reason = "masked readings share no meter with sums: a running grid judges them (hushgrid testbed --rules)"
            raise wrong_entry(path, reason, "rules", at, "mechanism")
    return rules


def _content(text: str, path: Path, *, is_json: bool) -> Any:
    try:
        return json.loads(text) if is_json else tomllib.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}: not JSON: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from None
    except ValueError:
        raise ConfigurationError(f"{path}: a number has too many digits") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: nested too deeply") from None


def _book(content: Any) -> Rulebook:
    try:
        return Rulebook.model_validate(content)
    except ValidationError as error:
        errors = error.errors()
        # Of the branches of a union the one that got furthest is the one that was meant.
        first = max((e for e in errors if e["loc"][:1] == errors[0]["loc"][:1]), key=lambda e: len(e["loc"]))
        steps = [step for step in first["loc"] if not _is_type_tag(step)]
        raise _WrongEntryError(first["msg"], *steps) from None


def _said(where: str, wrong: _WrongEntryError) -> str:
    field = _field(iter(wrong.steps))
    return f"{where}: {field}: {wrong.reason}" if field else f"{where}: {wrong.reason}"


def _is_type_tag(step: int | str) -> bool:
    """Pydantic names the tried branch of a union in the location: no field of the file."""
    return isinstance(step, str) and (step in {"int", "str", "constrained-int"} or "[" in step)


def _field(steps: Iterator[int | str]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def resolve(book: Rulebook, where: str = "rules") -> Rules:
    """Ids to positions; ConfigurationError for unknown meters and duplicate names."""
    try:
        return _resolved(book)
    except _WrongEntryError as wrong:
        raise ConfigurationError(_said(where, wrong)) from None


def _resolved(book: Rulebook) -> Rules:
    census = _census(book)
    for field, names in (
        ("rules", [rule.name for rule in book.rules]),
        ("ppns", [ppn.id for ppn in book.ppns] if isinstance(book.ppns, list) else []),
    ):
        for at, name in enumerate(names):
            if name in names[:at]:
                raise _WrongEntryError(f"the name {name} occurs twice", field, at)
    requests = tuple(_request(book, census, at) for at in range(len(book.rules)))
    return Rules(census, _policy(book, census), requests, book)


def _census(book: Rulebook) -> Census:
    if isinstance(book.meters, int):
        digits = max(4, len(str(book.meters)))
        return Census.of(f"m{number:0{digits}d}" for number in range(1, book.meters + 1))
    named: set[MeterId] = set()
    for at, item in enumerate(book.meters):
        for meter in _series(item, at):
            if meter in named:
                raise _WrongEntryError(f"{meter} occurs twice", "meters", item=at)
            named.add(meter)
    return Census.of(sorted(named))


def _series(item: str, at: int) -> Iterator[str]:
    """The meters that one item of `meters` says there are."""
    if RANGE not in item:
        yield item
        return
    found = _SERIES.fullmatch(item)
    if found is None:
        raise _WrongEntryError(
            f"{item} is no range such as m0001..m0050: its ends differ in their last number", "meters", at
        )
    first, last = found["first"], found["last"]
    if int(last) < int(first):
        raise _WrongEntryError(f"the range {item} runs backwards", "meters", at)
    if len(first) != len(last) and (first[0] == "0" or last[0] == "0"):
        raise _WrongEntryError(f"the ends of {item} have different numbers of digits", "meters", at)
    if int(last) - int(first) >= _MOST_METERS:
        raise _WrongEntryError(f"{item} is more than {_MOST_METERS} meters", "meters", at)
    yield from (f"{found['stem']}{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))


def _request(book: Rulebook, census: Census, at: int) -> Request:
    rule = book.rules[at]
    return Request(
        name=rule.name,
        consumer=rule.consumer,
        cohort=_mask(rule.cohort, census, "rules", at, "cohort"),
        window_rounds=rule.window,
        minimum_contributors=rule.minimum_contributors,
        billing=rule.billing,
        from_round=rule.from_round,
        until_round=rule.until_round,
    )


def _policy(book: Rulebook, census: Census) -> Policy:
    rights = None
    if book.rights is not None:
        rights = {
            consumer: Right(_mask(right.cohort, census, "rights", consumer), right.shortest_window)
            for consumer, right in book.rights.items()
        }
    suppliers: dict[MeterId, str] = {}
    for consumer, cohort in book.suppliers.items():
        for meter in census.named(_mask(cohort, census, "suppliers", consumer)):
            if meter in suppliers:
                reason = f"meter {meter} has the supplier {suppliers[meter]} already"
                raise _WrongEntryError(reason, "suppliers", consumer)
            suppliers[meter] = consumer
    return Policy(
        minimum_contributors=book.minimum_contributors,
        coverage_floor_fraction=book.coverage_floor,
        reading_bound_watt_hours=book.reading_bound_watt_hours,
        modulus=book.modulus,
        owned={c: _mask(cohort, census, "owned", c) for c, cohort in book.owned.items()},
        rights=rights,
        billing_period_rounds=book.billing_period,
        suppliers=suppliers,
        consents=frozenset(census.named(_mask(book.consents, census, "consents"))),
    )


def cohort_mask(cohort: Cohort, census: Census, where: str) -> Mask:
    """The meters a selector names (`hushgrid.core.cohorts`); ConfigurationError saying where it stands."""
    mask = census.nobody()
    try:
        for run in Selector.parse(cohort).runs(cast("Sequence[str]", census.meters)):  # a rules file has no other ids
            mask[run.start : run.stop] = True
    except RefusedError as error:
        raise ConfigurationError(f"{where}: {error.reason}") from None
    return mask


def _mask(cohort: Cohort, census: Census, *steps: str | int) -> Mask:
    field = _field(iter(steps))
    try:
        return cohort_mask(cohort, census, field)
    except ConfigurationError as error:
        raise _WrongEntryError(str(error).removeprefix(f"{field}: "), *steps) from None


def _ppns(book: Rulebook, meters: int, demand: int) -> Iterator[PpnCapacity]:
    capacity = int(book.alpha * meters)
    if isinstance(book.ppns, list):
        for ppn in book.ppns:
            able = capacity if ppn.capacity is None else ppn.capacity
            yield PpnCapacity(ppn.id, able, ppn.operator, ppn.in_service)
        return
    count = book.ppns
    if count is None:
        count = min(max(20, 2 * book.width, -(-2 * book.width * demand // max(1, capacity))), _MOST_PPNS)
    for number in range(1, count + 1):
        yield PpnCapacity(f"ppn-{number}", capacity)
