"""Messages that only the grid operator's key opens (AES-GCM): P1 in Luxembourg and Austria, HAN in Denmark and Austria. Pure."""

from __future__ import annotations

import re

from meter_agent.sources.sample import Doubt, SampleRefusedError

#: DLMS general-glo-ciphering: a system title of 8 bytes that begins with its maker, a length, which keys.
CIPHERED = re.compile(rb"\xdb\x08[A-Za-z0-9]{3}.{5}(?:\x81.|\x82..|[\x00-\x7f])[\x10\x11\x20\x21\x30\x31]", re.DOTALL)


def refusal() -> SampleRefusedError:
    """What is said of such a message."""
    return SampleRefusedError(Doubt.ENCRYPTED, "the grid operator has the key, and hushgrid does not read it")
