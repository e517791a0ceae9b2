"""One error class per reaction of the caller.

    HushgridError
    +-- ConfigurationError       stop at start, exit status 2: the person must change something
    +-- MessageError             refuse this message, count the reason, go on
    |   +-- ShareRejectedError   a share is refused (and, where the sender is known to be genuine, answered)
    +-- RecoveryError            no number is given for this window; says why
    +-- RefusedError             the configurator refuses a request; the reason depends on rules and rosters only
    +-- JournalError             the disk did not take what must be on it before anything is said: stop

A cause is a `RejectReason`; the same word labels the metric, the log line and the answer.
No message text ever carries a share, a key or a reading (invariant 14).
"""

from __future__ import annotations

import enum


class RejectReason(enum.StrEnum):
    """Why a message or a share was not accepted. A receipt carries the place in this list: a new one goes to its end."""

    MALFORMED = "malformed"
    WRONG_VERSION = "wrong-version"
    UNKNOWN_KIND = "unknown-kind"
    UNKNOWN_SENDER = "unknown-sender"
    WRONG_SENDER = "wrong-sender"
    BAD_SEAL = "bad-seal"
    BAD_SIGNATURE = "bad-signature"
    WRONG_PLAN = "wrong-plan"
    WRONG_RECIPIENT = "wrong-recipient"
    UNKNOWN_METER = "unknown-meter"
    UNKNOWN_RULE = "unknown-rule"
    NOT_IN_PLAN = "not-in-plan"
    OUT_OF_RANGE = "out-of-range"
    FUTURE_ROUND = "future-round"
    CLOSED_ROUND = "closed-round"
    FORGOTTEN_ROUND = "forgotten-round"
    CONFLICTING = "conflicting"
    DUPLICATE = "duplicate"
    REPLAYED = "replayed"
    ROLLED_BACK = "rolled-back"
    BELOW_FLOOR = "below-floor"
    MISSING_BEFORE = "missing-before"


class HushgridError(Exception):
    """Root of every error hushgrid raises on purpose."""


class ConfigurationError(HushgridError):
    """The configuration or a file named in it cannot be used; the text names what and where."""


class MessageError(HushgridError):
    """A received message is refused.

    reason: label of the metric; detail: ids and sizes only.
    """

    def __init__(self, reason: RejectReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class ShareRejectedError(MessageError):
    """A share is not counted."""


class RecoveryError(HushgridError):
    """The aggregate shares at hand do not give a number that can be vouched for."""


class RefusedError(HushgridError):
    """The configurator refuses; `because_of` names the granted rules that lead to the refusal."""

    def __init__(self, reason: str, because_of: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.because_of = because_of

    @property
    def described(self) -> str:
        """The reason with the rules that lead to it, for a log line."""
        return f"{self.reason} (because of {', '.join(self.because_of)})" if self.because_of else self.reason


class JournalError(HushgridError):
    """A durable store could not be written or is of an unknown version."""
