"""Ctrl-C while a program is still being loaded: it ends at once and without a word. Imported first, before what takes its time."""

from __future__ import annotations

import signal


def quietly() -> None:
    """From now on SIGINT ends the process; whoever started it with SIGINT ignored is obeyed."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def as_usual() -> None:
    """From now on SIGINT raises KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
