"""What to do where a package is not installed: hushgrid is on no index, so its own checkout says how."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

from hushgrid.errors import ConfigurationError


def how_to_install(extra: str) -> str:
    """The command, run in the checkout, after which everything of this extra is there."""
    return f"in hushgrid's checkout: .venv/bin/pip install -e '.[{extra}]'"


def not_installed(what: str, error: ModuleNotFoundError, extra: str) -> ConfigurationError:
    """The refusal for `what` could not be done: which package it needs, and how it is got."""
    return ConfigurationError(f"{what} needs {error.name}, which is not installed; {how_to_install(extra)}")


@contextlib.contextmanager
def needed(program: str, extra: str) -> Iterator[None]:
    """Around what a program imports: a package that is not installed ends it with one line and exit status 2."""
    try:
        yield
    except ModuleNotFoundError as error:
        sys.exit(_refused(f"{program}: {not_installed('it', error, extra)}\n"))


def _refused(line: str) -> int:
    sys.stderr.write(line)
    return 2


def lazily(name: str) -> ModuleType:
    """A module that is found now and run when something of it is first asked for. ModuleNotFoundError when it is not installed."""
    if (loaded := sys.modules.get(name)) is not None:
        return loaded
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
