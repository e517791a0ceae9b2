"""What households have said, and whom an answer may be about. No purpose but a primary one covers a home that has said nothing.

The latest number wins. A grant is taken in order only: one that leaves a gap is refused, since something that takes it back may be in
between. A revocation holds at once, over a gap too, and also under a number that was used for something else: then a meter's disk was
put back, and its numbers do not say any more what came later.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from hushgrid.core.sealing import fields
from hushgrid.errors import MessageError, RejectReason
from hushgrid.statements.consent import Consent, ConsentAct
from hushgrid.wire.purpose import Purpose

_NOTHING = (0, ConsentAct.REVOKE)


@dataclass(frozen=True, slots=True)
class HomeConsents:
    """What one home has said.

    heard: every statement that was taken in. through: every number up to this one is among them. said: by purpose, the latest
    number and what holds.
    """

    heard: frozenset[Consent] = frozenset()
    through: int = 0
    said: Mapping[Purpose, tuple[int, ConsentAct]] = dataclass_field(default_factory=dict)

    def grants(self, purpose: Purpose) -> bool:
        """Whether an answer for this purpose may be about the home."""
        return purpose.primary or self.said.get(purpose, _NOTHING)[1] is ConsentAct.GRANT

    @property
    def missing(self) -> tuple[int, ...]:
        """The first and the last number of what was not heard, () where nothing is known to be missing."""
        last = max((one.number for one in self.heard), default=0)
        return (self.through + 1, last - 1) if last > self.through else ()

    def after(self, consent: Consent) -> HomeConsents:
        """With one more.

        MessageError: REPLAYED for what was heard; of a grant CONFLICTING where its number was used for something else, as by a meter
        whose disk was put back, and MISSING_BEFORE where numbers before it were not heard.
        """
        number = consent.number
        if consent in self.heard:
            raise MessageError(RejectReason.REPLAYED, f"consent {number}")
        used = any(one.number == number for one in self.heard)
        if consent.act is ConsentAct.GRANT and used:
            raise MessageError(RejectReason.CONFLICTING, f"consent {number} was another; heard up to {self.through}")
        if consent.act is ConsentAct.GRANT and number > self.through + 1:
            raise MessageError(RejectReason.MISSING_BEFORE, f"consent {number}; {self.through + 1} is the next")
        heard, through = self.heard | {consent}, self.through
        while any(one.number == through + 1 for one in heard):
            through += 1
        latest = self.said.get(consent.purpose, _NOTHING)
        said = max(latest, (number, consent.act), key=lambda one: one[0])
        if consent.act is ConsentAct.REVOKE and (used or number >= latest[0]):
            said = (max(number, latest[0]), ConsentAct.REVOKE)
        return HomeConsents(heard, through, {**self.said, consent.purpose: said})


def covered(purpose: Purpose, homes: Iterable[str], consents: Mapping[str, HomeConsents]) -> frozenset[str]:
    """Those of the homes that an answer for this purpose may be about."""
    return frozenset(home for home in homes if consents.get(home, HomeConsents()).grants(purpose))


def rests_on(purpose: Purpose, homes: Iterable[str], consents: Mapping[str, HomeConsents]) -> bytes:
    """SHA-256 over the consents that an answer about these homes rests on: which home said it, and under which number.

    KeyError for a home that has not consented: no answer can be about it.
    """
    parts = []
    for home in sorted(set(homes)):
        number = 0 if purpose.primary else _granted(consents[home], purpose)
        parts += [home.encode(), struct.pack(">Q", number)]
    return hashlib.sha256(fields(b"hushgrid/1", b"consents", purpose.value.encode(), *parts)).digest()


def _granted(home: HomeConsents, purpose: Purpose) -> int:
    if not home.grants(purpose):
        raise KeyError(purpose)
    return home.said[purpose][0]
