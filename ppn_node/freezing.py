"""Whether a round is frozen, asked for again, settled: the one place that says so. No I/O; what time it is is known to `repair`.

    recovery none:           open --its end--> frozen, and whoever carries a missing meter is told
    otherwise:               open --nothing is missing--> frozen
                             open --something is missing--> asked for again, until nothing is or no more may be asked: frozen
    included shares missing: decided --asked for again, until nothing is missing or no more may be asked--> settled

The shell carries these steps out; `Rounds` writes them down.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from hushgrid.core.bitmap import Bitmap
from hushgrid.core.recovery import Recovery
from ppn_node.intake import Admission
from ppn_node.repair import RepairStep, Turn
from ppn_node.shares.values import RoundState


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one round here.

    recovery: by the plan in force for it.
    decided: the meters that the decision includes, None before it.
    given_up: nothing more is taken in, whatever is missing.
    """

    state: RoundState
    recovery: Recovery
    decided: Bitmap | None = None
    given_up: bool = False


class Step(enum.Enum):
    """What is to be done with a round now."""

    WAIT = "wait"
    FREEZE = "freeze"  # no further share counts
    FREEZE_AND_CLOSE = "freeze and close"  # the same, and whoever carries a missing meter is told
    REPAIR = "repair"  # what is missing is waited for, then asked for
    ASK = "ask"  # what is missing is asked for now
    SETTLE = (
        "settle"  # included shares that are still missing are given up: carriers are told, and windows may be released
    )
    END = "end"  # nothing is left to be waited for


def over(rounds: Iterable[int], state_of: Callable[[int], RoundState], in_repair: Callable[[int], bool]) -> list[int]:
    """Those of the rounds whose time is over that `at_its_end` decides about."""
    return [r for r in rounds if state_of(r) is RoundState.OPEN and not in_repair(r)]


def at_its_end(recovery: Recovery, *, lacks: bool) -> Step:
    """An open round's time is over. lacks: a share of it is missing."""
    if not recovery.agrees:
        return Step.FREEZE_AND_CLOSE
    return Step.REPAIR if lacks else Step.FREEZE


def in_repair(state: RoundState, repair: RepairStep | None) -> Step:
    """A round is waited for. repair: what `Repairs` says of it, None when nothing is missing any more."""
    if repair is not None and repair.turn is not Turn.OVER:
        return Step.ASK if repair.turn is Turn.ASK else Step.WAIT
    if state is RoundState.OPEN:
        return Step.FREEZE
    return Step.END if state is RoundState.RELEASED else Step.SETTLE


def once_decided(recovery: Recovery) -> Step:
    """A decision came. Included shares that this PPN lacks, because it was away, are fetched until the round is released."""
    return Step.REPAIR if recovery.agrees else Step.WAIT


def after_a_restart(standing: Standing) -> Step:
    """A round that was in hand: its closing may not have left; included shares may have been on their way."""
    if not standing.recovery.agrees:
        return Step.FREEZE_AND_CLOSE
    return once_decided(standing.recovery) if standing.state is RoundState.DECIDED else Step.WAIT


def takes(standing: Standing, number: int) -> Admission:
    """Whether a share of this meter that is not here counts now.

    It does while the round is open; afterwards only for a meter of the contributor set (this PPN was away when the others sent
    their rosters), until the round is settled here.
    """
    if standing.state is RoundState.OPEN:
        return Admission.TAKEN
    if standing.state is RoundState.RELEASED or standing.given_up or not standing.recovery.agrees:
        return Admission.CLOSED
    if standing.decided is None:
        return Admission.NOT_YET
    return Admission.TAKEN if number in standing.decided else Admission.CLOSED


def lacks(standing: Standing, expected: Bitmap, held: Container[int]) -> bool:
    """Whether shares are waited for: of any expected meter while the round is open, of included ones once it is decided."""
    if standing.state is RoundState.OPEN:
        wanted = expected
    elif standing.state is RoundState.RELEASED or standing.given_up or standing.decided is None:
        return False
    else:
        wanted = standing.decided & expected
    return any(number not in held for number in wanted)


def is_settled(standing: Standing, *, lacks: bool) -> bool:
    """Whether no share of a decided round will come any more; with recovery `none` nothing is waited for."""
    return not standing.recovery.agrees or standing.given_up or not lacks
