"""What options of `hushgrid enrol` may say: each value is checked before anything is written."""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Callable
from typing import TypeVar

import click

from configurator.names import check_agent_id
from hushgrid.wire.role import Role

ENROLLED = (Role.METER, Role.CARRIER, Role.PPN, Role.CONSUMER)
_Given = TypeVar("_Given", str, str | None, tuple[str, ...])
#: Of a user or a group.
_NUMBER = re.compile(r"[0-9]{1,9}")


def checked(check: Callable[[str], str]) -> Callable[[click.Context, click.Parameter, _Given], _Given]:
    """Of an option whose value, or each of whose values, passes a check that raises ValueError."""

    def callback(_context: click.Context, _parameter: click.Parameter, value: _Given) -> _Given:
        try:
            for each in (value,) if isinstance(value, str) else value or ():
                check(each)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        return value

    return callback


def agents_of(
    _context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[tuple[str, Role], ...]:
    """Agents with their roles, said as ID:ROLE; click.BadParameter for what is neither."""
    found = []
    for item in value:
        agent, _, role = item.partition(":")
        if role not in [each.value for each in ENROLLED]:
            raise click.BadParameter(f"{item!r} is not ID:ROLE with a role of {', '.join(ENROLLED)}")
        try:
            found.append((check_agent_id(agent), Role(role)))
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return tuple(found)


def owner_of(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Numbers of a user and a group of this machine, said as USER or USER:GROUP; click.BadParameter for others."""
    if value is None:
        return None
    user, _, group = value.partition(":")
    try:
        if _NUMBER.fullmatch(user):
            return int(user), int(group or user) if _NUMBER.fullmatch(group or user) else grp.getgrnam(group).gr_gid
        known = pwd.getpwnam(user)
        if not group:
            return known.pw_uid, known.pw_gid
        return known.pw_uid, int(group) if _NUMBER.fullmatch(group) else grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        raise click.BadParameter(f"{value!r} is not USER or USER:GROUP of this machine, by names or numbers") from None
