"""Modules that libraries import and a meter never uses: loaded when something of them is asked for, not before.

paho-mqtt imports `urllib.request` for proxies, pydantic `importlib.metadata` for plugins, asyncio `subprocess` for other programs: each
draws in more, megabytes that a meter has no use for. (The standard library's LazyLoader loads at the second `import` already.) Where a
library imports a name and not a module, something stands for that name: a function that loads the module when it is called, a constant,
or, for pydantic only, a type that no model has. What is left, and why: docs/decisions/0016-a-meters-memory.md.
"""

from __future__ import annotations

import codecs
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

#: What costs most and is used least, with the functions that are imported from it by name.
DEFERRED: Mapping[str, tuple[str, ...]] = {
    "importlib.metadata": ("entry_points",),
    "urllib.request": (),
    "subprocess": (),
    "zoneinfo": (),
    "encodings.idna": (),
    "pydantic.json_schema": ("GenerateJsonSchema", "model_json_schema"),
}
#: Values that libraries read while they are loaded.
_VALUES: Mapping[str, Mapping[str, object]] = {
    "subprocess": {"PIPE": -1, "STDOUT": -2, "DEVNULL": -3},
    "pydantic.json_schema": {
        "DEFAULT_REF_TEMPLATE": "#/$defs/{model}",
        "JsonSchemaMode": str,
        "JsonSchemaValue": dict[str, Any],
        "PydanticJsonSchemaWarning": UserWarning,
    },
}
#: Types that pydantic could check and no model of a meter has: it gets another, and everybody else the real ones.
_NO_MODEL_HAS: Mapping[str, Mapping[str, type]] = {
    "zoneinfo": {
        "ZoneInfo": type("ZoneInfo", (), {}),
        "ZoneInfoNotFoundError": type("ZoneInfoNotFoundError", (KeyError,), {}),
    },
}
_LONGEST_LABEL = 63


class _Deferred(ModuleType):
    """Stands where the module will be, until the first look into it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system looks; nobody has asked for anything yet
            raise AttributeError(name)
        return getattr(self.load(), name)

    def load(self) -> ModuleType:
        """The module itself; from now on this one has all that it has."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = importlib.import_module(self.__name__)
        self.__dict__.update(module.__dict__)
        return module

    def function(self, name: str) -> Callable[..., Any]:
        """One that loads the module when it is called."""

        def called(*values: Any, **named: Any) -> Any:
            return getattr(self.load(), name)(*values, **named)

        return called


def spare_memory() -> None:
    """Defer what is not loaded yet. To be called before anything else is imported; no plugin is let into pydantic."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    deferred = {name: _stand_in(name) for name in DEFERRED if name not in sys.modules}
    sys.modules.update(deferred)
    if "encodings.idna" in deferred:
        _plain_host_names(deferred["encodings.idna"])
    _load_pydantic(deferred)
    for name in deferred:
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(importlib.import_module(parent), child, sys.modules[name])


def _stand_in(name: str) -> _Deferred:
    deferred = _Deferred(name)
    for function in DEFERRED[name]:
        setattr(deferred, function, deferred.function(function))
    for value, content in _VALUES.get(name, {}).items():
        setattr(deferred, value, content)
    return deferred


def _load_pydantic(deferred: Mapping[str, _Deferred]) -> None:
    """With other types in the place of those that no model has, for as long as it is loaded."""
    others = [(deferred[name], types) for name, types in _NO_MODEL_HAS.items() if name in deferred]
    for module, types in others:
        module.__dict__.update(types)
    try:
        for name in ("BaseModel", "Field", "model_validator"):
            getattr(importlib.import_module("pydantic"), name)
    finally:
        for module, types in others:
            for name, other in types.items():
                if module.__dict__.get(name) is other:
                    delattr(module, name)


def _plain_host_names(idna: _Deferred) -> None:
    """A host name in ASCII is encoded as it is, as the codec itself does; any other, and any refusal, by the codec."""

    def encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
        labels = text.split(".")
        if text.isascii() and all(labels) and max(map(len, labels)) <= _LONGEST_LABEL:
            return text.encode("ascii"), len(text)
        encoded: tuple[bytes, int] = idna.load().getregentry().encode(text, errors)
        return encoded

    def decode(encoded: Any, errors: str = "strict") -> tuple[str, int]:
        text: tuple[str, int] = idna.load().getregentry().decode(encoded, errors)
        return text

    def entry() -> codecs.CodecInfo:
        return codecs.CodecInfo(encode, decode, name="idna")

    idna.__dict__.update(getregentry=entry, getaliases=tuple)
