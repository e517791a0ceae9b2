"""Which agents are here: what their status and their last will say. No I/O.

Statuses are not signed: whoever rules the broker can say that a PPN is gone. Rules then leave it, under the same constraints as
ever, and whoever has something for it waits with it; it stays in the plan, and the quorum of a decision does not shrink.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

#: The payloads of a status message: of an agent that is here, and of its last will. No bytes take back what was said.
ONLINE, OFFLINE = b"online", b"offline"


class Presence:
    """The last word of every pseudonym, and since when an agent is gone."""

    def __init__(self) -> None:
        self._online: dict[str, bool] = {}
        self._gone_since: dict[str, float] = {}

    def hear(self, pseudonym: str, payload: bytes, now_seconds: float) -> None:
        """Take in a status; an empty one takes back what was said under a pseudonym that is given up."""
        if not payload:
            self._online.pop(pseudonym, None)
            return
        here = payload == ONLINE
        if here or self._online.get(pseudonym) is not False:
            self._gone_since[pseudonym] = now_seconds
        self._online[pseudonym] = here

    def heard_from(self, pseudonym: str, now_seconds: float) -> bool:
        """It has said something else, signed: it is here, whatever its status says. True when that is news."""
        if self._online.get(pseudonym) is not False:
            return False
        self.hear(pseudonym, ONLINE, now_seconds)
        return True

    def away(
        self, agents: Mapping[str, Collection[str]], now_seconds: float, patience_seconds: float
    ) -> frozenset[str]:
        """The agents that are gone for longer than the patience. agents: id -> its pseudonyms of the epochs in use.

        An agent of which nothing was heard is not away: it may never have spoken yet.
        """
        found = set()
        for agent, pseudonyms in agents.items():
            heard = [pseudonym for pseudonym in pseudonyms if pseudonym in self._online]
            if not heard or any(self._online[pseudonym] for pseudonym in heard):
                continue
            if now_seconds - max(self._gone_since[pseudonym] for pseudonym in heard) >= patience_seconds:
                found.add(agent)
        return frozenset(found)
