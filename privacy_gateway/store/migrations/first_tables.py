"""Revision 0001: charges, balances, answers, what was disclosed, recovered sums."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ROUND = "rounds first_round <= r < until_round"
_CHARGE = "place of the charge it was paid with"
_PAYING = "the homes that paid, each the whole price"
_LOSSES = "JSON list: rule, first_round, until_round, homes, pairs missing, homes absent"


def upgrade() -> None:
    """From nothing."""
    op.create_table(
        "cohorts",
        sa.Column("cohort", sa.String(64), primary_key=True, comment="SHA-256 of homes, hexadecimal"),
        sa.Column("homes", sa.Text, nullable=False, comment="JSON list of ids of homes, sorted, each once"),
        comment="Every set of homes that a charge, a number told or a sum is about, once",
    )
    _of_the_ledger()
    _of_answers()
    op.create_table(
        "sums",
        sa.Column("rule", sa.BigInteger, primary_key=True, autoincrement=False, comment="number of the rule that granted it"),
        sa.Column("first_round", sa.BigInteger, primary_key=True, autoincrement=False, comment=_ROUND),
        sa.Column("until_round", sa.BigInteger, primary_key=True, autoincrement=False, comment=_ROUND),
        sa.Column("cohort", sa.String(64), sa.ForeignKey("cohorts.cohort"), nullable=False, comment="the homes the rule covers"),
        sa.Column("watt_hours", sa.Text, nullable=False, comment="the exact sum, Wh; it never leaves without noise"),
        sa.Column("included", sa.BigInteger, nullable=False, comment="(home, round) pairs in it"),
        sa.Column("contributors", sa.BigInteger, nullable=False, comment="homes with at least one pair in it"),
        comment="Sums as their consumer recovered them, one row a rule and window",
    )  # fmt: skip


def _of_the_ledger() -> None:
    op.create_table(
        "charges",
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False, comment="0, 1, 2 ... in the order of charging"),
        sa.Column("question", sa.Text, nullable=False, comment="digest of the question"),
        sa.Column("attempt", sa.BigInteger, nullable=False, comment="0, or one more after a charge that brought no answer"),
        sa.Column("cohort", sa.String(64), sa.ForeignKey("cohorts.cohort"), nullable=False, comment=_PAYING),
        sa.Column("periods", sa.Text, nullable=False, comment="JSON list of periods, in each of which it was paid"),
        sa.Column("epsilon_micro", sa.Text, nullable=False, comment="price of Laplace noise, millionths of epsilon"),
        sa.Column("rho_pico", sa.Text, nullable=False, comment="price of Gaussian noise, 10^-12 of rho"),
        sa.UniqueConstraint("question", "attempt", name="charges_question_attempt"),
        comment="Every charge; none is ever given back",
    )  # fmt: skip
    op.create_table(
        "balances",
        sa.Column("home", sa.Text, primary_key=True, comment="id of a home"),
        sa.Column("period", sa.BigInteger, primary_key=True, autoincrement=False, comment="counted from round 0"),
        sa.Column("epsilon_micro", sa.Text, nullable=False, comment="sum of epsilon_micro of its charges"),
        sa.Column("epsilon_squares", sa.Text, nullable=False, comment="sum of their squares, in 10^-12"),
        sa.Column("rho_pico", sa.Text, nullable=False, comment="sum of rho_pico of its charges"),
        comment="What every home has paid in every period; who paid nothing is not in it",
    )


def _of_answers() -> None:
    op.create_table(
        "answers",
        sa.Column("question", sa.Text, primary_key=True, comment="digest of the question"),
        sa.Column("answer", sa.Text, nullable=False, comment="JSON of the answer as it was given, noise included"),
        comment="Answers that were given: the same question, the same answer, free",
    )
    op.create_table(
        "disclosed",
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False, comment="0, 1, 2 ... in the order of charging"),
        sa.Column("charge", sa.BigInteger, sa.ForeignKey("charges.place"), nullable=False, comment=_CHARGE),
        sa.Column("cohort", sa.String(64), sa.ForeignKey("cohorts.cohort"), nullable=False, comment="the homes it is about"),
        sa.Column("first_round", sa.BigInteger, nullable=False, comment=_ROUND),
        sa.Column("until_round", sa.BigInteger, nullable=False, comment=_ROUND),
        sa.Column("losses", sa.Text, nullable=False, comment=_LOSSES),
        comment="Every number that was charged for, answered or not: what differencing is judged against",
    )  # fmt: skip
