"""A gateway under way: asked by many at once, while its consumer goes on writing, by an issuer outside, and when its disk fails."""

from __future__ import annotations

import concurrent.futures
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from support.gateway.desks import row
from support.gateway.processes import PATIENCE_SECONDS, add_client, running, write_config

PLAIN = {"kind": "sum", "cohort": "all", "first_round": 0, "until_round": 1, "purpose": "operations", "epsilon": "0.5"}


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path)


@pytest.fixture
def secret(config):
    return add_client(config, "lab", "Purpose=operations ledger")


def test_of_many_who_ask_at_once_one_is_charged_and_all_get_one_answer(config, secret):
    with running(config) as gateway:
        lab = gateway.as_client("lab", secret)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            said = [
                each.json()
                for each in pool.map(lambda _: gateway.http.post("/queries", json=PLAIN, headers=lab), range(16))
            ]
        assert sum(each.pop("charged") for each in said) == 1
        assert all(each == said[0] for each in said)
        assert len(gateway.http.get("/ledger", headers=lab).json()["charges"]) == 1


def test_what_the_consumer_writes_can_be_asked_about_and_a_bad_line_is_refused_by_its_number(config, secret, tmp_path):
    with running(config) as gateway:
        lab = gateway.as_client("lab", secret)
        later = PLAIN | {"first_round": 24, "until_round": 25}
        assert gateway.http.post("/queries", json=later, headers=lab).json()["code"] == "not-yet-future"
        with (tmp_path / "results.jsonl").open("a") as file:
            file.write(
                '{"rule": "all"}\n' + json.dumps(row("all", 24, 25)) + "\n" + json.dumps(row("all", 25, 26))[:-9]
            )
        end = time.monotonic() + PATIENCE_SECONDS
        while (
            said := gateway.http.post("/queries", json=later, headers=lab)
        ).status_code != 200 and time.monotonic() < end:
            time.sleep(0.05)
        assert said.json()["homes"] == 12
        further = PLAIN | {"first_round": 25, "until_round": 26}
        assert gateway.http.post("/queries", json=further, headers=lab).json()["code"] == "not-yet-future"
    assert "results.jsonl: line 97: " in gateway.log.read_text()
    assert str(row("all", 24, 25)["watt_hours"]) not in gateway.log.read_text()


def test_where_the_disk_does_not_take_the_log_nothing_leaves_and_the_gateway_ends(config, secret, tmp_path):
    with running(config) as gateway:
        lab = gateway.as_client("lab", secret)
        with (tmp_path / "state" / "audit.log").open("a") as file:
            file.write("somebody else\n")
        said = gateway.http.post("/queries", json=PLAIN, headers=lab)
        assert (said.status_code, said.json()["code"]) == (503, "unavailable")
        assert gateway.process.wait(PATIENCE_SECONDS) == 1
    last = gateway.log.read_text().splitlines()[-1]
    assert last.startswith("hushgrid-gateway: ")
    assert last.endswith("somebody else has changed it")


def test_a_client_of_an_issuer_outside_does_what_it_was_granted_here(config, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "keys.json").write_text(
        json.dumps({"keys": [ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "one"}]})
    )
    with config.open("a") as file:
        file.write(f'[issuer]\nurl = "https://issuer"\naudience = "gateway"\nkeys_file = "{tmp_path}/keys.json"\n')
    add_client(config, "lab", "Purpose=operations")

    def headers(**changed) -> dict[str, str]:
        said = {"iss": "https://issuer", "aud": "gateway", "azp": "lab", "exp": int(time.time()) + 3600} | changed
        return {"Authorization": "Bearer " + jwt.encode(said, key, algorithm="ES256", headers={"kid": "one"})}

    with running(config) as gateway:

        def asked(**changed) -> str:
            response = gateway.http.post("/queries", json=PLAIN, headers=headers(**changed))
            return response.json().get("code", "answered")

        assert asked(azp="nobody") == asked(aud="elsewhere") == asked(exp=1) == "not-signed-in"
        assert asked(scope="Purpose=operations;GroupMin=13") == "too-few-homes"
        assert asked(scope="Purpose=research") == "not-admitted"
        assert asked() == asked(scope="openid") == "answered"
