"""Tables that people and other programs read: SQLite by default, PostgreSQL by URL, changed by numbered migrations.

An agent's own state is in `hushgrid.shell.database`, which needs nothing but Python. This folder needs SQLAlchemy and alembic
(extras `consumer`, `gateway`); no meter and no PPN imports it.
"""
