"""Modules that libraries import and a meter never uses: loaded when something of them is asked for, not before.

paho-mqtt imports `urllib.request` for proxies, pydantic `importlib.metadata` for plugins, and both draw in HTTP, e-mail and zip files:
megabytes that a meter has no use for. (The standard library's LazyLoader loads at the second `import` already.)
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

#: What costs most and is used least, with the functions that are imported from it by name.
DEFERRED = {"importlib.metadata": ("entry_points",), "urllib.request": ()}


class _Deferred(ModuleType):
    """Stands where the module will be, until the first look into it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system looks; nobody has asked for anything yet
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = importlib.import_module(self.__name__)
        self.__dict__.update(module.__dict__)
        return getattr(module, name)

    def function(self, name: str) -> Callable[..., Any]:
        """One that loads the module when it is called."""

        def called(*values: Any, **named: Any) -> Any:
            return self.__getattr__(name)(*values, **named)

        return called


def spare_memory() -> None:
    """Defer what is not loaded yet. To be called before anything else is imported; no plugin is let into pydantic."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for name, functions in DEFERRED.items():
        if name in sys.modules:
            continue
        deferred = _Deferred(name)
        for function in functions:
            setattr(deferred, function, deferred.function(function))
        sys.modules[name] = deferred
        parent, _, child = name.rpartition(".")
        setattr(importlib.import_module(parent), child, deferred)
