"""What sums are for. One list of names, for consents, rules and questions."""

from __future__ import annotations

import enum


class Purpose(enum.StrEnum):
    """What a sum is for.

    The first three are what the supply of electricity itself needs (paper 004: *primary* purposes): no consent is asked for them,
    and none can be taken back. Every other one is a customer's to allow.
    """

    BILLING = "billing"
    OPERATIONS = "operations"  # running the grid
    PROGRAMMES = "programmes"  # what a regulator has ordered, such as demand response
    FORECASTING = "forecasting"
    STATISTICS = "statistics"  # published for everybody
    RESEARCH = "research"
    SERVICES = "services"  # what third parties sell

    @property
    def primary(self) -> bool:
        """Whether it needs no consent."""
        return self in (Purpose.BILLING, Purpose.OPERATIONS, Purpose.PROGRAMMES)


#: What a customer may allow, and take back.
CONSENTED = tuple(purpose for purpose in Purpose if not purpose.primary)
