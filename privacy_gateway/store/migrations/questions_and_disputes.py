"""Revision 0002: questions that were answered, and what customers dispute."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """From 0001."""
    op.create_table(
        "questions",
        sa.Column("question", sa.Text, primary_key=True, comment="digest of the question"),
        sa.Column("cohort", sa.String(64), sa.ForeignKey("cohorts.cohort"), nullable=False, comment="the homes it is about"),
        sa.Column("stated", sa.Text, nullable=False, comment="JSON of the question, but for its homes"),
        comment="Questions that have an answer, so that it can be asked for by its digest",
    )  # fmt: skip
    op.create_table(
        "disputes",
        sa.Column("dispute", sa.String(32), primary_key=True, comment="its name, drawn, hexadecimal"),
        sa.Column("at_seconds", sa.BigInteger, nullable=False, comment="when it was said, seconds since 1970, UTC"),
        sa.Column("sealed", sa.LargeBinary, nullable=False, comment="whose it is and what it says, sealed under a key outside"),
        comment="What customers dispute, each readable with the column key only",
    )  # fmt: skip
