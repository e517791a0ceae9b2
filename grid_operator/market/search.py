"""Which campaign reaches a target for the least money: the paper's greedy, a mended one, and an exact search (eqs. 12, 13)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from grid_operator.market.campaign import Campaign, Offer, Shop
from grid_operator.market.errors import MarketError

#: The state error of a campaign, in the unit of the target: of the same random numbers for every campaign.
Error = Callable[[Campaign], float]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search ends with. error: of the state. reached: whether it is within the target. steps: what was bought when."""

    campaign: Campaign
    cost: float
    error: float
    reached: bool
    steps: tuple[Campaign, ...] = ()


class Search:
    """One question: the cheapest campaign of a shop whose state error is at most the target.

    target: delta_max, in the unit of `error`. budget: what may be spent at most, in money. An error is worked out once for
    each campaign. MarketError for a target or a budget that is not above 0.
    """

    def __init__(self, shop: Shop, error: Error, target: float, budget: float) -> None:
        if not (target > 0 and budget > 0):
            raise MarketError(f"a target of {target} and a budget of {budget}: both are to be above 0")
        self.shop, self.target, self.budget = shop, target, budget
        self._error = error
        self._known: dict[Campaign, float] = {}

    @property
    def evaluated(self) -> int:
        """How many campaigns had their state error worked out."""
        return len(self._known)

    def error(self, campaign: Campaign) -> float:
        """Of the state, with this campaign."""
        if campaign not in self._known:
            self._known[campaign] = self._error(campaign)
        return self._known[campaign]

    def objective(self, campaign: Campaign) -> float:
        """J = max(delta_max, error): below the target nothing is gained (eq. 13, whose printed min would reward nothing else)."""
        return max(self.target, self.error(campaign))

    def reached(self, campaign: Campaign) -> bool:
        """Whether its state error is within the target."""
        return self.error(campaign) <= self.target

    # The paper's

    def printed(self) -> Found:
        """From nothing, each step at most c dearer: the one device or the higher offer that lowers J most (eq. 13)."""
        return self._greedy(self.shop.device_cost)

    def _greedy(self, step: float) -> Found:
        campaign, steps = Campaign(), []
        while not self.reached(campaign):
            cost = self.shop.expected_cost(campaign)
            affordable = [
                each
                for each in self._higher(campaign)
                if self.shop.expected_cost(each) <= min(cost + step, self.budget) * (1 + 1e-12)
            ]
            best = min(affordable, key=self._by_objective, default=campaign)
            if self.objective(best) >= self.objective(campaign):
                break
            campaign = best
            steps.append(campaign)
        return self._found(campaign, steps)

    def _by_objective(self, campaign: Campaign) -> tuple[float, float]:
        return self.objective(campaign), self.shop.expected_cost(campaign)

    def _higher(self, campaign: Campaign) -> Iterator[Campaign]:
        for device in self.shop.devices:
            if device not in campaign.devices:
                yield campaign.beside(device)
        for offer in self.shop.offers:
            if offer.rises_above(campaign.offer):
                yield campaign.offering(offer)

    # Mended

    def mended(self) -> Found:
        """The paper's, and then: what is not needed is given back, and purchases are swapped one by one while that is cheaper.
        The same from all devices downwards, beside every offer; the cheapest counts.

        Where the paper's ends short of the target, since no offer is to be had for c more, steps may be as large as the budget.
        """
        begun = self.printed()
        if not begun.reached:
            begun = self._greedy(self.budget)
        everything = Campaign(frozenset(self.shop.devices))
        starts = [begun.campaign, *(everything.offering(offer) for offer in (None, *self.shop.offers))]
        affordable = (each for each in starts if self.shop.expected_cost(each) <= self.budget and self.reached(each))
        best = min((self._improved(each) for each in affordable), key=self.shop.expected_cost, default=None)
        if best is None:
            return begun
        return self._found(best, [*begun.steps, best] if best != begun.campaign else begun.steps)

    def _improved(self, campaign: Campaign) -> Campaign:
        best = self._trimmed(campaign)
        while (better := min(self._swaps(best), key=self.shop.expected_cost, default=None)) is not None:
            best = self._trimmed(better)
        return best

    def _trimmed(self, campaign: Campaign) -> Campaign:
        """Give back what saves most, as long as the target is kept."""
        while True:
            smaller = min(self._cheaper(campaign, self._lower(campaign)), key=self.shop.expected_cost, default=None)
            if smaller is None:
                return campaign
            campaign = smaller

    def _lower(self, campaign: Campaign) -> Iterator[Campaign]:
        yield from (campaign.without(device) for device in self.shop.devices if device in campaign.devices)
        yield from (campaign.offering(offer) for offer in (None, *self.shop.offers))

    def _swaps(self, campaign: Campaign) -> Iterator[Campaign]:
        """Up to two devices taken or given back, beside any offer: cheaper, and within the target."""
        kept = {campaign: None}  # in one order, which a set has not: of equally cheap ones the first is taken
        for _ in range(2):
            kept |= {
                Campaign(each.devices ^ {device}, each.offer): None for each in kept for device in self.shop.devices
            }
        offers: tuple[Offer | None, ...] = (None, *self.shop.offers)
        return self._cheaper(campaign, (each.offering(offer) for each in kept for offer in offers))

    def _cheaper(self, campaign: Campaign, others: Iterable[Campaign]) -> Iterator[Campaign]:
        cost = self.shop.expected_cost(campaign)
        return (each for each in others if self.shop.expected_cost(each) < cost and self.reached(each))

    # Exact

    def exact(self, most: int = 100_000) -> Found:
        """The cheapest campaign that reaches the target, or, when none does, the one of the least error.

        All campaigns within the budget, the cheapest first, until one reaches the target: so no cheaper one does. most: how
        many there may be; MarketError when there are more.
        """
        count = 2 ** len(self.shop.devices) * (1 + len(self.shop.offers))
        if count > most:
            raise MarketError(f"an exact search of {count} campaigns is too long: at most {most}")
        least = Campaign()
        for campaign in self._by_cost():
            if self.reached(campaign):
                return self._found(campaign)
            least = min((least, campaign), key=self.error)
        return self._found(least)

    def _by_cost(self) -> Iterator[Campaign]:
        """All campaigns within the budget, the cheapest first."""
        offers: tuple[Offer | None, ...] = (None, *self.shop.offers)
        every = [
            Campaign(frozenset(devices), offer)
            for size in range(len(self.shop.devices) + 1)
            for devices in itertools.combinations(self.shop.devices, size)
            for offer in offers
        ]
        every.sort(key=self.shop.expected_cost)
        return itertools.takewhile(lambda each: self.shop.expected_cost(each) <= self.budget, every)

    def _found(self, campaign: Campaign, steps: Iterable[Campaign] = ()) -> Found:
        cost = self.shop.expected_cost(campaign)
        return Found(campaign, cost, self.error(campaign), self.reached(campaign), tuple(steps))
