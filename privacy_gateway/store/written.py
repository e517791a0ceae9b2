"""How homes, answers and what they tell are written into cells, and read back: all of it, or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, fields
from fractions import Fraction

from hushgrid.errors import JournalError, MessageError
from privacy_gateway.deciding.answer import GatewayAnswer
from privacy_gateway.ledger.price import PrivacyPrice
from privacy_gateway.noise.mechanisms import MechanismKind
from privacy_gateway.questions.question import GatewayQuestion, StatisticKind
from privacy_gateway.questions.recovered import RoundSpan, SumLoss


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def homes_written(homes: Collection[str]) -> tuple[str, str]:
    """The digest of a set of homes, and the set."""
    written = _json(sorted(set(homes)))
    return hashlib.sha256(written.encode()).hexdigest(), written


def homes_read(written: str) -> frozenset[str]:
    """JournalError for anything else."""
    homes = _list(written)
    if not all(isinstance(home, str) for home in homes):
        raise JournalError("the gateway's store: a set of homes is not understood")
    return frozenset(map(str, homes))


def numbers_written(numbers: Iterable[int]) -> str:
    """A list of whole numbers."""
    return _json(list(numbers))


def losses_written(losses: Collection[SumLoss]) -> str:
    """In one order."""
    rows = [
        (each.rule, each.span.first, each.span.until, each.homes, each.missing_pairs, each.absent_homes)
        for each in losses
    ]
    return _json(sorted(rows))


def losses_read(written: str) -> frozenset[SumLoss]:
    """JournalError for anything else."""
    losses = set()
    try:
        for row in _list(written):
            if not isinstance(row, list) or not all(type(number) is int for number in row):
                raise TypeError
            rule, first, until, homes, missing, absent = row
            losses.add(SumLoss(rule, RoundSpan(first, until), homes, missing, absent))
    except (TypeError, ValueError):
        raise JournalError("the gateway's store: what is missing in a sum is not understood") from None
    return frozenset(losses)


def answer_written(answer: GatewayAnswer) -> str:
    """Every field by its name; a fraction as numerator/denominator."""
    return _json(
        asdict(answer) | {"values": [str(value) for value in answer.values], "half_width": str(answer.half_width)}
    )


def answer_read(question: str, written: str) -> GatewayAnswer:
    """JournalError unless it is an answer to that question, with every field and no other."""
    try:
        read = json.loads(written)
        if read.keys() != {field.name for field in fields(GatewayAnswer)} or read["question"] != question:
            raise ValueError
        return GatewayAnswer(
            question=question,
            kind=StatisticKind(read["kind"]),
            values=tuple(Fraction(value) for value in read["values"]),
            half_width=Fraction(read["half_width"]),
            price=PrivacyPrice(**read["price"]),
            included=read["included"],
            expected=read["expected"],
            homes=read["homes"],
            noise_by=read["noise_by"],
            mechanism=None if read["mechanism"] is None else MechanismKind(read["mechanism"]),
            sampler=read["sampler"],
            confidence_percent=read["confidence_percent"],
        )
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError):
        raise JournalError(f"the gateway's store: the answer to question {question} is not understood") from None


def stated_written(question: GatewayQuestion) -> str:
    """What a question states, but for its homes."""
    return _json(question.model_dump(mode="json", exclude_none=True, exclude={"cohort"}))


def stated_read(written: str, homes: Collection[str]) -> GatewayQuestion:
    """The question again, its homes one by one; JournalError for anything else."""
    try:
        stated = json.loads(written)
        return GatewayQuestion.from_json(json.dumps({**stated, "cohort": sorted(homes)}).encode())
    except (MessageError, TypeError, ValueError):
        raise JournalError("the gateway's store: a question is not understood") from None


def _list(written: str) -> list[object]:
    try:
        read = json.loads(written)
    except ValueError:
        read = None
    if not isinstance(read, list):
        raise JournalError("the gateway's store: a cell holds no list")
    return read
