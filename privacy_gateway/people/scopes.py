"""What somebody may ask, in Green Button's manner: one word of `key=value` parts, beside plain words.

    Purpose=research_statistics;GroupMin=200;Epsilon=0.5;IntervalDuration=86400;HistoryLength=31536000

Purpose: what answers may be for. GroupMin: fewest homes of a number. Epsilon: most that one answer may cost. IntervalDuration:
shortest span of a number, in seconds. HistoryLength: how far back, in seconds. What is left out is bounded by the gateway's policy only.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from hushgrid.errors import ConfigurationError
from hushgrid.wire.purpose import Purpose
from privacy_gateway.ledger.price import MICRO
from privacy_gateway.questions.question import plain

_MOST_DIGITS = 12
_MOST_SCOPE_CHARACTERS = 2000


class ScopeWord(enum.StrEnum):
    """What is allowed beside questions."""

    LEDGER = "ledger"  # what was charged, and how much is left
    AUDIT = "audit"  # the entries of the audit log: for a regulator
    HOME = "home"  # one's own home: for customers only, never for a client


@dataclass(frozen=True, slots=True)
class AskingScope:
    """The bounds of one asker's questions. None: the gateway's own bound alone."""

    purposes: frozenset[Purpose]
    minimum_homes: int | None = None
    largest_epsilon_micro: int | None = None
    interval_seconds: int | None = None
    history_seconds: int | None = None

    def __str__(self) -> str:
        parts = ["Purpose=" + "_".join(purpose.value for purpose in Purpose if purpose in self.purposes)]
        if self.minimum_homes is not None:
            parts.append(f"GroupMin={self.minimum_homes}")
        if self.largest_epsilon_micro is not None:
            parts.append(f"Epsilon={plain(Decimal(self.largest_epsilon_micro) / MICRO)}")
        if self.interval_seconds is not None:
            parts.append(f"IntervalDuration={self.interval_seconds}")
        if self.history_seconds is not None:
            parts.append(f"HistoryLength={self.history_seconds}")
        return ";".join(parts)


@dataclass(frozen=True, slots=True)
class GrantedScope:
    """All that somebody may do. asking: None where they may ask nothing."""

    asking: AskingScope | None
    words: frozenset[ScopeWord]

    def __str__(self) -> str:
        words = [word.value for word in ScopeWord if word in self.words]
        return " ".join([*([] if self.asking is None else [str(self.asking)]), *words])


def read_scope(text: str) -> GrantedScope:
    """A scope as it is written, parts in any order. ConfigurationError naming the word that is not understood."""
    if len(text) > _MOST_SCOPE_CHARACTERS:
        raise ConfigurationError(f"a scope of more than {_MOST_SCOPE_CHARACTERS} characters")
    asking, words = None, set()
    for word in text.split():
        if word.lower() in set(ScopeWord):
            words.add(ScopeWord(word.lower()))
        elif "=" not in word:
            raise ConfigurationError(f"scope {word!a}: expected Purpose=..., or one of {', '.join(ScopeWord)}")
        elif asking is not None:
            raise ConfigurationError("a scope has one word of the form Purpose=..., not two")
        else:
            asking = _asking(word)
    return GrantedScope(asking, frozenset(words))


def _asking(word: str) -> AskingScope:
    stated: dict[str, str] = {}
    for part in word.split(";"):
        key, _, value = part.partition("=")
        if key not in _KEYS or key in stated:
            raise ConfigurationError(f"scope {part!a}: expected each of {', '.join(_KEYS)} once at most, as KEY=VALUE")
        stated[key] = value
    if "Purpose" not in stated:
        raise ConfigurationError("a scope for questions names purposes: Purpose=research_statistics")
    return AskingScope(
        frozenset(_purpose(name) for name in stated["Purpose"].split("_")),
        _whole("GroupMin", stated),
        _epsilon(stated),
        _whole("IntervalDuration", stated),
        _whole("HistoryLength", stated),
    )


_KEYS = ("Purpose", "GroupMin", "Epsilon", "IntervalDuration", "HistoryLength")


def _purpose(name: str) -> Purpose:
    try:
        return Purpose(name)
    except ValueError:
        raise ConfigurationError(f"scope Purpose={name!a}: expected some of {', '.join(Purpose)}") from None


def _whole(key: str, stated: dict[str, str]) -> int | None:
    value = stated.get(key)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS and int(value)):
        raise ConfigurationError(f"scope {key}={value!a}: expected a whole number above 0")
    return int(value)


def _epsilon(stated: dict[str, str]) -> int | None:
    value = stated.get("Epsilon")
    if value is None:
        return None
    try:
        micro = Decimal(value) * MICRO if len(value) <= _MOST_DIGITS else Decimal("NaN")
    except InvalidOperation:
        micro = Decimal("NaN")
    if not (micro.is_finite() and 1 <= micro < 10**_MOST_DIGITS and micro == int(micro)):
        raise ConfigurationError(f"scope Epsilon={value!a}: expected a number above 0 with six decimals at most")
    return int(micro)


def narrowed(granted: GrantedScope, wanted: GrantedScope) -> GrantedScope | None:
    """What is wanted of what is granted; None where more is wanted than is granted."""
    if not wanted.words <= granted.words:
        return None
    if wanted.asking is None:
        return GrantedScope(None, wanted.words)
    if granted.asking is None or not wanted.asking.purposes <= granted.asking.purposes:
        return None
    return GrantedScope(bounded([granted.asking, wanted.asking]), wanted.words)


def bounded(scopes: Iterable[AskingScope]) -> AskingScope:
    """Within all of these."""
    every = list(scopes)

    def strictest(name: str, *, largest: bool) -> int | None:
        stated = [value for each in every if (value := getattr(each, name)) is not None]
        return (max if largest else min)(stated) if stated else None

    return AskingScope(
        frozenset.intersection(*(each.purposes for each in every)),
        strictest("minimum_homes", largest=True),
        strictest("largest_epsilon_micro", largest=False),
        strictest("interval_seconds", largest=True),
        strictest("history_seconds", largest=False),
    )
