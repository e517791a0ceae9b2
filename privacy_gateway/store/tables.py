"""The tables of a privacy gateway. Every column says what it holds; PostgreSQL keeps that beside it.

What may outgrow 64 bits is text: sums of squares, of rho in 10^-12, of watt-hours. Nothing is added up by the database.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, ForeignKey, LargeBinary, MetaData, String, Table, Text, UniqueConstraint

from hushgrid.relational.cells import WholeNumber
from hushgrid.relational.table_set import TableSet

GATEWAY_TABLES = TableSet(
    name="the gateway's store", migrations=Path(__file__).parent / "migrations", newest="0002",
    version_table="alembic_version", lock=b"hushgate", extra="gateway",
)  # fmt: skip
_ROUND = "rounds first_round <= r < until_round"

METADATA = MetaData()

COHORTS = Table(
    "cohorts", METADATA,
    Column("cohort", String(64), primary_key=True, comment="SHA-256 of homes, hexadecimal"),
    Column("homes", Text, nullable=False, comment="JSON list of ids of homes, sorted, each once"),
    comment="Every set of homes that a charge, a number told or a sum is about, once",
)  # fmt: skip

CHARGES = Table(
    "charges", METADATA,
    Column("place", BigInteger, primary_key=True, autoincrement=False, comment="0, 1, 2 ... in the order of charging"),
    Column("question", Text, nullable=False, comment="digest of the question"),
    Column("attempt", BigInteger, nullable=False, comment="0, or one more after a charge that brought no answer"),
    Column("cohort", ForeignKey("cohorts.cohort"), nullable=False, comment="the homes that paid, each the whole price"),
    Column("periods", Text, nullable=False, comment="JSON list of periods, in each of which it was paid"),
    Column("epsilon_micro", WholeNumber, nullable=False, comment="price of Laplace noise, millionths of epsilon"),
    Column("rho_pico", WholeNumber, nullable=False, comment="price of Gaussian noise, 10^-12 of rho"),
    UniqueConstraint("question", "attempt", name="charges_question_attempt"),
    comment="Every charge; none is ever given back",
)  # fmt: skip

BALANCES = Table(
    "balances", METADATA,
    Column("home", Text, primary_key=True, comment="id of a home"),
    Column("period", BigInteger, primary_key=True, autoincrement=False, comment="counted from round 0"),
    Column("epsilon_micro", WholeNumber, nullable=False, comment="sum of epsilon_micro of its charges"),
    Column("epsilon_squares", WholeNumber, nullable=False, comment="sum of their squares, in 10^-12"),
    Column("rho_pico", WholeNumber, nullable=False, comment="sum of rho_pico of its charges"),
    comment="What every home has paid in every period; who paid nothing is not in it",
)  # fmt: skip

ANSWERS = Table(
    "answers", METADATA,
    Column("question", Text, primary_key=True, comment="digest of the question"),
    Column("answer", Text, nullable=False, comment="JSON of the answer as it was given, noise included"),
    comment="Answers that were given: the same question, the same answer, free",
)  # fmt: skip

DISCLOSED = Table(
    "disclosed", METADATA,
    Column("place", BigInteger, primary_key=True, autoincrement=False, comment="0, 1, 2 ... in the order of charging"),
    Column("charge", ForeignKey("charges.place"), nullable=False, comment="place of the charge it was paid with"),
    Column("cohort", ForeignKey("cohorts.cohort"), nullable=False, comment="the homes it is about"),
    Column("first_round", BigInteger, nullable=False, comment=_ROUND),
    Column("until_round", BigInteger, nullable=False, comment=_ROUND),
    Column("losses", Text, nullable=False, comment="JSON list: rule, first_round, until_round, homes, pairs missing, homes absent"),
    comment="Every number that was charged for, answered or not: what differencing is judged against",
)  # fmt: skip

SUMS = Table(
    "sums", METADATA,
    Column("rule", BigInteger, primary_key=True, autoincrement=False, comment="number of the rule that granted it"),
    Column("first_round", BigInteger, primary_key=True, autoincrement=False, comment=_ROUND),
    Column("until_round", BigInteger, primary_key=True, autoincrement=False, comment=_ROUND),
    Column("cohort", ForeignKey("cohorts.cohort"), nullable=False, comment="the homes the rule covers"),
    Column("watt_hours", WholeNumber, nullable=False, comment="the exact sum, Wh; it never leaves without noise"),
    Column("included", BigInteger, nullable=False, comment="(home, round) pairs in it"),
    Column("contributors", BigInteger, nullable=False, comment="homes with at least one pair in it"),
    comment="Sums as their consumer recovered them, one row a rule and window",
)  # fmt: skip

QUESTIONS = Table(
    "questions", METADATA,
    Column("question", Text, primary_key=True, comment="digest of the question"),
    Column("cohort", ForeignKey("cohorts.cohort"), nullable=False, comment="the homes it is about"),
    Column("stated", Text, nullable=False, comment="JSON of the question, but for its homes"),
    comment="Questions that have an answer, so that it can be asked for by its digest",
)  # fmt: skip

DISPUTES = Table(
    "disputes", METADATA,
    Column("dispute", String(32), primary_key=True, comment="its name, drawn, hexadecimal"),
    Column("at_seconds", BigInteger, nullable=False, comment="when it was said, seconds since 1970, UTC"),
    Column("sealed", LargeBinary, nullable=False, comment="whose it is and what it says, sealed under a key outside"),
    comment="What customers dispute, each readable with the column key only",
)  # fmt: skip
