"""The house stays a house: a name means one thing, nothing runs in a circle, and no room or shelf grows without end.

An entry of a list below that is not needed any more fails its test: the lists only ever get shorter.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter, defaultdict
from pathlib import PurePath

from support import ROOT
from support.house import circles, classes, files, imported, imports
from vulture import Vulture

MOST_LINES = 400
MOST_MODULES = 13

#: Files that may be longer, and why.
LONG_FILES = {
    "tests/configurator/audit/test_approval.py": "one rule of approval, against brute force and by its refusals",
    "tests/hushgrid/shell/test_transport.py": "one table of tests over one interface, and the broker they share",
    "tests/ppn_node/test_rounds.py": "the life of a round, by hand, from open to released",
}


def test_the_name_of_a_public_class_means_one_thing():
    where = defaultdict(list)
    for name, module in classes():
        where[name].append(module)
    assert {name: found for name, found in where.items() if len(found) > 1} == {}


def test_neither_modules_nor_folders_import_each_other_in_a_circle():
    """Every import counts: those in functions, those for type checkers. Two things do not: a name in a string, and that Python
    runs a package's own file before its modules.
    """
    assert circles(imports()) == set()


def test_a_circle_is_found_between_modules_between_folders_and_between_a_folder_and_what_lies_beside_it():
    assert circles({"a.b.c": {"a.b.d"}, "a.b.d": {"a.b.c"}}) == {frozenset({"a.b.c", "a.b.d"})}
    assert circles({"a.b.c": {"a.d.e"}, "a.d.f": {"a.b.g"}}) == {frozenset({"a.b", "a.d"})}
    assert circles({"a.b.c": {"a.e"}, "a.e": {"a.b.d"}}) == {frozenset({"a.b", "a.e"})}
    assert circles({"a.b.c": {"a.e"}, "a.f": {"a.b.d"}, "a.b.__init__": {"a.b.c"}}) == set()


def test_an_import_is_found_wherever_it_stands():
    source = "import a.b\ndef late():\n    from a import c\nif TYPE_CHECKING:\n    from a.d import Name\n"
    assert imported(source, {"a", "a.b", "a.c", "a.d", "a.e"}) == {"a.b", "a.c", "a.d"}


def test_no_folder_holds_more_modules_than_a_person_can_overlook():
    held = Counter(str(PurePath(path).parent) for path in files() if PurePath(path).name != "__init__.py")
    assert {folder: count for folder, count in held.items() if count > MOST_MODULES} == {}


def test_no_file_is_longer_than_it_may_be():
    lines = {path: len(file.read_text().splitlines()) for path, file in files().items()}
    assert {path for path, count in lines.items() if count > MOST_LINES} == set(LONG_FILES)


def test_every_module_says_what_it_is_for():
    assert [path for path, file in files().items() if not ast.get_docstring(ast.parse(file.read_text()))] == []


def test_whoever_is_allowed_to_be_used_by_nobody_is_there_and_used_by_nobody():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["vulture"]
    seen = Vulture(ignore_decorators=settings["ignore_decorators"])
    seen.scavenge([str(ROOT / path) for path in settings["paths"]], [f"*/{path}/*" for path in settings["exclude"]])
    assert {item.name for item in seen.get_unused_code(min_confidence=60)} == set(settings["ignore_names"])
