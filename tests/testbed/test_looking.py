"""The testbed looks into the roles' stores through their own code, and changes nothing there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from support import ROOT

#: Classes that open a store of a role.
STORES = {
    "Authority",
    "BillingStore",
    "CollectedShares",
    "GraphBook",
    "Journal",
    "Keyring",
    "MaskingJournal",
    "Outbox",
    "Registry",
    "ResultStore",
    "Wishes",
}
#: Who may open which store to write, and why.
WRITERS = {
    ("testbed/deployment.py", "Registry"): "issues everybody's tokens before any role is started",
    ("testbed/deployment.py", "Keyring"): "makes the configurator's identity before any role is started",
    ("testbed/run/requests.py", "Wishes"): "asks and withdraws as a consumer's own command does",
    ("testbed/brokers/doors.py", "Authority"): "is the installation that lets the doors' owners in",
    ("testbed/brokers/entrance.py", "Authority"): "is the installation that admits everybody",
    ("testbed/brokers/secure.py", "Authority"): "is the installation that sets up the broker",
}
#: The beginning of a statement that a database is sent.
STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|CREATE|ALTER|DROP|PRAGMA)\b")

SOURCES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted((ROOT / "testbed").rglob("*.py"))
}


def imports_of_sqlite(source: str) -> list[int]:
    """The lines that import it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [node.lineno for name in names if name.partition(".")[0] in {"sqlite3", "_sqlite3"}]
    return found


def statements(source: str) -> list[int]:
    """The lines of texts, formatted ones as well, that begin as a statement to a database."""
    texts = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [text.lineno for text in texts if STATEMENT.match(text.value)]


def opened_to_write(source: str) -> Iterator[str]:
    """The stores that are called otherwise than by `.read_only(`, under whatever name they are imported."""
    tree = ast.parse(source)
    own = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and own.get(called.id, called.id) in STORES:
            yield own.get(called.id, called.id)
        if isinstance(called, ast.Attribute) and called.attr in STORES:
            yield called.attr


def test_there_is_something_to_look_at():
    assert "testbed/verdict/sums.py" in SOURCES
    assert {path for path, _ in WRITERS} <= set(SOURCES)


@pytest.mark.parametrize("path", SOURCES)
def test_the_testbed_speaks_to_no_database_itself(path):
    assert not imports_of_sqlite(SOURCES[path])
    assert not statements(SOURCES[path])


def test_stores_are_opened_read_only_but_for_those_that_are_listed_with_a_reason():
    found = {(path, store) for path, source in SOURCES.items() for store in opened_to_write(source)}
    assert found == set(WRITERS)


@pytest.mark.parametrize(
    ("source", "stores"),
    [
        ("Registry.read_only(path)", []),
        ("def f(journal: MaskingJournal) -> Journal: ...", []),
        ("Registry(path)", ["Registry"]),
        ("with closing(registry.Registry(path)) as r: ...", ["Registry"]),
        ("from ppn_node.shares.journal import Journal as Held\nHeld(path)", ["Journal"]),
    ],
)
def test_what_opens_a_store_to_write_is_seen(source, stores):
    assert list(opened_to_write(source)) == stores


@pytest.mark.parametrize(
    "source", ["import sqlite3", "from sqlite3 import connect", "def f():\n    import sqlite3.dbapi2"]
)
def test_an_import_is_seen(source):
    assert imports_of_sqlite(source)


@pytest.mark.parametrize("source", ["q('SELECT 1')", "q(f'DELETE FROM {t}')", "q('''\n  UPDATE t SET a = 1''')"])
def test_a_statement_is_seen(source):
    assert statements(source)
