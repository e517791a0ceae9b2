"""What a privacy gateway writes down of itself. Every entry names who, for what purpose and why; none has a place for a meter's id or an
amount of energy, and none holds a pseudonym beside something that leads to the meter once the pseudonym's key is destroyed.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from hushgrid.statements.consent import ConsentAct
from hushgrid.wire.model import Count, Instant, Key, Model, Name, refusal_of
from hushgrid.wire.purpose import Purpose

#: SHA-256 of something, 32 bytes.
Digest = Key
#: A share of a budget, exactly: a whole number, or a fraction as "3/10".
Exact = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,39})(/[1-9][0-9]{0,39})?$")]
#: A home in its billing epoch, as `privacy_gateway.vault.pseudonyms.pseudonym_of` names it: no meter id is taken for one.
HomeName = Annotated[str, Field(pattern=r"^[a-z2-7]{26}$")]
Text = Annotated[str, Field(max_length=4096)]


class AuditEntry(Model):
    """One entry. at_seconds: when, UTC."""

    kind: str
    at_seconds: Instant


class LoggedQuestion(AuditEntry):
    """Somebody asked. question: SHA-256 of its one form, by which later entries name it, and which names the homes; homes: how many."""

    kind: Literal["question"] = "question"
    question: Digest
    asker: Name
    purpose: Purpose
    statistic: Name
    homes: Count


class LoggedRefusal(AuditEntry):
    """It was not answered. reason: the code that the asker was told."""

    kind: Literal["refusal"] = "refusal"
    question: Digest
    asker: Name
    reason: Name


class LoggedCharge(AuditEntry):
    """What a question costs was taken from a budget, before anything was computed. epsilon, rho: either may be 0."""

    kind: Literal["charge"] = "charge"
    question: Digest
    budget: Name
    epsilon: Exact
    rho: Exact


class LoggedAnswer(AuditEntry):
    """An answer left.

    answer: SHA-256 of its JSON form; consents: SHA-256 over the consents it rests on; code: the version that computed it.
    """

    kind: Literal["answer"] = "answer"
    question: Digest
    answer: Digest
    asker: Name
    purpose: Purpose
    consents: Digest
    code: Name


class LoggedConsent(AuditEntry):
    """A customer's consent was heard. statement: SHA-256 of the signed statement.

    It names no pseudonym: the statement is kept, and says whose it is.
    """

    kind: Literal["consent"] = "consent"
    statement: Digest
    purpose: Purpose
    act: ConsentAct


class LoggedApproval(AuditEntry):
    """A second person allowed a look at a single home. wanted: what, and why, in their words, which name no home otherwise."""

    kind: Literal["approval"] = "approval"
    asker: Name
    approver: Name
    home: HomeName
    purpose: Purpose
    wanted: Text

    @model_validator(mode="after")
    def _two_people(self) -> LoggedApproval:
        if self.asker == self.approver:
            raise ValueError("nobody approves their own wish")
        return self


class LoggedDisclosure(AuditEntry):
    """Something about a single home left. what: such as "bills".

    content: of what was handed over, `privacy_gateway.vault.pseudonyms.keyed_digest`. Whoever has that could else tell whose name this is.
    """

    kind: Literal["disclosure"] = "disclosure"
    home: HomeName
    recipient: Name
    purpose: Purpose
    what: Name
    content: Digest


class LoggedTear(AuditEntry):
    """The log was opened with a last line that had no end: nobody was told that it is written. The line lies beside the log."""

    kind: Literal["torn"] = "torn"
    length: Annotated[int, Field(ge=1)]
    content: Digest


AnyEntry = Union[  # noqa: UP007  # a form that pydantic reads at run time
    LoggedQuestion, LoggedRefusal, LoggedCharge, LoggedAnswer, LoggedConsent, LoggedApproval, LoggedDisclosure, LoggedTear
]  # fmt: skip
_FORM: TypeAdapter[AnyEntry] = TypeAdapter(Annotated[AnyEntry, Field(discriminator="kind")])


def read_entry(content: bytes) -> AnyEntry:
    """An entry from its JSON, in whatever spelling; MessageError for what is none."""
    try:
        return _FORM.validate_json(content)
    except ValidationError as error:
        raise refusal_of(AuditEntry, error) from None
