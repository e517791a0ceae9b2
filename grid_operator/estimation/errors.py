"""Why no state can be estimated."""

from __future__ import annotations


class EstimationError(ValueError):
    """One line that names the measurement, the slot or the load in the way."""
