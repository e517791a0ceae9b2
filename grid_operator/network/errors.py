"""What is wrong with a grid, its tables or what is asked of it."""

from __future__ import annotations


class NetworkError(ValueError):
    """One line that names the thing that is wrong: a node, a line, a row of a table, a slot."""
