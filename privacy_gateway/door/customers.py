"""What customers do: `/consents`, `/me`, `/me/green-button`, `/disputes`."""

import time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, ValidationError

from hushgrid.errors import MessageError
from hushgrid.statements.consent import ConsentAct
from hushgrid.wire.model import Model
from hushgrid.wire.purpose import CONSENTED, Purpose
from privacy_gateway.desk.gateway_desk import sentence_of
from privacy_gateway.door.callers import Caller, Doorkeeper
from privacy_gateway.door.refusals import AsciiResponse, DoorRefusalError, not_understood, responses
from privacy_gateway.ledger.price import MICRO, PICO
from privacy_gateway.store import looking
from privacy_gateway.store.disputes import Dispute

#: How Green Button data is asked for.
GREEN_BUTTON_TYPE = "application/atom+xml"
#: Of one home.
_MOST_DISPUTES = 100
_PRIVATE = {"Cache-Control": "no-store"}


class HeardForm(BaseModel):
    """A consent that holds from now on."""

    purpose: Purpose
    act: ConsentAct
    number: int


class ConsentsForm(BaseModel):
    """What one's own home allows. heard_through: every number up to this one was heard; missing: first and last of those that were not."""

    allows: dict[Purpose, bool]
    heard_through: int
    missing: list[int]


class BillForm(BaseModel):
    """One period. watt_hours: null where there is no number, and `reason` says why. rounds of of_rounds are in it."""

    rule: str
    start_seconds: int
    duration_seconds: int
    watt_hours: int | None
    rounds: int
    of_rounds: int
    reason: str


class CoveredForm(BaseModel):
    """A question that one's own home was charged for, and to whom answers to it left. epsilon, rho: its price."""

    question: str
    homes: int
    epsilon: float
    rho: float
    purpose: Purpose | None
    askers: list[str]


class DisclosureForm(BaseModel):
    """Something of one's own home that left. what: such as `bills`."""

    at_seconds: int
    recipient: str
    purpose: Purpose
    what: str


class MeForm(BaseModel):
    """All that the gateway has of one's own home. budget_left: epsilon by period, of those that were drawn on."""

    meter: str
    bills: list[BillForm]
    questions: list[CoveredForm]
    disclosures: list[DisclosureForm]
    consents: ConsentsForm
    budget_left: dict[int, float]


class WantedDispute(Model):
    """What a customer disputes. about: such as a rule and a date. Both in their own words."""

    about: Annotated[str, Field(min_length=1, max_length=200)]
    text: Annotated[str, Field(min_length=1, max_length=4000)]


class DisputeForm(BaseModel):
    """A dispute as it was said. id: by which it can be spoken of."""

    id: str
    at_seconds: int
    about: str
    text: str


class DisputesForm(BaseModel):
    """One's own, oldest first."""

    disputes: list[DisputeForm]


