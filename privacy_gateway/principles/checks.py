"""The eight principles of fair information practice (FIPPs, of CPUC D.11-07-056), each as a check that runs against what is on disk now.

A check reads; it changes nothing. What it cannot read does not hold. A sentence names no home and no amount of energy.
"""

from __future__ import annotations

import enum
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hushgrid.errors import HushgridError
from privacy_gateway.audit.chain import ChainHead, verify
from privacy_gateway.audit.entries import AnyEntry, LoggedAnswer, LoggedCharge, LoggedQuestion
from privacy_gateway.audit.log_file import lines_of
from privacy_gateway.consent.state import HomeConsents
from privacy_gateway.consent.statements import read_consent
from privacy_gateway.desk.gateway_desk import GatewayDesk
from privacy_gateway.desk.own_home import entries_of
from privacy_gateway.ledger.balance import HomeBalance
from privacy_gateway.ledger.book import HomePeriod
from privacy_gateway.store import looking


class Principle(enum.StrEnum):
    """In the order of the FIPPs."""

    TRANSPARENCY = "transparency"
    INDIVIDUAL_PARTICIPATION = "individual-participation"
    PURPOSE_SPECIFICATION = "purpose-specification"
    DATA_MINIMISATION = "data-minimisation"
    USE_LIMITATION = "use-limitation"
    DATA_QUALITY = "data-quality-and-integrity"
    SECURITY = "security"
    ACCOUNTABILITY = "accountability-and-auditing"


@dataclass(frozen=True, slots=True)
class CheckedPrinciple:
    """holds: now. sentence: what was looked at, or what is wrong."""

    principle: Principle
    holds: bool
    sentence: str


class BrokenPrincipleError(Exception):
    """What a check found."""


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What checks look at. private: files that their owner alone may read; tls: whether others hear what is said, and are kept out."""

    desk: GatewayDesk
    grid: str
    log_path: Path
    published: ChainHead
    private: Sequence[Path]
    tls: bool


def check_all(at: LookedAt) -> list[CheckedPrinciple]:
    """Every principle, in order."""
    with at.desk.lock:
        return [_checked(principle, check, at) for principle, check in _CHECKS.items()]


def _checked(principle: Principle, check: Callable[[LookedAt], str], at: LookedAt) -> CheckedPrinciple:
    try:
        return CheckedPrinciple(principle, True, check(at))
    except BrokenPrincipleError as error:
        return CheckedPrinciple(principle, False, str(error))
    except (HushgridError, OSError) as error:
        return CheckedPrinciple(principle, False, f"It cannot be looked at: {type(error).__name__}.")


def _insist(good: object, sentence: str) -> None:
    if not good:
        raise BrokenPrincipleError(sentence)


def _transparency(at: LookedAt) -> str:
    """Whoever was charged for can be told what for: each charge of this gateway's log is of a question that stands before it."""
    asked: set[bytes] = set()
    charged = 0
    for entry in _entries(at):
        if isinstance(entry, LoggedQuestion):
            asked.add(entry.question)
        elif isinstance(entry, LoggedCharge):
            _insist(entry.question in asked, "A charge is in the log whose question nobody was told of.")
            charged += 1
    _insist(at.published.entries > 0 or not asked, "No head of the log was published.")
    return f"{charged} charges are in the log, each behind who asked and what for; a head of {at.published.entries} entries is published."


def _individual_participation(at: LookedAt) -> str:
    """What counts as a home's word follows from statements that its meter signed, and from nothing else."""
    consents, identities = at.desk.consents, at.desk.home_list.identities
    consents.look_again()
    statements = 0
    for home in at.desk.home_list.homes:
        said = HomeConsents()
        for wire in consents.statements(home):
            said = said.after(read_consent(wire, at.grid, identities)[1])
            statements += 1
        held = consents.homes.get(home, HomeConsents())
        _insist(
            said.said == held.said,
            "A consent counts that no household's meter has signed, or one that was signed does not.",
        )
    return f"All that counts as consent follows from {statements} statements signed by meters."


