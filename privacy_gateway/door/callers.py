"""Who calls: believed by their token, and counted; strangers are counted by their address, which is written down nowhere."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from privacy_gateway.door.house import House
from privacy_gateway.door.refusals import DoorRefusalError
from privacy_gateway.people.clients import Client
from privacy_gateway.people.scopes import GrantedScope, ScopeWord, bounded
from privacy_gateway.people.tokens import Holder, TokenRefusedError

#: Threads that wait at the desk: one works at a time, and nobody else waits for these.
_AT_THE_DESK = 4

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose token is believed, with what they may do now."""

    holder: Holder
    name: str
    scope: GrantedScope

    @property
    def client(self) -> Client:
        """The same for the desk. A customer asks no questions of others."""
        return Client(self.name, self.scope)


class Doorkeeper:
    """Lets people in."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._limiter: anyio.CapacityLimiter | None = None

    async def at_the_desk(self, work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Done in a thread."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(_AT_THE_DESK)
        return await anyio.to_thread.run_sync(lambda: work(*arguments, **named), limiter=self._limiter)

    async def stranger(self, request: Request) -> None:
        """Anybody; 429 for who asks too often."""
        host = request.client.host if request.client else ""
        self._count("address:" + hashlib.sha256(host.encode()).hexdigest())

    async def caller(self, request: Request) -> Caller:
        """Who holds a token; 401 without one that is believed, 429 for who asks too often."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            await self.stranger(request)
            raise _unknown("This needs a bearer token: POST /oauth/token gives one.")
        try:
            caller = await self._believed(token.strip(), int(time.time()))
        except TokenRefusedError as error:
            await self.stranger(request)
            raise _unknown(str(error)) from None
        self._count(f"{caller.holder.value}:{caller.name}")
        return caller

    async def client(self, request: Request) -> Caller:
        """A client; 403 for a customer."""
        caller = await self.caller(request)
        if caller.holder is not Holder.CLIENT:
            raise DoorRefusalError(
                HTTPStatus.FORBIDDEN, "not-admitted", "Customers see their own home; questions are for clients."
            )
        return caller

    async def customer(self, request: Request) -> Caller:
        """A customer; 403 for a client."""
        return self.insist(await self.caller(request), ScopeWord.HOME)

    async def auditor(self, request: Request) -> Caller:
        """Whoever may read the log's entries; 403 otherwise."""
        return self.insist(await self.caller(request), ScopeWord.AUDIT)

    def insist(self, caller: Caller, word: ScopeWord) -> Caller:
        """403 where the scope lacks this word."""
        if word not in caller.scope.words:
            raise DoorRefusalError(
                HTTPStatus.FORBIDDEN, "insufficient-scope", f"This needs the scope {word.value!r}.",
                {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{word.value}"'},
            )  # fmt: skip
        return caller

    async def _believed(self, token: str, now_seconds: int) -> Caller:
        """Of the gateway's own issuer or the one outside; within what holds now."""
        outside = self.house.outside
        if outside is not None and outside.gave(token):
            name, stated = outside.believe(token, now_seconds)
            client = await self._client(name)
            return Caller(Holder.CLIENT, name, _within(client, client.scope if stated is None else stated))
        bearer = self.house.issuer.believe(token, now_seconds)
        if bearer.holder is Holder.CLIENT:
            return Caller(bearer.holder, bearer.name, _within(await self._client(bearer.name), bearer.scope))
        if bearer.name not in self.house.desk.home_list.identities:
            raise TokenRefusedError("The meter is not on the list of homes any more.")
        return Caller(bearer.holder, bearer.name, bearer.scope)

    async def _client(self, name: str) -> Client:
        client = await anyio.to_thread.run_sync(self.house.clients.named, name)
        if client is None:
            raise TokenRefusedError("The client was removed, or was never added.")
        return client

    def _count(self, key: str) -> None:
        seconds = self.house.buckets.take(key, time.monotonic())
        if seconds is not None:
            raise DoorRefusalError(
                HTTPStatus.TOO_MANY_REQUESTS, "too-many", f"Too many requests; ask again in {seconds} s.",
                {"Retry-After": str(seconds)},
            )  # fmt: skip


def _within(client: Client, said: GrantedScope) -> GrantedScope:
    """Within both what a token says and what the client has now."""
    asking, now = said.asking, client.scope.asking
    both = None if asking is None or now is None else bounded([asking, now])
    return GrantedScope(both, said.words & client.scope.words)


def _unknown(sentence: str) -> DoorRefusalError:
    return DoorRefusalError(
        HTTPStatus.UNAUTHORIZED, "not-signed-in", sentence, {"WWW-Authenticate": 'Bearer realm="hushgrid"'}
    )
