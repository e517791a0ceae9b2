"""Which PPNs nothing is sent to for now: their last will was read. No I/O.

A last will is not signed, may be late, and may be a lie; all that hangs on it is when a share leaves. It waits in the outbox
meanwhile, and the waiting ends with the PPN's "online" or with any word that the PPN has signed, such as a request for the share.
"""

from __future__ import annotations

from hushgrid.plan.head import Head
from hushgrid.wire.presence import Presence


class Recipients:
    """The PPNs of all plans an agent knows, and who of them is gone. An id is one PPN's for ever."""

    def __init__(self) -> None:
        self._presence = Presence()
        self._pseudonyms: dict[str, set[str]] = {}
        self.gone: frozenset[str] = frozenset()

    def adopt(self, head: Head) -> None:
        """The PPNs of one more plan; a PPN has a pseudonym in each epoch."""
        for ppn in head.ppns:
            self._pseudonyms.setdefault(ppn.id, set()).add(ppn.key.pseudonym)
        self._look()

    def hear(self, pseudonym: str, payload: bytes) -> bool:
        """Take in what is said, or no longer said, of a PPN; True when somebody is back."""
        self._presence.hear(pseudonym, payload, 0.0)
        return self._look()

    def heard_from(self, pseudonym: str) -> bool:
        """A PPN has signed something; True when it was thought to be gone."""
        return self._presence.heard_from(pseudonym, 0.0) and self._look()

    def _look(self) -> bool:
        before, self.gone = self.gone, self._presence.away(self._pseudonyms, 0.0, 0.0)
        return bool(before - self.gone)
