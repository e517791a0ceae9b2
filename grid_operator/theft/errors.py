"""What this folder refuses."""

from __future__ import annotations


class TheftError(ValueError):
    """What is asked cannot be worked out, as a theft that is larger than a home's use; the text says why, in one line."""
