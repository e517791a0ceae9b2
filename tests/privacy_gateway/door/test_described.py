"""What the door's description of itself allows, tried by schemathesis: no answer is a server's error, and each is one that is described."""

from __future__ import annotations

import json
import time

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.gateway.processes import write_config

from hushgrid.shell.config import load
from privacy_gateway.config import GatewayConfig
from privacy_gateway.door.application import application_of
from privacy_gateway.door.house import opened
from privacy_gateway.people.scopes import GrantedScope, ScopeWord, read_scope
from privacy_gateway.people.tokens import Bearer, Holder

EXAMPLES = 40
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    config = write_config(tmp_path_factory.mktemp("described"))
    with opened(load(GatewayConfig, config)) as house:
        yield house


@pytest.fixture(scope="module")
def tokens(house):
    house.clients.add("lab", read_scope("Purpose=operations_research ledger audit"))
    client = Bearer(Holder.CLIENT, "lab", read_scope("Purpose=operations_research ledger audit"))
    customer = Bearer(Holder.CUSTOMER, "m00", GrantedScope(None, frozenset({ScopeWord.HOME})))
    now = int(time.time())
    return [house.issuer.give(client, now), house.issuer.give(customer, now)]


@pytest.fixture(scope="module")
def application(house):
    failed: list[Exception] = []
    yield application_of(house, failed.append)
    assert failed == []


def described(application) -> dict[str, object]:
    return schemathesis.openapi.from_asgi("/openapi.json", application).raw_schema


ROUTES = {
    ("/oauth/token", "post"), ("/oauth/challenge", "post"), ("/queries", "post"), ("/queries/{id}", "get"), ("/consents", "post"),
    ("/consents", "get"), ("/me", "get"), ("/me/green-button", "get"), ("/disputes", "post"), ("/disputes", "get"),
    ("/ledger", "get"), ("/audit", "get"), ("/audit/entries", "get"), ("/principles", "get"),
}  # fmt: skip


def test_every_route_is_described_with_its_refusals(application):
    said = described(application)
    assert {(path, method) for path, methods in said["paths"].items() for method in methods} == ROUTES
    for path, method in ROUTES:
        route = said["paths"][path][method]
        assert route["description"]
        assert {"413", "422", "429", "503"} <= route["responses"].keys()
        assert ("401" in route["responses"]) == ("security" in route or path == "/oauth/token")
    text = json.dumps(said)
    defined = set(said["components"]["schemas"])
    assert {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]} <= defined


@pytest.mark.system
@pytest.mark.parametrize("route", sorted(ROUTES), ids=" ".join)
def test_nothing_that_the_description_allows_is_a_servers_error(application, tokens, route):
    schema = schemathesis.openapi.from_asgi("/openapi.json", application)
    operation = schema[route[0]][route[1].upper()]
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])

    @seed(14)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, st.sampled_from([*tokens, None]))
    def play(case, token) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        case.call_and_validate(headers=headers, checks=CHECKS)

    play()
