"""What becomes of a missing share, for the whole plan."""

from __future__ import annotations

import enum


class Recovery(enum.StrEnum):
    """What becomes of a missing share, for the whole plan."""

    NONE = "none"  # that PPN has no usable aggregate share: the paper's model, for reproduction only
    AGREE = "agree"  # its (meter, round) is left out everywhere
    REPAIR = "repair"  # it is asked for again, then left out

    @property
    def agrees(self) -> bool:
        """Whether a meter that was lost on the way to some PPN is left out at all of them."""
        return self is not Recovery.NONE

    @property
    def asks(self) -> bool:
        """Whether a PPN asks for a share again that it misses."""
        return self is Recovery.REPAIR
