"""`POST /oauth/token` and `POST /oauth/challenge`: clients by their secret, customers by their meter's signature."""

from __future__ import annotations

import base64
import binascii
import time
import urllib.parse
from http import HTTPStatus

from fastapi import APIRouter, Request
from pydantic import BaseModel

from hushgrid.errors import ConfigurationError, MessageError
from privacy_gateway.desk.gateway_desk import sentence_of
from privacy_gateway.door.callers import Doorkeeper
from privacy_gateway.door.refusals import AsciiResponse, DoorRefusalError, responses
from privacy_gateway.people.scopes import GrantedScope, ScopeWord, narrowed, read_scope
from privacy_gateway.people.sign_in import CHALLENGE_SECONDS
from privacy_gateway.people.tokens import Bearer, Holder

#: What OAuth 2 calls a kind of grant of one's own (RFC 6749, section 4.5).
METER_GRANT = "urn:hushgrid:meter-signature"
_CLIENT_GRANT = "client_credentials"
_MOST_FIELDS = 16
_FORM = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "enum": [_CLIENT_GRANT, METER_GRANT]},
        "client_id": {"type": "string"},
        "client_secret": {"type": "string"},
        "scope": {"type": "string", "description": "Less than what was granted; all of it where it is left out."},
        "statement": {
            "type": "string",
            "description": "Of a customer: the line that `hushgrid-meter sign-in` printed.",
        },
    },
}


class TokenForm(BaseModel):
    """A token, as OAuth 2 has it (RFC 6749, section 5.1)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class ChallengeForm(BaseModel):
    """challenge: in hexadecimal, to be signed by the meter within expires_in seconds, once; gateway: whom it is for."""

    challenge: str
    gateway: str
    grid: str
    expires_in: int


def router_of(keeper: Doorkeeper) -> APIRouter:
    """The two routes."""
    router = APIRouter(tags=["signing in"])
    house = keeper.house

    @router.post(
        "/oauth/token", response_model=TokenForm, responses=responses(400, 401),
        openapi_extra={"requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": _FORM}}}},
    )  # fmt: skip
    async def token(request: Request) -> AsciiResponse:
        """A bearer token: for a client by `client_credentials`, for a customer by a statement that their meter signed."""
        await keeper.stranger(request)
        form = _form(await request.body())
        match form.get("grant_type"):
            case "client_credentials":
                bearer = await _client(keeper, request, form)
            case grant if grant == METER_GRANT:
                bearer = _customer(keeper, form)
            case _:
                said = f"grant_type: expected {_CLIENT_GRANT} or {METER_GRANT}."
                raise _bad("unsupported-grant-type", said, "unsupported_grant_type")
        given = TokenForm(
            access_token=house.issuer.give(bearer, int(time.time())), token_type="Bearer",  # noqa: S106  # its kind
            expires_in=house.issuer.lifetime_seconds, scope=str(bearer.scope),
        )  # fmt: skip
        return AsciiResponse(given.model_dump(), headers={"Cache-Control": "no-store", "Pragma": "no-cache"})

    @router.post("/oauth/challenge", response_model=ChallengeForm, responses=responses())
    async def challenge(request: Request) -> AsciiResponse:
        """What a customer's meter is to sign: `hushgrid-meter sign-in GATEWAY CHALLENGE --config meter.toml`."""
        await keeper.stranger(request)
        drawn = ChallengeForm(
            challenge=house.sign_ins.challenge(int(time.time())).hex(), gateway=house.config.agent.id,
            grid=house.config.agent.grid, expires_in=CHALLENGE_SECONDS,
        )  # fmt: skip
        return AsciiResponse(drawn.model_dump(), headers={"Cache-Control": "no-store"})

    return router


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = urllib.parse.parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise _bad("not-understood", "The body is no form (application/x-www-form-urlencoded).") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _bad("not-understood", "A field is there twice.")
    return form


async def _client(keeper: Doorkeeper, request: Request, form: dict[str, str]) -> Bearer:
    name, secret = _credentials(request, form)
    client = await keeper.at_the_desk(keeper.house.clients.shown, name, secret)
    if client is None:
        raise DoorRefusalError(
            HTTPStatus.UNAUTHORIZED, "invalid-client", "There is no such client, or that is not its secret.",
            {"WWW-Authenticate": 'Basic realm="hushgrid"'}, oauth="invalid_client",
        )  # fmt: skip
    try:
        wanted = read_scope(form.get("scope", ""))
    except ConfigurationError as error:
        raise _bad("invalid-scope", f"{error}.", "invalid_scope") from None
    scope = client.scope if wanted.asking is None and not wanted.words else narrowed(client.scope, wanted)
    if scope is None:
        raise _bad("invalid-scope", f"More than was granted: {client.scope}.", "invalid_scope")
    return Bearer(Holder.CLIENT, client.name, scope)


def _credentials(request: Request, form: dict[str, str]) -> tuple[str, str]:
    kind, _, said = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        name, _, secret = base64.b64decode(said, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        raise _bad("not-understood", "The Authorization header is not understood.") from None
    return urllib.parse.unquote_plus(name), urllib.parse.unquote_plus(secret)


def _customer(keeper: Doorkeeper, form: dict[str, str]) -> Bearer:
    try:
        meter = keeper.house.sign_ins.believe(form.get("statement", "").encode(), int(time.time()))
    except MessageError as error:
        raise _bad(f"statement-{error.reason.value}", sentence_of(error), "invalid_grant") from None
    return Bearer(Holder.CUSTOMER, meter, GrantedScope(None, frozenset({ScopeWord.HOME})))


def _bad(code: str, sentence: str, oauth: str = "invalid_request") -> DoorRefusalError:
    return DoorRefusalError(HTTPStatus.BAD_REQUEST, code, sentence, oauth=oauth)
