"""How the door says no: a status, a code that programs may rely on, a sentence for a person."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from hushgrid.errors import HushgridError, JournalError
from privacy_gateway.deciding.answering import DecidedTooEarlyError
from privacy_gateway.questions.declined import DeclineCode, Declined

log = logging.getLogger("hushgrid")

_MOST_NAME_CHARACTERS = 64


class RefusalForm(BaseModel):
    """Every refusal. code: a word that stays; sentence: English, and may change. error: of OAuth 2, where a token is asked for."""

    code: str
    sentence: str
    error: str | None = None


class AsciiResponse(JSONResponse):
    """JSON that is ASCII, whatever is in it; a number that JSON has not is refused."""

    def render(self, content: object) -> bytes:
        """As bytes."""
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


class DoorRefusalError(Exception):
    """Ends a request with a refusal."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        sentence: str,
        headers: Mapping[str, str] | None = None,
        *,
        oauth: str | None = None,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.sentence, self.headers, self.oauth = status, code, sentence, headers, oauth

    def response(self) -> AsciiResponse:
        """As it leaves."""
        return refusal(self.status, self.code, self.sentence, self.headers, oauth=self.oauth)


def refusal(
    status: int, code: str, sentence: str, headers: Mapping[str, str] | None = None, *, oauth: str | None = None
) -> AsciiResponse:
    """A refusal as it leaves."""
    content = {"code": code, "sentence": sentence} | ({} if oauth is None else {"error": oauth})
    return AsciiResponse(content, status, dict(headers or {}))


#: The status of each refusal of a question.
STATUS = dict.fromkeys(DeclineCode, HTTPStatus.CONFLICT) | {
    DeclineCode.UNKNOWN_COHORT: HTTPStatus.UNPROCESSABLE_ENTITY,
    DeclineCode.EPSILON_TOO_LARGE: HTTPStatus.UNPROCESSABLE_ENTITY,
    DeclineCode.ERROR_TOO_SMALL: HTTPStatus.UNPROCESSABLE_ENTITY,
    DeclineCode.NOT_ADMITTED: HTTPStatus.FORBIDDEN,
    DeclineCode.NO_CONSENT: HTTPStatus.FORBIDDEN,
}


def declined(why: Declined) -> DoorRefusalError:
    """The same at the door."""
    return DoorRefusalError(STATUS[why.code], why.code.value, why.sentence)


def not_understood(error: ValidationError | RequestValidationError) -> DoorRefusalError:
    """Names the first field that is not understood, and why; never its value."""
    first: Mapping[str, Any] = error.errors()[0]
    steps = [str(step) for step in first["loc"] if step not in {"body", "query", "path"}]
    where = ".".join(steps)[:_MOST_NAME_CHARACTERS]
    said = str(first["msg"]).removeprefix("Value error, ")
    sentence = ascii(where)[1:-1] + ": " + said if where else said
    return DoorRefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, "not-understood", sentence)


def install(app: FastAPI, fatal: Callable[[HushgridError], None]) -> None:
    """Every way in which a request can end without an answer. fatal: told of a disk that did not take what must be on it."""

    @app.exception_handler(DoorRefusalError)
    def refused(_: Request, error: Exception) -> AsciiResponse:
        assert isinstance(error, DoorRefusalError)  # noqa: S101  # for mypy
        return error.response()

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: Exception) -> AsciiResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return not_understood(error).response()

    @app.exception_handler(HTTPException)
    def unknown(_: Request, error: Exception) -> AsciiResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        status = HTTPStatus(error.status_code)
        return refusal(status, status.phrase.lower().replace(" ", "-"), f"{status.phrase}.", error.headers)

    @app.exception_handler(HushgridError)
    def failed(_: Request, error: Exception) -> AsciiResponse:
        assert isinstance(error, HushgridError)  # noqa: S101
        if isinstance(error, JournalError):
            log.error("nothing was answered: %s", error)
            fatal(error)
        elif not isinstance(error, DecidedTooEarlyError):
            log.error("nothing was answered: %s", error)
        return refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "unavailable",
            "The gateway cannot answer now. Ask again later.",
            {"Retry-After": "5"},
        )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route says of its refusals in the API's description."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{RefusalForm.__name__}"}}}
    every = sorted({*statuses, 408, 413, 422, 429, 503})
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in every}
