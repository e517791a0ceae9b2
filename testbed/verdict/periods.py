"""Which rounds of a run are masked and billed: from its first whole billing period on. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from hushgrid.core.schedule import Window, windows_within


@dataclass(frozen=True, slots=True)
class BillingSpan:
    """A run of rounds beside billing periods of so many rounds each, which begin at multiples of their length."""

    first_round: int
    last_round: int
    period_rounds: int

    @property
    def begins(self) -> int:
        """The first round that is masked: bills run from it, and so do sums."""
        return -(-self.first_round // self.period_rounds) * self.period_rounds

    @property
    def before(self) -> range:
        """Rounds before the first whole period: nothing of them is masked, and nothing is missing."""
        return range(self.first_round, min(self.begins, self.last_round + 1))

    @property
    def periods(self) -> list[Window]:
        """The whole periods: each has a bill for every meter."""
        return windows_within(self.first_round, self.last_round, self.period_rounds)

    @property
    def unfinished(self) -> range:
        """Rounds of the period that the run ends inside: they have sums, and no bill yet."""
        return range(self.begins + len(self.periods) * self.period_rounds, self.last_round + 1)

    @property
    def reason(self) -> str:
        """What is said of a round of `before`."""
        return f"before the first whole period: masked readings and bills run from round {self.begins}"

    def notes(self, *, bills: bool) -> list[str]:
        """What a person is told of rounds outside whole periods. bills: whether there are bills, and not sums alone."""
        told = []
        if self.before:
            told.append(f"rounds {self.before[0]} to {self.before[-1]} are {self.reason}; they are not missing")
        if bills and self.unfinished:
            whole = self.unfinished.start + self.period_rounds - 1
            told.append(
                f"rounds {self.unfinished[0]} to {self.unfinished[-1]} are in a period that the run ends inside, "
                f"up to round {whole}: they have no bill yet, and are not missing"
            )
        return told
