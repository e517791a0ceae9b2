"""How much a request may bring, and how slowly. It is read before anything is said of it: a connection that is closed over
unread bytes may take the answer with it.

Of a body that is too long nothing is kept; what is still on its way is let go of, up to a bound.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from privacy_gateway.door.refusals import DoorRefusalError

#: So many times the bound are let go of before the connection is closed.
_LET_GO = 16
#: How long a body may take to come.
_PATIENCE_SECONDS = 60


class BoundedBodies:
    """Around an application."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app, self._most = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                body = await self._read(receive)
        except TimeoutError:
            said = DoorRefusalError(
                HTTPStatus.REQUEST_TIMEOUT,
                "too-slow",
                f"A request may take {_PATIENCE_SECONDS} s to come.",
                {"Connection": "close"},
            )
            await said.response()(scope, receive, send)
            return
        except DoorRefusalError as refused:
            await refused.response()(scope, receive, send)
            return
        if body is None:
            return
        waiting = [body]

        async def replayed() -> Message:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False} if waiting else await receive()

        await self._app(scope, replayed, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """None where whoever asked has gone."""
        kept, seen, more = bytearray(), 0, True
        while more and seen <= (1 + _LET_GO) * self._most:
            message = await receive()
            if message["type"] != "http.request":
                return None
            piece = message.get("body", b"")
            seen += len(piece)
            if seen <= self._most:
                kept += piece
            else:
                kept.clear()
            more = message.get("more_body", False)
        if seen > self._most:
            raise DoorRefusalError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too-large",
                f"A request may bring {self._most} bytes.",
                {"Connection": "close"},
            )
        return bytes(kept)
