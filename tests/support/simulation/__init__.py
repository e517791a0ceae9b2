"""The whole system played in one process: bytes, journals, losses, and what must never happen."""
