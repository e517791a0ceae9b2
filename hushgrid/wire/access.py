"""Who may publish and who may read what on the broker: the one table that every broker's access rules are made from.

A role connects through its own door: a listener that believes certificates of that role only. Behind the door the name in the
certificate is the agent's pseudonym, its MQTT user name and its client id; a topic that an agent publishes on ends in that
name, and an inbox that it reads is under that name. Where a filter is made for the broker itself, the name is a placeholder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, Topic

#: What Mosquitto puts the name in the certificate for.
USER = "%u"
_FROM_ANYBODY = "+"


@dataclass(frozen=True, slots=True)
class Access:
    """Channels that a role publishes on, always under its own name, and channels that it reads, its own inbox or published."""

    publishes: frozenset[Channel]
    reads: frozenset[Channel]


def _access(publishes: Iterable[Channel], reads: Iterable[Channel]) -> Access:
    return Access(frozenset(publishes), frozenset(reads))


_FOLLOWS = (Channel.CONTROL, Channel.CARD, Channel.HEAD)
_SAYS = (Channel.CONTROL, Channel.STATUS)
_HERE = {Role.PPN: Channel.PRESENCE}
_MASKS = (Channel.MASKED, Channel.PAIR)

#: By door. A carrier comes through the meters' door: it carries for them and may do what they may.
ACCESS = {
    Role.METER: _access((Channel.SHARE, *_MASKS, *_SAYS), (Channel.RECEIPT, Channel.PRESENCE, *_MASKS, *_FOLLOWS)),
    Role.PPN: _access(
        (Channel.RECEIPT, Channel.AGGREGATE, Channel.CONTROL, Channel.PRESENCE),
        (Channel.SHARE, Channel.RECEIPT, Channel.PRESENCE, *_FOLLOWS),
    ),
    Role.CONSUMER: _access((Channel.RECEIPT, Channel.MASKED, *_SAYS), (Channel.AGGREGATE, Channel.MASKED, *_FOLLOWS)),
    Role.CONFIGURATOR: _access(
        (Channel.CARD, Channel.HEAD, *_SAYS), (Channel.CONTROL, Channel.STATUS, Channel.PRESENCE)
    ),
    Role.CONDUCTOR: _access((Channel.CLOCK,), (Channel.CONTROL,)),
}

#: Doors of a grid in service; a testbed has one more, its conductor's.
DOORS = (Role.METER, Role.PPN, Role.CONSUMER, Role.CONFIGURATOR)
CONDUCTED_DOORS = (*DOORS, Role.CONDUCTOR)


def here_channel(role: Role) -> Channel:
    """Where an agent says that it is here. PPNs have a channel of their own: meters read that one, and no meter another's status."""
    return _HERE.get(role, Channel.STATUS)


def door_of(role: Role) -> Role:
    """The door that a role comes through."""
    return Role.METER if role is Role.CARRIER else role


def publish_filters(door: Role, grid: str, name: str = USER) -> list[str]:
    """The topics that whoever is called `name` behind this door may publish on."""
    return [_filter(grid, channel, _FROM_ANYBODY, name) for channel in _ordered(ACCESS[door].publishes)]


def read_filters(door: Role, grid: str, name: str = USER, *, conducted: bool = False) -> list[str]:
    """The topics that whoever is called `name` behind this door may read. conducted: everybody hears a conductor's clock."""
    reads = ACCESS[door].reads | ({Channel.CLOCK} if conducted and door is not Role.CONDUCTOR else set())
    return [_filter(grid, channel, name, _FROM_ANYBODY) for channel in _ordered(reads)]


def _filter(grid: str, channel: Channel, recipient: str, sender: str) -> str:
    return str(Topic(grid, channel, recipient if channel.addressed else None, sender))


def _ordered(channels: Iterable[Channel]) -> list[Channel]:
    return [channel for channel in Channel if channel in channels]
