"""Mosquitto's configuration and access rules, made from `hushgrid.wire.access`: a door per role, mutual TLS, nobody anonymous.

Why a listener per role: Mosquitto's rules know a user's name but no groups, and the names are pseudonyms that change with the
epoch. So the role is in which authority signed the certificate, each listener believes one authority, and its rules are
patterns over the name. One file serves any number of agents and is never rewritten when one comes or goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from hushgrid.wire.access import CONDUCTED_DOORS, DOORS, publish_filters, read_filters
from hushgrid.wire.role import Role

_STORAGE = PurePosixPath("/var/lib/mosquitto")
#: Where each door is, unless told otherwise.
PORTS = {door: 8883 + number for number, door in enumerate(CONDUCTED_DOORS)}
_NO_WARNINGS = [
    "# Warnings would be one for every pattern without a name in it: topics that everybody behind the door may read."
]


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """What a Mosquitto is to be like.

    directory: where the files are, as the broker sees it. address: what it listens on, empty for every interface. storage: where
    it keeps sessions over a restart, None to keep nothing. user: whom it becomes when started as root, None for its default.
    conducted: with a testbed's conductor.
    """

    grid: str
    directory: PurePosixPath
    ports: dict[Role, int]
    address: str = ""
    storage: PurePosixPath | None = _STORAGE
    user: str | None = None
    conducted: bool = False

    @property
    def doors(self) -> Sequence[Role]:
        """The roles that can come in."""
        return CONDUCTED_DOORS if self.conducted else DOORS

    def contents(self) -> dict[str, str]:
        """All that holds no secret, by file name: the configuration and the rules of every door."""
        rules = {f"{door.value}.acl": self.rules(door) for door in self.doors}
        return {"mosquitto.conf": self.configuration(), **rules}

    def rules(self, door: Role) -> str:
        """The access rules behind one door: what is not listed is refused."""
        lines = [
            f"# Behind the {door.value} door. Made from hushgrid/wire/topics.py by `hushgrid enrol acl`: do not edit."
        ]
        lines += [f"pattern write {name}" for name in publish_filters(door, self.grid)]
        lines += [f"pattern read {name}" for name in read_filters(door, self.grid, conducted=self.conducted)]
        return "\n".join(lines) + "\n"

    def configuration(self) -> str:
        """mosquitto.conf."""
        return "\n".join([*self._general(), *(line for door in self.doors for line in self._door(door))]) + "\n"

    def _general(self) -> list[str]:
        keeping = ["persistence false"]
        if self.storage is not None:
            keeping = [
                "# Sessions and queued messages over a clean restart. It is no durability: agents repeat what has no receipt.",
                "persistence true",
                f"persistence_location {self.storage}/",
            ]
        return [
            "# Mosquitto for hushgrid. Shares and sums are sealed end to end: the broker can read none of them, and these rules",
            "# are the second line. Made by `hushgrid enrol`: do not edit.",
            "per_listener_settings true",
            *([] if self.user is None else [f"user {self.user}"]),
            *keeping,
            "# The default of 1000 silently drops acknowledged messages for agents that are away.",
            "max_queued_messages 0",
            "max_inflight_messages 200",
            "# set_tcp_nodelay stays off: it costs a third of the throughput and gains nothing here.",
            "log_dest stderr",
            "log_type error",
            *(_NO_WARNINGS if self.conducted else ["log_type warning"]),
        ]

    def _door(self, door: Role) -> list[str]:
        at = self.directory
        return [
            "",
            f"listener {self.ports[door]}{' ' if self.address else ''}{self.address}",
            "allow_anonymous false",
            f"acl_file {at}/{door.value}.acl",
            "tls_version tlsv1.3",
            f"certfile {at}/broker.pem",
            f"keyfile {at}/broker.key",
            "require_certificate true",
            f"cafile {at}/{door.value}-ca.pem",
            f"crlfile {at}/{door.value}.crl",
            "# The name in the certificate is user name and client id: nobody can take another's session.",
            "use_identity_as_username true",
            "use_username_as_clientid true",
        ]
