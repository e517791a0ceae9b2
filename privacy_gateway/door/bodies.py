"""How much a request may bring: a body that is longer is refused before it is read to its end."""

from __future__ import annotations

from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from privacy_gateway.door.refusals import DoorRefusalError


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
                await self._too_long().response()(scope, receive, send)
                return
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise self._too_long()
            return message

        await self._app(scope, bounded, send)

    def _too_long(self) -> DoorRefusalError:
        return DoorRefusalError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too-large",
            f"A request may bring {self._most} bytes.",
            {"Connection": "close"},
        )
