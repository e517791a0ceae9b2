"""The HTTP application, and its description of itself (OpenAPI)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.types import ASGIApp

import hushgrid
from hushgrid.errors import HushgridError
from privacy_gateway.door import customers, looking_in, questions, signing_in
from privacy_gateway.door.bodies import BoundedBodies
from privacy_gateway.door.callers import Doorkeeper
from privacy_gateway.door.customers import WantedDispute
from privacy_gateway.door.house import House
from privacy_gateway.door.refusals import RefusalForm, install
from privacy_gateway.questions.question import GatewayQuestion

_ABOUT = """Questions about sums of many homes, answered with noise, under consent, purpose and budget.

Clients get a bearer token by `POST /oauth/token` (client credentials); customers by a statement that their meter signs.
Every refusal is JSON with a `code` that stays and a `sentence` for a person. Nothing is charged for one.
"""
_NEEDS_TOKEN = {"/queries", "/queries/{id}", "/me", "/me/green-button", "/disputes", "/ledger", "/audit/entries"}


def application_of(house: House, fatal: Callable[[HushgridError], None]) -> ASGIApp:
    """fatal: told when a disk did not take what must be on it; nothing may be answered any more."""
    app = FastAPI(
        title="hushgrid privacy gateway",
        version=hushgrid.__version__,
        description=_ABOUT,
        docs_url="/docs",
        redoc_url=None,
    )
    install(app, fatal)
    keeper = Doorkeeper(house)
    for part in (signing_in, questions, customers, looking_in):
        app.include_router(part.router_of(keeper))
    described = _described(app)
    app.openapi = lambda: described  # type: ignore[method-assign]
    return BoundedBodies(app, house.config.limits.body_bytes)


def _described(app: FastAPI) -> dict[str, Any]:
    said = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    _, bodies = models_json_schema(
        [(GatewayQuestion, "validation"), (WantedDispute, "validation"), (RefusalForm, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    said["components"]["schemas"] |= bodies["$defs"]
    said["components"]["securitySchemes"] = {
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "From POST /oauth/token: by client_credentials, or by a statement that a customer's meter signed.",
        }
    }  # fmt: skip
    for path, methods in said["paths"].items():
        for method, route in methods.items():
            if path in _NEEDS_TOKEN or (path, method) == ("/consents", "get"):
                route["security"] = [{"bearer": []}]
    return said
