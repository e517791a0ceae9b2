"""The tables of a consumer's results. Every column says what it holds; PostgreSQL keeps that beside it.

Watt-hours are text, since they may outgrow 64 bits; nothing is added up by the database. Rows are only ever added.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, UniqueConstraint

from hushgrid.relational.cells import JsonList, WholeNumber
from hushgrid.relational.table_set import TableSet

RESULT_TABLES = TableSet(
    name="the consumer's results", migrations=Path(__file__).parent / "migrations", newest="0001",
    version_table="results_version", lock=b"hushsums", extra="consumer,postgresql",
)  # fmt: skip
METADATA = MetaData()


class ResultKind(enum.StrEnum):
    """What a consumer ever works out; the value is the stem of the files that it is written to."""

    SUM = "results"  # of a rule over a window, from aggregate shares
    COLUMN = "columns"  # over a component in one round, from masked readings
    BILL = "bills"  # of one meter over a period
    DOUBLE_ENTRY = "double_entry"  # bills against columns of a component


def _place() -> list[Column[object]]:
    """What every result has: which one it is, of whom, of what, over which time."""
    return [
        Column("place", BigInteger, primary_key=True, autoincrement=False, comment="0, 1, 2 ... in the order of writing"),
        Column("grid", Text, nullable=False, comment="name of the grid"),
        Column("consumer", Text, nullable=False, comment="id of the consumer that worked it out"),
        Column("rule", BigInteger, nullable=False, comment="number of the rule, the configurator's"),
        Column("name", Text, nullable=False, comment="name of the rule, the consumer's"),
        Column("first_round", BigInteger, nullable=False, comment="the first round in it, counted from 1970 in UTC"),
        Column("last_round", BigInteger, nullable=False, comment="the last round in it"),
        Column("start_utc", Text, nullable=False, comment="when the first round begins: 2013-03-11T00:30:00Z"),
        Column("end_utc", Text, comment="when the last round ends; empty where an earlier version did not say"),
    ]  # fmt: skip


def _outcome(status: str) -> list[Column[object]]:
    return [
        Column("status", Text, nullable=False, comment=status),
        Column("watt_hours", WholeNumber, comment="exact and signed, Wh; empty unless released"),
        Column("reason", Text, nullable=False, comment="why there is no number"),
    ]


GRANTED_RULES = Table(
    "granted_rules", METADATA,
    Column("grid", Text, primary_key=True, comment="name of the grid"),
    Column("consumer", Text, primary_key=True, comment="id of the consumer that asked for it"),
    Column("rule", BigInteger, primary_key=True, autoincrement=False, comment="number of the rule, the configurator's"),
    Column("name", Text, nullable=False, comment="name of the rule, the consumer's"),
    Column("cohort", Text, comment='JSON of the meters asked for: "all", or a list of ids and ranges; empty: not known'),
    comment="Every rule that has a result",
)  # fmt: skip

RECOVERED_SUMS = Table(
    "recovered_sums", METADATA, *_place(), *_outcome("released, withheld or unrecovered"),
    Column("expected", BigInteger, nullable=False, comment="(meter, round) pairs of the cohort: included + gaps + lost + inconsistent"),
    Column("included", BigInteger, nullable=False, comment="pairs that are in the sum"),
    Column("gaps", BigInteger, nullable=False, comment="pairs whose meter had no reading"),
    Column("lost", BigInteger, nullable=False, comment="pairs of which too few PPNs had shares"),
    Column("inconsistent", BigInteger, nullable=False, comment="pairs whose PPNs had shares of different sharings"),
    Column("meters", BigInteger, nullable=False, comment="meters with at least one pair in the sum"),
    Column("points", JsonList, nullable=False, comment="JSON list: of the aggregate shares it was recovered from"),
    Column("wrong_points", JsonList, nullable=False, comment="JSON list: points whose aggregate shares did not fit"),
    Column("detects", BigInteger, nullable=False, comment="up to how many wrong points would have been noticed"),
    Column("repaired", BigInteger, nullable=False, comment="shares of included pairs that PPNs had to ask for"),
    UniqueConstraint("grid", "consumer", "rule", "first_round", name="recovered_sums_once"),
    comment="Sums recovered from aggregate shares, and windows without one: one row a rule and window",
)  # fmt: skip

COLUMN_SUMS = Table(
    "column_sums", METADATA, *_place(), *_outcome("released or unrecovered"),
    Column("component", BigInteger, nullable=False, comment="which component of the connection graph, from 0"),
    Column("expected", BigInteger, nullable=False, comment="meters of the component"),
    Column("included", BigInteger, nullable=False, comment="meters in the sum"),
    Column("gaps", JsonList, nullable=False, comment="JSON list of the meters that had no reading"),
    Column("omitted", JsonList, nullable=False, comment="JSON list of the meters that the round was closed without"),
    UniqueConstraint("grid", "consumer", "rule", "first_round", "component", name="column_sums_once"),
    comment="Columns of masked readings: one row a component and round",
)  # fmt: skip

BILLS = Table(
    "bills", METADATA, *_place(), *_outcome("released or unrecovered"),
    Column("meter", Text, nullable=False, comment="id of the meter"),
    Column("rounds", BigInteger, nullable=False, comment="rounds of the period that are in it"),
    Column("omitted", JsonList, nullable=False, comment="JSON list of the rounds that are in no sum"),
    UniqueConstraint("grid", "consumer", "rule", "first_round", "meter", name="bills_once"),
    comment="Bills of masked readings: one row a meter and period",
)  # fmt: skip

DOUBLE_ENTRIES = Table(
    "double_entries", METADATA, *_place(),
    Column("component", BigInteger, nullable=False, comment="which component of the connection graph, from 0"),
    Column("bills_watt_hours", WholeNumber, nullable=False, comment="sum of its bills, Wh"),
    Column("columns_watt_hours", WholeNumber, nullable=False, comment="sum of its columns, Wh"),
    UniqueConstraint("grid", "consumer", "rule", "first_round", "component", name="double_entries_once"),
    comment="Bills against columns: one row a component and period in which nothing was left out",
)  # fmt: skip

TABLES: Mapping[ResultKind, Table] = {
    ResultKind.SUM: RECOVERED_SUMS,
    ResultKind.COLUMN: COLUMN_SUMS,
    ResultKind.BILL: BILLS,
    ResultKind.DOUBLE_ENTRY: DOUBLE_ENTRIES,
}
#: What tells results of one rule and first round apart, by the name of its column.
PARTS: Mapping[ResultKind, str | None] = {
    ResultKind.SUM: None,
    ResultKind.COLUMN: "component",
    ResultKind.BILL: "meter",
    ResultKind.DOUBLE_ENTRY: "component",
}
