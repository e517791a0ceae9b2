"""What an operator may call an agent, and where a host may be."""

from __future__ import annotations

import ipaddress
import re

from pydantic import TypeAdapter, ValidationError

from hushgrid.wire.model import Name

_NAME = TypeAdapter(Name)
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_MOST_HOST_CHARACTERS = 253


def check_agent_id(text: str) -> str:
    """The id itself; ValueError unless it is a `hushgrid.wire.model.Name`."""
    try:
        return _NAME.validate_python(text)
    except ValidationError:
        allowed = "A-Z, a-z, 0-9, _, - and . are allowed, 1 to 64 of them, the first a letter or a digit"
        raise ValueError(f"{text!r} is no agent's id: only {allowed}") from None


def check_host(text: str) -> str:
    """The host itself; ValueError unless it is an IP address or a DNS name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        named = len(text) <= _MOST_HOST_CHARACTERS and all(_LABEL.fullmatch(label) for label in labels)
        if not named or labels[-1].isdigit():
            raise ValueError(f"{text!r} is neither a host's name nor an IP address") from None
    return text


def in_url(host: str) -> str:
    """A host as a URL has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