def _purpose_specification(at: LookedAt) -> str:
    """Every answer was for the purpose that was stated when its question was asked."""
    stated: defaultdict[bytes, set[str]] = defaultdict(set)
    answers = 0
    for entry in _entries(at):
        if isinstance(entry, LoggedQuestion):
            stated[entry.question].add(entry.purpose)
        elif isinstance(entry, LoggedAnswer):
            _insist(
                stated[entry.question] == {entry.purpose}, "An answer left for a purpose that was not stated before."
            )
            answers += 1
    return f"{answers} answers left, each for the purpose that was stated when it was asked for."


def _data_minimisation(at: LookedAt) -> str:
    """No reading of one home is kept, and no number was told of fewer homes or rounds than the minimum."""
    policy, database = at.desk.policy, at.desk.store.ledger.database
    kept, told = looking.summed(database), looking.told_of(database)
    _insist(all(each.homes > 1 for each in kept), "What is kept as a sum is of one home: a reading.")
    _insist(
        all(each.homes >= policy.minimum_homes and each.span.rounds >= policy.minimum_rounds for each in told),
        "A number was told of fewer homes or rounds than the minimum.",
    )
    return (
        f"{len(kept)} sums are kept, none of one home; {len(told)} numbers were told, none below the minimum of "
        f"{policy.minimum_homes} homes."
    )


def _use_limitation(at: LookedAt) -> str:
    """No home has lost more than its budget, and no answer is kept that was not paid for."""
    database = at.desk.store.ledger.database
    paid = looking.balances(database)
    _insist(all(map(at.desk.policy.cap.holds, set(paid.values()))), "A home has lost more than its budget.")
    charged = {entry.question for _, entry in looking.charges(database)}
    _insist(looking.answered(database) <= charged, "An answer is kept that nobody was charged for.")
    return f"{len(paid)} budgets of homes and periods were drawn on, none beyond its cap."


def _data_quality(at: LookedAt) -> str:
    """Balances are the sums of charges, exactly, and every row is understood."""
    database = at.desk.store.ledger.database
    added: defaultdict[HomePeriod, HomeBalance] = defaultdict(HomeBalance)
    count = 0
    for place, entry in looking.charges(database):
        _insist(place == count, "A charge is missing.")
        count += 1
        for each in entry.debited:
            added[each] = added[each].plus(entry.price)
    _insist(looking.balances(database) == added, "What homes have paid is not the sum of their charges.")
    at.desk.store.disclosed()
    return f"What homes have paid is the sum of {count} charges, exactly."


def _security(at: LookedAt) -> str:
    """Nobody but their owner can read the gateway's files, and nobody else hears what is said."""
    _insist(at.tls, "What is said to the gateway can be heard: it listens to others without TLS.")
    open_to_others = [
        path.name for path in at.private if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    _insist(not open_to_others, f"Others than their owner may read: {', '.join(open_to_others)}.")
    return f"{sum(path.exists() for path in at.private)} files are their owner's alone; what is said to the gateway cannot be heard."


def _accountability(at: LookedAt) -> str:
    """The log is whole, continues the published head, and every answer in it was asked for and charged for."""
    with at.log_path.open("rb") as file:
        end = verify(lines_of(file), [at.published])
    _insist(end == at.desk.audit.head, "The log on disk is not the one that is written.")
    charges = Counter(entry.question for _, entry in looking.charges(at.desk.store.ledger.database))
    asked: set[bytes] = set()
    for entry in _entries(at):
        if isinstance(entry, LoggedQuestion):
            asked.add(entry.question)
        elif isinstance(entry, LoggedAnswer):
            _insist(entry.question in asked, "An answer left that nobody asked for.")
            _insist(charges[entry.question.hex()], "An answer left that was not charged for.")
    return f"The log is whole: {end.entries} entries, behind a published head of {at.published.entries}."


def _entries(at: LookedAt) -> list[AnyEntry]:
    return entries_of(at.log_path)


_CHECKS = {
    Principle.TRANSPARENCY: _transparency,
    Principle.INDIVIDUAL_PARTICIPATION: _individual_participation,
    Principle.PURPOSE_SPECIFICATION: _purpose_specification,
    Principle.DATA_MINIMISATION: _data_minimisation,
    Principle.USE_LIMITATION: _use_limitation,
    Principle.DATA_QUALITY: _data_quality,
    Principle.SECURITY: _security,
    Principle.ACCOUNTABILITY: _accountability,
}
