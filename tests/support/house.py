"""How the house is built: which module imports which, and what runs in a circle. It reads the code and imports none of it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import networkx as nx

from support import ROOT
from support.references import FOLDERS, modules

#: What a package's own file is called in a graph of imports: the package's name alone would be the whole folder.
OWN = "__init__"


def files() -> dict[str, Path]:
    """Every Python file of the repository, by its path from there."""
    found = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    return {str(path.relative_to(ROOT)): path for path in found}


def classes() -> Iterator[tuple[str, str]]:
    """Every public class of the product beside its module, as often as it is defined."""
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, module


def imports() -> dict[str, set[str]]:
    """What each module of the product imports of the product. Imports in functions and for type checkers count."""
    packages = {name for name, path in modules().items() if path.stem == OWN}
    return {
        _own(name, packages): {_own(target, packages) for target in imported(path.read_text(), modules())}
        for name, path in modules().items()
    }


def imported(source: str, known: Collection[str]) -> set[str]:
    """The known modules that a source imports, wherever in it. `from a import b` means a.b where that is a module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: an import without its package")
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else str(node.module))
    return found & set(known)


def circles(graph: Mapping[str, Collection[str]]) -> set[frozenset[str]]:
    """What runs in a circle, folder by folder.

    In each folder, the modules and the folders in it are looked at side by side; such a folder stands for all that is in it. A
    circle among modules is one in the folder that holds them all.
    """
    beside: dict[tuple[str, ...], nx.DiGraph] = defaultdict(nx.DiGraph)
    for module, targets in graph.items():
        for target in set(targets) - {module}:
            ours, theirs = module.split("."), target.split(".")
            same = next(at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1])
            beside[tuple(ours[:same])].add_edge(".".join(ours[: same + 1]), ".".join(theirs[: same + 1]))
    return {frozenset(c) for g in beside.values() for c in nx.strongly_connected_components(g) if len(c) > 1}


def _own(module: str, packages: Collection[str]) -> str:
    return f"{module}.{OWN}" if module in packages else module
