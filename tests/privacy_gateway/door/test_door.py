"""The gateway as a process of its own, over HTTP: who is let in, what is refused and why, what a customer sees."""

from __future__ import annotations

import base64
import json

import pytest
from support.gateway import HOMES
from support.gateway.desks import KEYS, consent_line
from support.gateway.processes import add_client, clients, running, sign_in_line, write_config

from hushgrid.core.schedule import round_start, utc_text
from hushgrid.statements.consent import ConsentAct
from privacy_gateway.audit.chain import START, verify

PLAIN = {"kind": "sum", "cohort": "all", "first_round": 0, "until_round": 1, "purpose": "operations", "epsilon": "0.1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("door")


@pytest.fixture(scope="module")
def gateway(folder):
    config = write_config(folder)
    bill = {
        "rule": "bills", "number": 9, "start_utc": utc_text(round_start(0, 3600)), "first_round": 0, "last_round": 23,
        "status": "released", "rounds": 24, "omitted": [], "reason": "",
    }  # fmt: skip
    rows = [bill | {"meter": home, "watt_hours": 70_000 + at} for at, home in enumerate(HOMES[:2])]
    rows.append(bill | {"meter": "m08", "watt_hours": 2**60})
    rows.append(bill | {"meter": "m09", "watt_hours": "many"})
    (folder / "bills.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows) + '{"meter": "m00", "torn')
    secrets = {
        "lab": add_client(config, "lab", "Purpose=operations_research ledger"),
        "regulator": add_client(config, "regulator", "audit ledger"),
    }
    with running(config) as started:
        started.secrets = secrets
        yield started


@pytest.fixture
def lab(gateway):
    return gateway.as_client("lab", gateway.secrets["lab"])


def refused(response, status: int) -> str:
    assert response.status_code == status, response.text
    said = response.json()
    assert said.keys() <= {"code", "sentence", "error"}
    assert said["sentence"].isprintable()
    return said["code"]


def test_an_answer_says_what_it_is_about_and_what_it_cost(gateway, lab):
    said = gateway.http.post("/queries", json=PLAIN, headers=lab).json()
    assert (said["homes"], said["included"], said["epsilon"], said["charged"]) == (12, 12, 0.1, True)
    again = gateway.http.get(f"/queries/{said['id']}", headers=lab).json()
    assert again == said | {"charged": False}
    assert gateway.http.post("/queries", json=PLAIN | {"cohort": HOMES}, headers=lab).json() == again


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"purpose": "research"}, 403, "no-consent"),
        ({"purpose": "statistics"}, 403, "not-admitted"),
        ({"cohort": "m99"}, 422, "unknown-cohort"),
        ({"cohort": ["m00", "m01"]}, 409, "too-few-homes"),
        ({"until_round": 99}, 409, "not-yet-future"),
        ({"cohort": "m00..m04"}, 409, "not-summed"),
        ({"epsilon": "1.5"}, 422, "epsilon-too-large"),
        ({"epsilon": None, "error_watt_hours": "1"}, 422, "error-too-small"),
        ({"kind": "quantile", "quantile_percent": 50}, 409, "not-yet-distribution"),
    ],
)
def test_a_question_is_refused_with_its_reason_and_nothing_is_charged(gateway, lab, changed, status, code):
    before = gateway.http.get("/ledger", headers=lab).json()
    question = {name: value for name, value in (PLAIN | changed).items() if value is not None}
    assert refused(gateway.http.post("/queries", json=question, headers=lab), status) == code
    assert gateway.http.get("/ledger", headers=lab).json() == before


def test_an_unknown_purpose_is_refused_with_those_that_are_known(gateway, lab):
    response = gateway.http.post("/queries", json=PLAIN | {"purpose": "planning"}, headers=lab)
    assert refused(response, 422) == "not-understood"
    assert "'research' or 'services'" in response.json()["sentence"]


