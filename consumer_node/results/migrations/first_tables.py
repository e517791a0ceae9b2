"""Revision 0001: rules, recovered sums, columns, bills, double entries."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = "number of the rule, the configurator's"
_COHORT = 'JSON of the meters asked for: "all", or a list of ids and ranges; empty: not known'
_EXPECTED = "(meter, round) pairs of the cohort: included + gaps + lost + inconsistent"
_COMPONENT = "which component of the connection graph, from 0"


def _text(name: str, comment: str, *, empty: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=empty, comment=comment)


def _number(name: str, comment: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=False, comment=comment)


def _place() -> list[sa.Column[Any]]:
    place = "0, 1, 2 ... in the order of writing"
    return [
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False, comment=place),
        _text("grid", "name of the grid"),
        _text("consumer", "id of the consumer that worked it out"),
        _number("rule", _NUMBER),
        _text("name", "name of the rule, the consumer's"),
        _number("first_round", "the first round in it, counted from 1970 in UTC"),
        _number("last_round", "the last round in it"),
        _text("start_utc", "when the first round begins: 2013-03-11T00:30:00Z"),
        _text("end_utc", "when the last round ends; empty where an earlier version did not say", empty=True),
    ]


def _outcome(status: str) -> list[sa.Column[Any]]:
    return [
        _text("status", status),
        _text("watt_hours", "exact and signed, Wh; empty unless released", empty=True),
        _text("reason", "why there is no number"),
    ]


def upgrade() -> None:
    """From nothing."""
    op.create_table(
        "granted_rules",
        sa.Column("grid", sa.Text, primary_key=True, comment="name of the grid"),
        sa.Column("consumer", sa.Text, primary_key=True, comment="id of the consumer that asked for it"),
        sa.Column("rule", sa.BigInteger, primary_key=True, autoincrement=False, comment=_NUMBER),
        _text("name", "name of the rule, the consumer's"),
        _text("cohort", _COHORT, empty=True),
        comment="Every rule that has a result",
    )
    op.create_table(
        "recovered_sums",
        *_place(),
        *_outcome("released, withheld or unrecovered"),
        _number("expected", _EXPECTED),
        _number("included", "pairs that are in the sum"),
        _number("gaps", "pairs whose meter had no reading"),
        _number("lost", "pairs of which too few PPNs had shares"),
        _number("inconsistent", "pairs whose PPNs had shares of different sharings"),
        _number("meters", "meters with at least one pair in the sum"),
        _text("points", "JSON list: of the aggregate shares it was recovered from"),
        _text("wrong_points", "JSON list: points whose aggregate shares did not fit"),
        _number("detects", "up to how many wrong points would have been noticed"),
        _number("repaired", "shares of included pairs that PPNs had to ask for"),
        sa.UniqueConstraint("grid", "consumer", "rule", "first_round", name="recovered_sums_once"),
        comment="Sums recovered from aggregate shares, and windows without one: one row a rule and window",
    )
    _of_masked_readings()


def _of_masked_readings() -> None:
    op.create_table(
        "column_sums",
        *_place(),
        *_outcome("released or unrecovered"),
        _number("component", _COMPONENT),
        _number("expected", "meters of the component"),
        _number("included", "meters in the sum"),
        _text("gaps", "JSON list of the meters that had no reading"),
        _text("omitted", "JSON list of the meters that the round was closed without"),
        sa.UniqueConstraint("grid", "consumer", "rule", "first_round", "component", name="column_sums_once"),
        comment="Columns of masked readings: one row a component and round",
    )
    op.create_table(
        "bills",
        *_place(),
        *_outcome("released or unrecovered"),
        _text("meter", "id of the meter"),
        _number("rounds", "rounds of the period that are in it"),
        _text("omitted", "JSON list of the rounds that are in no sum"),
        sa.UniqueConstraint("grid", "consumer", "rule", "first_round", "meter", name="bills_once"),
        comment="Bills of masked readings: one row a meter and period",
    )
    op.create_table(
        "double_entries",
        *_place(),
        _number("component", _COMPONENT),
        _text("bills_watt_hours", "sum of its bills, Wh"),
        _text("columns_watt_hours", "sum of its columns, Wh"),
        sa.UniqueConstraint("grid", "consumer", "rule", "first_round", "component", name="double_entries_once"),
        comment="Bills against columns: one row a component and period in which nothing was left out",
    )
