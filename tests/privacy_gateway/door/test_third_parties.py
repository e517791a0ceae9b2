"""Two third parties with overlapping cohorts, a household that takes its word back, and a gateway that is killed in between."""

from __future__ import annotations

import pytest
from support.gateway import HOMES
from support.gateway.desks import consent_line, logged
from support.gateway.postgresql import postgresql_server, programs
from support.gateway.processes import add_client, running, write_config

from hushgrid.statements.consent import ConsentAct

pytestmark = pytest.mark.system
PLAIN = {"kind": "sum", "cohort": "all", "first_round": 0, "until_round": 1, "purpose": "research", "epsilon": "0.5"}


def put(gateway, headers, **changed) -> tuple[int, dict[str, object]]:
    response = gateway.http.post("/queries", json=PLAIN | changed, headers=headers)
    return response.status_code, response.json()


def refusal(gateway, headers, **changed) -> str:
    status, said = put(gateway, headers, **changed)
    assert 400 <= status < 500
    return said["code"]


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path)


@pytest.fixture
def secrets(config):
    return {name: add_client(config, name, "Purpose=research ledger") for name in ("one", "other")}


def grant_all(gateway) -> None:
    for home in HOMES:
        assert gateway.http.post("/consents", content=consent_line(home, 1, ConsentAct.GRANT)).status_code == 200


def test_one_is_answered_one_refused_for_differencing_and_one_for_its_budget(config, secrets):
    with running(config) as gateway:
        one, other = (gateway.as_client(name, secret) for name, secret in secrets.items())
        assert refusal(gateway, one) == "no-consent"
        grant_all(gateway)
        status, first = put(gateway, one)
        assert status == 200
        assert refusal(gateway, other, cohort="m00..m10") == "differencing"
        assert put(gateway, other) == (200, first | {"charged": False})
        assert put(gateway, other, cohort="m06..m11", first_round=1, until_round=2, epsilon="1")[0] == 200
        assert put(gateway, one, first_round=2, until_round=3)[0] == 200
        assert refusal(gateway, other, first_round=3, until_round=4) == "budget"
        west = {"cohort": "m00..m05", "first_round": 3, "until_round": 4}
        assert put(gateway, other, **west)[0] == 200
        charged = gateway.http.get("/ledger", headers=one).json()["charges"]
        assert [(each["homes"], each["epsilon"]) for each in charged] == [(12, 0.5), (6, 1.0), (12, 0.5), (6, 0.5)]


def test_what_was_charged_answered_and_taken_back_holds_behind_kill_9(config, secrets, tmp_path):
    with running(config) as gateway:
        one = gateway.as_client("one", secrets["one"])
        grant_all(gateway)
        first = put(gateway, one)[1]
        gateway.kill()
    with running(config) as gateway:
        one = gateway.as_client("one", secrets["one"])
        assert put(gateway, one) == (200, first | {"charged": False})
        assert refusal(gateway, one, cohort="m00..m10") == "differencing"
        revoked = gateway.http.post("/consents", content=consent_line("m07", 2, ConsentAct.REVOKE))
        assert revoked.status_code == 200
        gateway.kill()
    with running(config) as gateway:
        one, other = (gateway.as_client(name, secret) for name, secret in secrets.items())
        assert refusal(gateway, one) == refusal(gateway, other) == "no-consent"
        assert gateway.http.get(f"/queries/{first['id']}", headers=other).json()["code"] == "no-consent"
        assert refusal(gateway, one, cohort="m06..m11", first_round=5, until_round=6) == "no-consent"
        assert put(gateway, one, cohort="m00..m05", first_round=5, until_round=6)[0] == 200
        assert gateway.http.get("/principles").json()["all_hold"]
    kinds = [entry["kind"] for entry in logged(tmp_path / "state" / "audit.log")]
    assert kinds[12:15] == ["question", "charge", "answer"]
    assert kinds.count("charge") == 2


def test_two_gateways_on_one_postgresql_keep_one_ledger(tmp_path):
    at = programs()
    if at is None:
        pytest.skip("no PostgreSQL here (make servers)")
    with postgresql_server(at) as server:
        url = server.fresh()
        configs = [write_config(tmp_path, state=state, url=url) for state in ("left", "right")]
        keys = [add_client(config, "one", "Purpose=research") for config in configs]
        with running(configs[0]) as left, running(configs[1]) as right:
            grant_all(left)
            as_left, as_right = left.as_client("one", keys[0]), right.as_client("one", keys[1])
            status, first = put(left, as_left)
            assert status == 200
            assert put(right, as_right) == (200, first | {"charged": False})
            assert refusal(right, as_right, cohort="m00..m10") == "differencing"
            assert put(right, as_right, first_round=1, until_round=2, epsilon="1")[0] == 200
            assert refusal(left, as_left, first_round=2, until_round=3, epsilon="1") == "budget"
            right.http.post("/consents", content=consent_line("m07", 2, ConsentAct.REVOKE)).raise_for_status()
            assert refusal(left, as_left) == "no-consent"
            assert [each.http.get("/principles").json()["all_hold"] for each in (left, right)] == [True, True]
