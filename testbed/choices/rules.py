"""`--rules FILE`: what a rules file says about a testbed: its meters, its consumers with their rules, the plan and the policy."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from configurator.offline.rules_file import Rulebook, Rules, load, wrong_entry
from hushgrid.core.cohorts import RANGE
from hushgrid.errors import ConfigurationError
from hushgrid.wire.model import Mechanism, Name
from hushgrid.wire.role import Role
from testbed.choices.layout import ConsumerWish

_NAME: TypeAdapter[str] = TypeAdapter(Name)
#: Who asks for a rule that names no consumer.
_NOBODY_NAMED = "consumer-1"
_MOST_ITEMS = 4096
_LONGEST_WINDOW = 2**16 - 1
#: Options that a rules file decides.
_DECIDED = ("meters", "consumers", "windows", "width", "threshold", "minimum_contributors", "modulus", "mechanism")
#: Fields of a rules file that no running grid has.
_UNPLAYED = ("billing_period", "suppliers", "consents")


@dataclass(frozen=True, slots=True)
class RulesChoice:
    """What a rules file asks for; nothing without one. names: of the meters; sections: the configurator's, beside the usual."""

    rules: Path | None = None
    names: tuple[str, ...] = ()
    asked: tuple[ConsumerWish, ...] = ()
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)


def rules_options(path: Path, given: Collection[str]) -> dict[str, Any]:
    """The options of a run, by name, as a rules file decides them.

    given: the options that a person gave, by name. ConfigurationError for those that the file decides, and for what a testbed
    cannot play.
    """
    rules = load(path)
    book = rules.book
    asked = tuple(_asked(path, rules))
    mechanism = _mechanism(path, book)
    windows = tuple(dict.fromkeys(wish.window_rounds for wish in asked))
    options: dict[str, Any] = {
        "meters": rules.census.size,
        "consumers": len({wish.consumer_id for wish in asked}),
        "windows": windows,
        "width": book.width,
        "threshold": book.threshold,
        "minimum_contributors": book.minimum_contributors,
        "mechanism": mechanism,
    }
    if isinstance(book.ppns, list):
        raise wrong_entry(path, "a testbed names its PPNs itself: say how many", "ppns")
    stated = {"ppns": book.ppns, "modulus": book.modulus, "reading_bound_watt_hours": book.reading_bound_watt_hours}
    options |= {name: value for name, value in stated.items() if name in book.model_fields_set and value is not None}
    if mechanism is Mechanism.PAIRWISE:
        if len(asked) > 1:
            raise wrong_entry(path, "one rule of masked readings bills all its meters: a testbed plays one", "rules", 1)
        options["period"] = windows[0]
        options["windows"] = (1,)
    decided = [name for name in given if name in options or name in _DECIDED]
    if decided:
        said = ", ".join("--" + {"windows": "window"}.get(name, name).replace("_", "-") for name in decided)
        raise ConfigurationError(f"--rules {path} decides this: {said} cannot be used with it")
    sections = {
        "plan": {"coverage_floor_fraction": book.coverage_floor},
        "placement": {"capacity_factor": book.alpha},
        "policy": _policy(book),
    }
    return options | {"rules": path, "names": _names(path, rules), "asked": asked, "sections": sections}


def is_name(text: str) -> bool:
    """Whether an agent or a rule of a running grid can be called so."""
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return True


def _names(path: Path, rules: Rules) -> tuple[str, ...]:
    names = tuple(str(meter) for meter in rules.census.meters)
    for name in names:
        if not is_name(name) or RANGE in name:
            raise wrong_entry(path, f"{name!r} cannot be a meter's id in a running grid", "meters")
    return names


def _asked(path: Path, rules: Rules) -> Iterator[ConsumerWish]:
    book, meters = rules.book, set(rules.census.meters)
    for name in _UNPLAYED:
        if name in book.model_fields_set:
            raise wrong_entry(
                path, 'bills come from a rule with mechanism = "pairwise"; a testbed plays no others', name
            )
    if not book.rules:
        raise wrong_entry(path, "there is no rule to play", "rules")
    for at, rule in enumerate(book.rules):
        consumer = rule.consumer or _NOBODY_NAMED
        for field_, value in (("name", rule.name), ("consumer", consumer)):
            if not is_name(value):
                raise wrong_entry(path, f"{value!r} cannot be a name in a running grid", "rules", at, field_)
        if consumer in meters or consumer.startswith(("ppn-", "fleet-")) or consumer == Role.CONFIGURATOR.value:
            raise wrong_entry(path, f"{consumer} is another agent's name", "rules", at, "consumer")
        if not 1 <= rule.window <= _LONGEST_WINDOW:
            raise wrong_entry(path, f"a window has 1 to {_LONGEST_WINDOW} rounds", "rules", at, "window")
        if rule.billing:
            raise wrong_entry(path, 'a testbed plays bills of mechanism = "pairwise" only', "rules", at, "billing")
        if rule.from_round or rule.until_round is not None:
            late = "from_round" if rule.from_round else "until_round"
            raise wrong_entry(path, "a testbed asks for all rules at its start, without an end", "rules", at, late)
        cohort = _cohort(rule.cohort)
        if len(cohort) > _MOST_ITEMS:
            raise wrong_entry(path, f"a cohort has at most {_MOST_ITEMS} ids and ranges", "rules", at, "cohort")
        yield ConsumerWish(consumer, rule.name, cohort, rule.window, rule.mechanism, rule.minimum_contributors)


def _mechanism(path: Path, book: Rulebook) -> Mechanism:
    for at, rule in enumerate(book.rules):
        if rule.mechanism is not book.rules[0].mechanism:
            raise wrong_entry(path, "a testbed plays rules of one mechanism", "rules", at, "mechanism")
    return book.rules[0].mechanism


def _cohort(written: str | list[str]) -> str | tuple[str, ...]:
    """As a consumer asks for it."""
    if isinstance(written, str):
        return written if written == "all" else (written,)
    return tuple(written)


def _policy(book: Rulebook) -> dict[str, Any]:
    """The configurator's section, as TOML has it."""
    section: dict[str, Any] = {"owned": {consumer: _toml(cohort) for consumer, cohort in book.owned.items()}}
    if book.rights is not None:
        section["rights"] = {
            consumer: {"cohort": _toml(right.cohort), "shortest_window_rounds": right.shortest_window}
            for consumer, right in book.rights.items()
        }
    return section


def _toml(cohort: str | list[str]) -> str | list[str]:
    found = _cohort(cohort)
    return found if isinstance(found, str) else list(found)
