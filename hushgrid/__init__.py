"""hushgrid: the protocol shared by every role.

The public names are below; everything else may move. Each is loaded when it is first asked for, so that a meter's memory holds
only what a meter uses.

    Field(modulus)          Z_q, in which readings are shared
    split, recombine        a secret into shares, and back (docs/protocol.md, eqs. 1 and 3)
    decode                  the same way back although some shares are wrong (eq. 6)
    Window(first, rounds)   consecutive rounds of a rule
    LossModel               which messages a lossy link loses
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hushgrid.conducted.loss import LossModel
    from hushgrid.core.decoding import decode
    from hushgrid.core.field import Field
    from hushgrid.core.schedule import Window
    from hushgrid.core.shamir import recombine, split

__version__ = "0.1.0"
__all__ = ["Field", "LossModel", "Window", "__version__", "decode", "recombine", "split"]

_WHERE = {
    "Field": "hushgrid.core.field",
    "LossModel": "hushgrid.conducted.loss",
    "Window": "hushgrid.core.schedule",
    "decode": "hushgrid.core.decoding",
    "recombine": "hushgrid.core.shamir",
    "split": "hushgrid.core.shamir",
}


def __getattr__(name: str) -> object:
    """A public name, from the module it lives in (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'hushgrid' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
