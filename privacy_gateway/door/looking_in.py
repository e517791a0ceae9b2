"""What shows that the gateway does what it says: `/ledger`, `/audit`, `/audit/entries`, `/principles`."""

import itertools
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from hushgrid.errors import JournalError
from privacy_gateway.audit.log_file import lines_of
from privacy_gateway.door.callers import Caller, Doorkeeper
from privacy_gateway.door.house import House
from privacy_gateway.door.refusals import AsciiResponse, responses
from privacy_gateway.ledger.book import ChargeEntry
from privacy_gateway.ledger.price import MICRO, PICO
from privacy_gateway.people.scopes import ScopeWord
from privacy_gateway.people.tokens import Holder
from privacy_gateway.principles.checks import Principle
from privacy_gateway.store import looking

_MOST_AT_ONCE = 1000
#: What comes behind this one, in a list that only grows.
After = Annotated[int, Query(ge=-1, lt=2**53, description="Only what comes behind this place.")]
AtMost = Annotated[int, Query(ge=1, le=_MOST_AT_ONCE, description="No more than so many.")]


class ChargeForm(BaseModel):
    """One charge. homes: how many paid, each the whole price, in each of these periods."""

    place: int
    question: str
    attempt: int
    homes: int
    periods: list[int]
    epsilon: float
    rho: float


class LedgerForm(BaseModel):
    """cap: of a home in a period, at delta. A customer sees the charges of their own home only."""

    cap: float
    delta: float
    period_rounds: int
    charges: list[ChargeForm]


class HeadForm(BaseModel):
    """head: the signed line, for `hushgrid audit-log verify --head`; identity: of the gateway, in hexadecimal, whose signature it is."""

    head: str
    identity: str
    entries: int
    digest: str


class PrincipleForm(BaseModel):
    """Whether a principle holds now, and what was looked at or is wrong."""

    principle: Principle
    holds: bool
    sentence: str


class PrinciplesForm(BaseModel):
    """The eight principles of fair information practice, checked when this was asked for."""

    all_hold: bool
    principles: list[PrincipleForm] = Field(min_length=8, max_length=8)


def router_of(keeper: Doorkeeper) -> APIRouter:
    """All of these routes."""
    router = APIRouter(tags=["looking in"])
    house = keeper.house

    @router.get("/ledger", response_model=LedgerForm, responses=responses(401, 403))
    async def ledger(
        caller: Annotated[Caller, Depends(keeper.caller)], after: After = -1, limit: AtMost = 100
    ) -> AsciiResponse:
        """What was charged, in order: all of it with the scope `ledger`, one's own home's for a customer."""
        home = caller.name if caller.holder is Holder.CUSTOMER else None
        if home is None:
            keeper.insist(caller, ScopeWord.LEDGER)
        found = await keeper.at_the_desk(_ledger, house, home, after, limit)
        return AsciiResponse(found.model_dump(), headers={"Cache-Control": "no-store"})

    @router.get("/audit", response_model=HeadForm, responses=responses())
    async def head(request: Request) -> AsciiResponse:
        """The audit log's head as it is now, signed. Keep it: a log that is shown later has to continue it."""
        await keeper.stranger(request)
        found = await keeper.at_the_desk(_head, house)
        return AsciiResponse(found.model_dump(), headers={"Cache-Control": "no-store"})

    @router.get(
        "/audit/entries", response_class=PlainTextResponse,
        responses={**responses(401, 403), 200: {"description": "Lines of the log, as they stand.", "content": {"text/plain": {}}}},
    )  # fmt: skip
    async def entries(
        caller: Annotated[Caller, Depends(keeper.auditor)],
        after: Annotated[int, Query(ge=0, lt=2**53, description="Only what comes behind so many entries.")] = 0,
        limit: AtMost = 100,
    ) -> PlainTextResponse:
        """The log's entries, with the scope `audit`."""
        del caller
        return PlainTextResponse(
            await keeper.at_the_desk(_entries, house, after, limit), headers={"Cache-Control": "no-store"}
        )

    @router.get("/principles", response_model=PrinciplesForm, responses=responses())
    async def principles(request: Request) -> AsciiResponse:
        """The eight principles, each checked now against what is on disk."""
        await keeper.stranger(request)
        found = await keeper.at_the_desk(house.principles)
        rows = [PrincipleForm(principle=each.principle, holds=each.holds, sentence=each.sentence) for each in found]
        form = PrinciplesForm(all_hold=all(row.holds for row in rows), principles=rows)
        return AsciiResponse(form.model_dump(mode="json"), headers={"Cache-Control": "no-store"})

    return router


def _ledger(house: House, home: str | None, after: int, limit: int) -> LedgerForm:
    policy, database = house.desk.policy, house.desk.store.ledger.database
    rows = looking.charges(database, after=after, most=limit if home is None else None)
    mine = ((place, entry) for place, entry in rows if home is None or home in entry.homes)
    return LedgerForm(
        cap=policy.cap.epsilon_micro / MICRO, delta=float(policy.cap.delta.delta), period_rounds=policy.period_rounds,
        charges=[_charge(place, entry) for place, entry in itertools.islice(mine, limit)],
    )  # fmt: skip


def _charge(place: int, entry: ChargeEntry) -> ChargeForm:
    return ChargeForm(
        place=place, question=entry.question, attempt=entry.attempt, homes=len(entry.homes), periods=list(entry.periods),
        epsilon=entry.price.epsilon_micro / MICRO, rho=entry.price.rho_pico / PICO,
    )  # fmt: skip


def _head(house: House) -> HeadForm:
    with house.desk.lock:
        line, head = house.publish(), house.desk.audit.head
    return HeadForm(head=line.decode(), identity=house.identity.hex(), entries=head.entries, digest=head.digest.hex())


def _entries(house: House, after: int, limit: int) -> str:
    try:
        with house.log_path.open("rb") as file:
            whole = (line for line in lines_of(file) if line.endswith(b"\n"))
            return b"".join(itertools.islice(whole, after, after + limit)).decode()
    except OSError as error:
        raise JournalError(f"{house.log_path}: {error.strerror or error}") from None
