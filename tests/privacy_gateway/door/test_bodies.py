"""How much a request may bring, and how slowly: the application sees whole bodies only."""

from __future__ import annotations

import asyncio
import json

import pytest

from privacy_gateway.door import bodies
from privacy_gateway.door.bodies import BoundedBodies


async def played(pieces, headers=(), most=1000):
    """The status and code that were sent, and the bodies that the application saw. pieces: bytes, or None: they never come."""
    coming, sent, seen = list(pieces), [], []

    async def receive():
        if not coming:
            return {"type": "http.disconnect"}
        piece = coming.pop(0)
        if piece is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": piece, "more_body": bool(coming)}

    async def send(message):
        sent.append(message)

    async def application(scope, receive, send):
        del scope
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"{}"})

    await BoundedBodies(application, most)({"type": "http", "headers": list(headers)}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"]).get("code"), seen, coming


async def test_a_body_is_seen_whole():
    assert await played([b"ab", b"", b"c"]) == (200, None, [b"abc"], [])
    assert await played([b"x" * 1000]) == (200, None, [b"x" * 1000], [])


async def test_one_that_is_too_long_is_read_to_its_end_and_not_seen():
    assert await played([b"x" * 600] * 3) == (413, "too-large", [], [])


async def test_one_without_end_is_given_up():
    status, code, seen, left = await played([b"x" * 600] * 100)
    assert (status, code, seen) == (413, "too-large", [])
    assert left


async def test_one_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bodies, "_PATIENCE_SECONDS", 0)
    assert await played([b"x", None, b"y"]) == (408, "too-slow", [], [b"y"])