def router_of(keeper: Doorkeeper) -> APIRouter:
    """All of these routes."""
    router = APIRouter(tags=["customers"])
    house = keeper.house

    @router.post(
        "/consents", response_model=HeardForm, responses=responses(400, 409),
        openapi_extra={"requestBody": {"required": True, "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    async def hear(request: Request) -> AsciiResponse:
        """Hand over a line that `hushgrid-meter consent` printed. The meter's signature is all that is asked for."""
        await keeper.stranger(request)
        body = await request.body()
        try:
            _, said = await keeper.at_the_desk(house.desk.hear, body.strip() + b"\n")
        except MessageError as error:
            status = HTTPStatus.CONFLICT if error.reason.value in _OUT_OF_TURN else HTTPStatus.BAD_REQUEST
            raise DoorRefusalError(status, f"statement-{error.reason.value}", sentence_of(error)) from None
        heard = HeardForm(purpose=said.purpose, act=said.act, number=said.number)
        return AsciiResponse(heard.model_dump(mode="json"))

    @router.get("/consents", response_model=ConsentsForm, responses=responses(401, 403))
    async def consents(caller: Annotated[Caller, Depends(keeper.customer)]) -> AsciiResponse:
        """What one's own home allows, by purpose."""
        found = await keeper.at_the_desk(_consents, keeper, caller.name)
        return AsciiResponse(found.model_dump(mode="json"), headers=_PRIVATE)

    @router.get(
        "/me", response_model=MeForm,
        responses={
            **responses(401, 403),
            200: {"model": MeForm, "description": "As JSON, or as Green Button by Accept.", "content": {GREEN_BUTTON_TYPE: {}}},
        },
    )  # fmt: skip
    async def me(request: Request, caller: Annotated[Caller, Depends(keeper.customer)]) -> Response:
        """All that the gateway has of one's own home; asked for as application/atom+xml, one's bills as Green Button."""
        if GREEN_BUTTON_TYPE in request.headers.get("accept", ""):
            return await bills(caller)
        found = await keeper.at_the_desk(_me, keeper, caller.name)
        return AsciiResponse(found.model_dump(mode="json"), headers=_PRIVATE)

    @router.get(
        "/me/green-button", response_class=Response,
        responses={**responses(401, 403), 200: {"description": "An Atom feed of ESPI resources.", "content": {GREEN_BUTTON_TYPE: {}}}},
    )  # fmt: skip
    async def bills(caller: Annotated[Caller, Depends(keeper.customer)]) -> Response:
        """One's own bills as a Green Button file."""
        content = await keeper.at_the_desk(_green_button, keeper, caller.name)
        return Response(content, media_type=GREEN_BUTTON_TYPE, headers=_PRIVATE)

    @router.post(
        "/disputes", status_code=201, response_model=DisputeForm, responses=responses(401, 403, 409),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/WantedDispute"}}},
            }
        },
    )  # fmt: skip
    async def dispute(request: Request, caller: Annotated[Caller, Depends(keeper.customer)]) -> AsciiResponse:
        """Say that something about one's own home is wrong. It is kept sealed, for as long as bills are."""
        try:
            wanted = WantedDispute.model_validate_json(await request.body())
        except ValidationError as error:
            raise not_understood(error) from None
        said = await keeper.at_the_desk(_dispute, keeper, caller.name, wanted)
        return AsciiResponse(_dispute_form(said).model_dump(), HTTPStatus.CREATED, _PRIVATE)

    @router.get("/disputes", response_model=DisputesForm, responses=responses(401, 403))
    async def disputes(caller: Annotated[Caller, Depends(keeper.customer)]) -> AsciiResponse:
        """What one's own home disputes."""
        found = await keeper.at_the_desk(house.disputes.of, caller.name)
        return AsciiResponse(
            DisputesForm(disputes=[_dispute_form(each) for each in found]).model_dump(), headers=_PRIVATE
        )

    return router


_OUT_OF_TURN = {"replayed", "conflicting", "missing-before"}


def _dispute_form(said: Dispute) -> DisputeForm:
    return DisputeForm(id=said.name, at_seconds=said.at_seconds, about=said.about, text=said.text)


def _dispute(keeper: Doorkeeper, meter: str, wanted: WantedDispute) -> Dispute:
    with keeper.house.desk.lock:
        if len(keeper.house.disputes.of(meter)) >= _MOST_DISPUTES:
            raise DoorRefusalError(HTTPStatus.CONFLICT, "too-many-disputes", f"A home has {_MOST_DISPUTES} at most.")
        return keeper.house.disputes.say(meter, wanted.about, wanted.text, int(time.time()))


def _consents(keeper: Doorkeeper, meter: str) -> ConsentsForm:
    said = keeper.house.desk.consents_of(meter)
    return ConsentsForm(
        allows={purpose: said.grants(purpose) for purpose in CONSENTED}, heard_through=said.through,
        missing=list(said.missing),
    )  # fmt: skip


def _bills(keeper: Doorkeeper, meter: str) -> list[BillForm]:
    return [
        BillForm(
            rule=each.rule, start_seconds=each.start_seconds, duration_seconds=each.duration_seconds,
            watt_hours=each.watt_hours, rounds=each.rounds, of_rounds=each.of_rounds, reason=each.reason,
        )
        for each in keeper.house.own.bills(meter)
    ]  # fmt: skip


def _me(keeper: Doorkeeper, meter: str) -> MeForm:
    """Logged as handed out before it is."""
    desk, own = keeper.house.desk, keeper.house.own
    database, cap = desk.store.ledger.database, desk.policy.cap
    with desk.lock:
        mine = {entry.question: entry for _, entry in looking.charges(database) if meter in entry.homes}
        bills = _bills(keeper, meter)
        view = own.view(meter, set(mine))
        found = MeForm(
            meter=meter, bills=bills, consents=_consents(keeper, meter),
            questions=[
                CoveredForm(
                    question=name, homes=len(entry.homes), epsilon=entry.price.epsilon_micro / MICRO,
                    rho=entry.price.rho_pico / PICO,
                    purpose=next((each.purpose for each in view.answers if each.question.hex() == name), None),
                    askers=sorted({each.asker for each in view.answers if each.question.hex() == name}),
                )
                for name, entry in mine.items()
            ],
            disclosures=[
                DisclosureForm(at_seconds=each.at_seconds, recipient=each.recipient, purpose=each.purpose, what=each.what)
                for each in view.disclosures
            ],
            budget_left={
                period: cap.left_micro(paid) / MICRO for (_, period), paid in looking.balances(database, meter).items()
            },
        )  # fmt: skip
        if bills:
            own.told(meter, "bills", found.model_dump_json(include={"bills"}).encode())
        return found


def _green_button(keeper: Doorkeeper, meter: str) -> bytes:
    agent, own = keeper.house.config.agent, keeper.house.own
    with keeper.house.desk.lock:
        content = own.green_button(meter, grid=agent.grid, author=agent.id)
        own.told(meter, "green-button", content)
        return content
