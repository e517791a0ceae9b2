"""Finds what pages and docstrings refer to: paths, dotted names, links, sections. It reads the code and imports none of it."""

from __future__ import annotations

import ast
import functools
import importlib.util
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support import ROOT

PRODUCT = (
    "hushgrid", "meter_agent", "ppn_node", "consumer_node", "configurator", "privacy_gateway", "grid_operator",
    "testbed", "experiments",
)  # fmt: skip
#: Folders of the repository that a path may begin with.
FOLDERS = (*PRODUCT, "benchmarks", "broker", "deploy", "docs", "examples", "tests")

_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+(\(\))?")
_PATH = re.compile(r"(?<![\w./<-])(?:" + "|".join(FOLDERS) + r")/(?!1\b)[\w./*-]*[\w*/]")
_BARE_FILE = re.compile(r"[\w-]+\.py")
_NEW_FILE = re.compile(r"^A new file `([^`]+)`:$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SECTION = re.compile(r"(docs/[\w/-]+\.md),\s+section\s+([A-Z][\w' ]*\w)")
#: Ends of file names: `keys.sqlite` is a file, no name in a module.
_FILE_ENDS = frozenset(
    (
        "sqlite",
        "csv",
        "jsonl",
        "json",
        "toml",
        "md",
        "yml",
        "png",
        "svg",
        "conf",
        "pem",
        "crt",
        "log",
        "txt",
        "service",
        "local",
    )
)


@dataclass
class Names:
    """What one module defines. members: by class; attributes set in methods included."""

    names: set[str] = field(default_factory=set)
    members: dict[str, set[str]] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name; packages included."""
    found = {}
    for package in PRODUCT:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def names_of(module: str) -> Names:
    """The names of a module, by its syntax alone."""
    found = Names()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.imports |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            found.imports |= {(a.asname or a.name).partition(".")[0]: a.name for a in node.names}
        elif isinstance(node, ast.ClassDef):
            found.members[node.name] = _members(node)
        elif isinstance(node, ast.arg):
            found.names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.names.add(node.id)
    found.names |= set(found.members) | set(found.imports)
    return found


def _members(node: ast.ClassDef) -> set[str]:
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(inner.name)
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            found.add(inner.id)
        elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            found.add(inner.attr)
    return found


@functools.cache
def classes() -> dict[str, set[str]]:
    """The members of every public class: class names are unique in the project, so that `Rounds.freeze` says enough."""
    return {
        name: members
        for module in modules()
        for name, members in names_of(module).members.items()
        if not name.startswith("_")
    }


def resolves(dotted: str) -> bool:
    """Whether a dotted name leads to a module, to something in it, or to a member of a class."""
    parts = dotted.removesuffix("()").split(".")
    if parts[0] in classes():
        return len(parts) == 2 and parts[1] in classes()[parts[0]]
    for cut in range(len(parts), 0, -1):
        module = ".".join(parts[:cut])
        if module not in modules():
            continue
        names, rest = names_of(module), parts[cut:]
        if not rest:
            return True
        if rest[0] in names.imports and module.count(".") < dotted.count("."):
            return resolves(".".join([names.imports[rest[0]], *rest[1:]])) or len(rest) == 1
        return rest[0] in names.names and (len(rest) == 1 or rest[1] in names.members.get(rest[0], ()))
    return False


@functools.cache
def settings() -> frozenset[str]:
    """`section.field` of every configuration file, from the models that read them."""
    sections: dict[str, set[str]] = {}
    for module in modules():
        for node in ast.walk(ast.parse(modules()[module].read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Section"):
                fields = {
                    n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
                }
                sections.setdefault(node.name.removesuffix("Section").lower(), set()).update(fields)
                for base in node.bases:  # a role's section extends the section of agents
                    if isinstance(base, ast.Name):
                        sections.setdefault(node.name.removesuffix("Section").lower(), set()).update(
                            sections.get(base.id.removesuffix("Section").lower(), ())
                        )
    return frozenset(f"{section}.{name}" for section, fields in sections.items() for name in fields)


def _near(dotted: str, module: str) -> bool:
    """Whether a docstring's reference resolves from where it stands: its module, its packages, what it imports, libraries."""
    first, _, rest = dotted.partition(".")
    parents = module.split(".")
    if any(resolves(".".join([*parents[:cut], dotted])) for cut in range(len(parents), -1, -1)):
        return True
    target = names_of(module).imports.get(first)
    if target is not None:
        return not target.startswith(PRODUCT) or resolves(f"{target}.{rest}")
    members = names_of(module).members
    if first in members:
        return rest.partition(".")[0] in members[first]
    return first in names_of(module).names or (first not in PRODUCT and importlib.util.find_spec(first) is not None)


def _is_dotted(span: str) -> bool:
    return bool(_DOTTED.fullmatch(span)) and span.rpartition(".")[2] not in _FILE_ENDS | {"py"}


def broken_in_page(text: str, page: Path) -> Iterator[str]:
    """What a page refers to that is not there."""
    new = set(_NEW_FILE.findall(text))  # a how-to page tells to make it
    for path in sorted(set(_PATH.findall(text)) - new):
        if not any(ROOT.glob(path.rstrip("/"))):
            yield path
    for span in sorted(set(_SPAN.findall(text))):
        if _is_dotted(span) and not (resolves(span) or span in settings()):
            yield span
        if _BARE_FILE.fullmatch(span) and len(list((ROOT / "tests").rglob(span))) != 1:
            yield span
    for target in sorted(set(_LINK.findall(text))):
        if not target.startswith(("http://", "https://")):
            name, _, anchor = target.partition("#")
            file = page.parent / name if name else page
            if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
                yield target


def broken_in_code(module: str) -> Iterator[str]:
    """What the docstrings and comments of a module refer to that is not there."""
    for text in _prose(modules()[module]):
        for path in _PATH.findall(text):
            if not any(ROOT.glob(path.rstrip("/"))):
                yield path
        for span in _SPAN.findall(text):
            if _is_dotted(span) and not (_near(span, module) or span in settings()):
                yield span
        for page, section in _SECTION.findall(text):
            if not any(section.startswith(heading) or heading.startswith(section) for heading in headings(page)):
                yield f"{page}, section {section}"


def _prose(path: Path) -> Iterator[str]:
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    yield "\n".join(
        t.string for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT
    )


def headings(page: str) -> list[str]:
    """The headings of a page, by its path from the root."""
    file = ROOT / page
    return re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE) if file.exists() else []


def anchors(text: str) -> set[str]:
    """What a link may point at inside a page."""
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in found}
