"""What a market refuses."""

from __future__ import annotations


class MarketError(ValueError):
    """An offer, a campaign or a delivery that makes no sense; the text names what is wrong."""
