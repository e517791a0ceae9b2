"""One thing that was looked at before a meter runs."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.IntEnum):
    """How bad a finding is."""

    FINE = 0
    NOTE = 1  # works, or will, but somebody should know
    WRONG = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """See the module. No text carries a register."""

    subject: str
    state: State
    text: str
