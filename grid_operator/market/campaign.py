"""What an operator may buy, and what it expects to pay for it (paper 000, eq. 12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grid_operator.market.errors import MarketError
from grid_operator.market.privacy import Attitude


@dataclass(frozen=True, slots=True, order=True)
class Offer:
    """What every home is offered: epsilon per slot, and the compensation of a campaign in money. MarketError below 0."""

    epsilon: float
    compensation: float

    def __post_init__(self) -> None:
        if not (self.epsilon > 0 and self.compensation >= 0):
            raise MarketError(f"an offer of {self.compensation} for epsilon {self.epsilon}: both are to be above 0")

    def rises_above(self, other: Offer | None) -> bool:
        """Element by element, as eq. 13.b asks of a step."""
        return other is None or (
            self != other and self.epsilon >= other.epsilon and self.compensation >= other.compensation
        )


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is bought: the devices by name, and one offer to all homes or none."""

    devices: frozenset[str] = frozenset()
    offer: Offer | None = None

    def beside(self, device: str) -> Campaign:
        """The same with one device more."""
        return Campaign(self.devices | {device}, self.offer)

    def without(self, device: str) -> Campaign:
        """The same with one device less."""
        return Campaign(self.devices - {device}, self.offer)

    def offering(self, offer: Offer | None) -> Campaign:
        """The same devices with another offer."""
        return Campaign(self.devices, offer)


@dataclass(frozen=True, slots=True)
class Shop:
    """What there is to buy. device_cost: c, of one device for one campaign, in money. homes: as the operator pictures them.

    MarketError where nothing can be bought, or names and offers occur twice.
    """

    devices: tuple[str, ...]
    offers: tuple[Offer, ...]
    homes: Sequence[Attitude]
    device_cost: float

    def __post_init__(self) -> None:
        if not self.devices and not self.offers:
            raise MarketError("there is nothing to buy: neither a device nor an offer")
        if len(set(self.devices)) < len(self.devices) or len(set(self.offers)) < len(self.offers):
            raise MarketError("a device or an offer is named twice")
        if not self.device_cost > 0:
            raise MarketError(f"a device that costs {self.device_cost}: it is to be above 0")

    def expected_cost(self, campaign: Campaign) -> float:
        """E[Obj] = c devices + comp sum of acceptances, in money (eq. 12.a)."""
        offer = campaign.offer
        paid = 0.0 if offer is None else offer.compensation * self.expected_acceptances(offer)
        return self.device_cost * len(campaign.devices) + paid

    def expected_acceptances(self, offer: Offer) -> float:
        """How many homes accept, on average."""
        return sum(home.acceptance(offer.epsilon, offer.compensation) for home in self.homes)
