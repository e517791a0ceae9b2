"""`POST /queries`, `GET /queries/{id}`."""

from fractions import Fraction
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field, ValidationError

from privacy_gateway.desk.gateway_desk import GivenAnswer
from privacy_gateway.door.callers import Caller, Doorkeeper
from privacy_gateway.door.refusals import AsciiResponse, DoorRefusalError, declined, not_understood, responses
from privacy_gateway.ledger.price import MICRO, PICO
from privacy_gateway.questions.declined import Declined
from privacy_gateway.questions.question import GatewayQuestion, StatisticKind

#: A question's name: SHA-256 of its one form, in hexadecimal.
QuestionName = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The id that POST /queries gave.")]


class AnswerForm(BaseModel):
    """An answer. The same question gets the same one, whoever asks.

    values: in Wh, one a step of a load curve, else one; of a mean in Wh per home and round; of a count the number of readings.
    half_width: the noise of each value by itself lies within +-half_width with confidence_percent. epsilon, rho: what it cost
    each home that it covers, once; charged: whether that was now. epsilon_left: what all its homes can still pay.
    included of expected: (home, round) pairs with a reading.
    """

    id: str
    kind: StatisticKind
    values: list[int | float]
    half_width: int | float
    confidence_percent: int
    epsilon: float
    rho: float
    charged: bool
    epsilon_left: float
    included: int
    expected: int
    homes: int
    noise_by: str
    mechanism: str | None
    sampler: str | None = Field(description="Who drew the noise.")


def form_of(given: GivenAnswer) -> AnswerForm:
    """The answer as it leaves. What is not whole is rounded to a millionth."""
    answer = given.answer
    return AnswerForm(
        id=answer.question, kind=answer.kind, values=[_number(value) for value in answer.values],
        half_width=_number(answer.half_width), confidence_percent=answer.confidence_percent,
        epsilon=answer.price.epsilon_micro / MICRO, rho=answer.price.rho_pico / PICO, charged=given.charged,
        epsilon_left=given.left_micro / MICRO, included=answer.included, expected=answer.expected, homes=answer.homes,
        noise_by=answer.noise_by, mechanism=None if answer.mechanism is None else answer.mechanism.value,
        sampler=answer.sampler,
    )  # fmt: skip


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(round(value, 6))


def router_of(keeper: Doorkeeper) -> APIRouter:
    """The two routes."""
    router = APIRouter(tags=["questions"])
    desk = keeper.house.desk

    @router.post(
        "/queries", response_model=AnswerForm, responses=responses(401, 403, 409),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/GatewayQuestion"}}},
            }
        },
    )  # fmt: skip
    async def ask(request: Request, caller: Annotated[Caller, Depends(keeper.client)]) -> AsciiResponse:
        """Ask a question. Nothing is charged for a refusal. A question that was answered before is free."""
        body = await request.body()
        try:
            question = GatewayQuestion.model_validate_json(body)
        except ValidationError as error:
            raise not_understood(error) from None
        return _answered(await keeper.at_the_desk(desk.ask, caller.client, question))

    @router.get("/queries/{id}", response_model=AnswerForm, responses=responses(401, 403, 404, 409))
    async def again(id: QuestionName, caller: Annotated[Caller, Depends(keeper.client)]) -> AsciiResponse:  # noqa: A002
        """The answer that was given to a question: free, once who asks and consent are looked at again."""
        return _answered(await keeper.at_the_desk(desk.again, caller.client, id))

    return router


def _answered(outcome: GivenAnswer | Declined | None) -> AsciiResponse:
    if outcome is None:
        raise DoorRefusalError(HTTPStatus.NOT_FOUND, "not-answered", "No question of this id was answered.")
    if isinstance(outcome, Declined):
        raise declined(outcome)
    return AsciiResponse(form_of(outcome).model_dump(mode="json"), headers={"Cache-Control": "no-store"})
