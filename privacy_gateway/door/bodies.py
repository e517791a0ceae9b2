"""How much a request may bring: of a body that is longer nothing is kept, and it is refused.

Whoever still sends when a connection is closed may never read why. So the rest is read and let go, within a bound, before the refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from privacy_gateway.door.refusals import DoorRefusalError

#: So many times the bound, and for so long, is read of what is refused.
_READ_TIMES, _READ_SECONDS = 8, 30.0


class BoundedBodies:
    """Around an application."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app, self._most = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._most:
                await self._let_go(receive)
                await self._too_long().response()(scope, receive, send)
                return
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                if message.get("more_body", False):
                    await self._let_go(receive)
                raise self._too_long()
            return message

        await self._app(scope, bounded, send)

    async def _let_go(self, receive: Receive) -> None:
        """The rest of a body."""
        left = _READ_TIMES * self._most
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READ_SECONDS):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return

    def _too_long(self) -> DoorRefusalError:
        return DoorRefusalError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too-large",
            f"A request may bring {self._most} bytes.",
            {"Connection": "close"},
        )