BODIES = [
    b"", b"{", b"[]", b"null", b"\xff\xfe{}", b"\x1f\x8b\x08\x00", b'{"kind": NaN}', b"[" * 100_000, b'{"a":' * 50_000,
    json.dumps(PLAIN | {"epsilon": 10**400}).encode(), json.dumps(PLAIN | {"first_round": 10**400}).encode(),
    json.dumps(PLAIN | {"first_round": -1}).encode(), json.dumps(PLAIN | {"first_round": 0.5}).encode(),
    json.dumps(PLAIN | {"epsilon": float("nan")}).encode(), json.dumps(PLAIN | {"cohort": "\ud800"}).encode(),
    json.dumps(PLAIN | {"cohort": {"a": [1]}}).encode(), json.dumps(PLAIN | {"\u2028": 1}).encode(),
    json.dumps(PLAIN).encode("utf-16"), json.dumps(PLAIN | {"until_round": 2**62, "first_round": 2**62 - 1}).encode()[:-1],
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_what_is_not_understood_is_the_askers_fault_and_said_so(gateway, lab, body):
    assert refused(gateway.http.post("/queries", content=body, headers=lab), 422) == "not-understood"
    assert gateway.http.post("/disputes", content=body, headers=lab).status_code == 403
    assert gateway.http.post("/consents", content=body).status_code in {400, 413}
    assert gateway.http.post("/oauth/token", content=body).status_code == 400


def test_what_is_too_large_is_refused_before_it_is_read(gateway, lab):
    assert refused(gateway.http.post("/queries", content=b"x" * 2_000_000, headers=lab), 413) == "too-large"
    pieces = (b"x" * 100_000 for _ in range(20))
    assert refused(gateway.http.post("/queries", content=pieces, headers=lab), 413) == "too-large"


def test_whoever_shows_no_token_of_this_gateway_is_not_let_in(gateway, lab):
    for headers in (
        {}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic eDp5"},
        {"Authorization": lab["Authorization"] + "x"}, {"Authorization": b"Bearer \xff\xfe"},
        {"Authorization": "Bearer " + "eyJhbGciOiJub25lIn0.eyJzdWIiOiJsYWIifQ."},
    ):  # fmt: skip
        response = gateway.http.post("/queries", json=PLAIN, headers=headers)
        assert refused(response, 401) == "not-signed-in"
        assert "Bearer" in response.headers["WWW-Authenticate"]


def test_a_token_is_given_for_the_secret_and_no_wider_than_granted(gateway):
    secret = gateway.secrets["lab"]
    assert (
        refused(gateway.token("lab", secret + "x"), 401)
        == refused(gateway.token("nobody", secret), 401)
        == "invalid-client"
    )
    assert refused(gateway.token("lab", secret, "audit"), 400) == "invalid-scope"
    assert refused(gateway.token("lab", secret, "Purpose=services"), 400) == "invalid-scope"
    given = gateway.token("lab", secret, "Purpose=operations;Epsilon=0.01").json()
    assert given["scope"] == "Purpose=operations;Epsilon=0.01"
    narrow = {"Authorization": f"Bearer {given['access_token']}"}
    assert refused(gateway.http.post("/queries", json=PLAIN, headers=narrow), 403) == "not-admitted"
    assert refused(gateway.http.get("/ledger", headers=narrow), 403) == "insufficient-scope"
    basic = base64.b64encode(f"lab:{secret}".encode()).decode()
    said = gateway.http.post(
        "/oauth/token", data={"grant_type": "client_credentials"}, headers={"Authorization": f"Basic {basic}"}
    )
    assert said.json()["token_type"] == "Bearer"
    assert said.headers["Cache-Control"] == "no-store"


def test_a_client_that_is_removed_is_not_let_in_any_more(gateway, folder):
    config = folder / "state.toml"
    secret = add_client(config, "passing", "Purpose=operations")
    headers = gateway.as_client("passing", secret)
    assert gateway.http.post("/queries", json=PLAIN, headers=headers).status_code == 200
    with clients(config) as book:
        book.remove("passing")
    assert refused(gateway.http.post("/queries", json=PLAIN, headers=headers), 401) == "not-signed-in"


def test_a_customer_sees_their_own_home_and_no_other(gateway):
    m00 = gateway.as_customer("m00")
    me = gateway.http.get("/me", headers=m00).json()
    assert (me["meter"], [bill["watt_hours"] for bill in me["bills"]]) == ("m00", [70_000])
    feed = gateway.http.get("/me", headers=m00 | {"Accept": "application/atom+xml"})
    assert feed.headers["content-type"].startswith("application/atom+xml")
    assert "70000" in feed.text
    assert "70001" not in feed.text
    assert gateway.http.get("/me/green-button", headers=m00).status_code == 200
    seen = gateway.http.get("/me", headers=m00).json()["disclosures"]
    assert {each["what"] for each in seen} == {"bills", "green-button"}
    assert gateway.http.get("/me", headers=gateway.as_customer("m05")).json()["disclosures"] == []
    assert refused(gateway.http.post("/queries", json=PLAIN, headers=m00), 403) == "not-admitted"
    assert refused(gateway.http.get("/audit/entries", headers=m00), 403) == "insufficient-scope"


def test_bills_that_are_not_understood_stop_nobody_else(gateway):
    m08, m09 = gateway.as_customer("m08"), gateway.as_customer("m09")
    assert gateway.http.get("/me", headers=m08).json()["bills"][0]["watt_hours"] == 2**60
    for path, headers in (("/me/green-button", m08), ("/me", m09), ("/me/green-button", m09)):
        assert refused(gateway.http.get(path, headers=headers), 503) == "unavailable"
    assert gateway.http.get("/me", headers=gateway.as_customer("m00")).status_code == 200
    assert "many" not in gateway.log.read_text()


def test_a_sign_in_serves_its_own_meter_this_gateway_and_once(gateway):
    def tried(line: bytes):
        form = {"grant_type": "urn:hushgrid:meter-signature", "statement": line.decode()}
        return gateway.http.post("/oauth/token", data=form)

    def drawn() -> str:
        return gateway.http.post("/oauth/challenge").json()["challenge"]

    line = sign_in_line("m00", drawn())
    assert tried(line).status_code == 200
    for wrong in (
        line, sign_in_line("m00", drawn(), by="m01"), sign_in_line("m00", drawn(), gateway="elsewhere"),
        sign_in_line("m00", drawn(), grid="other"), sign_in_line("m00", "ab" * 40), consent_line("m00", 7, ConsentAct.GRANT),
    ):  # fmt: skip
        assert refused(tried(wrong), 400).startswith("statement-")
    assert set(KEYS) == set(HOMES)


def test_disputes_are_ones_own(gateway):
    m02, m03 = gateway.as_customer("m02"), gateway.as_customer("m03")
    said = gateway.http.post("/disputes", json={"about": "bill of June", "text": "I was away."}, headers=m02)
    assert said.status_code == 201
    assert gateway.http.get("/disputes", headers=m02).json() == {"disputes": [said.json()]}
    assert gateway.http.get("/disputes", headers=m03).json() == {"disputes": []}
    assert (
        refused(gateway.http.post("/disputes", json={"about": "", "text": "x"}, headers=m02), 422) == "not-understood"
    )


def test_the_log_is_for_the_regulator_and_continues_its_head(gateway, lab):
    head = gateway.http.get("/audit").json()
    regulator = gateway.as_client("regulator", gateway.secrets["regulator"])
    pages = [
        gateway.http.get(f"/audit/entries?after={at}&limit=50", headers=regulator).content
        for at in range(0, head["entries"], 50)
    ]
    lines = b"".join(pages).splitlines(keepends=True)[: head["entries"]]
    assert verify(lines).digest.hex() == head["digest"]
    assert verify([]) == START
    assert refused(gateway.http.get("/audit/entries", headers=lab), 403) == "insufficient-scope"
    assert refused(gateway.http.get("/audit/entries?after=-1", headers=regulator), 422) == "not-understood"
    assert refused(gateway.http.get("/audit/entries?limit=x", headers=regulator), 422) == "not-understood"


def test_all_principles_hold(gateway):
    said = gateway.http.get("/principles").json()
    assert said["all_hold"], said
    assert len(said["principles"]) == 8


def test_what_there_is_not_is_said_in_the_same_form(gateway):
    assert refused(gateway.http.get("/nothing"), 404) == "not-found"
    response = gateway.http.delete("/queries")
    assert refused(response, 405) == "method-not-allowed"
    assert "POST" in response.headers["Allow"]


def test_neither_ids_nor_energy_nor_addresses_are_in_what_is_logged(gateway, folder):
    written = gateway.log.read_text() + (folder / "state" / "audit.log").read_text()
    assert [home for home in HOMES if home in written] == []
    assert [word for word in ("70000", "127.0.0.1", "I was away") if word in written] == []
