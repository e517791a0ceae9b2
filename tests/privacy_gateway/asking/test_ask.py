"""`hushgrid ask`: what it sends, what it says, and what it refuses in one line before it says anything to anybody."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from privacy_gateway.asking.command import ask

SECRET = "s3cret-of-a-client"
ANSWER = {
    "id": "0" * 64, "kind": "sum", "values": [1234567], "half_width": 14979, "confidence_percent": 95, "epsilon": 0.5, "rho": 0.0,
    "charged": True, "epsilon_left": 1.5, "included": 47990, "expected": 48000, "homes": 1000, "noise_by": "gateway",
    "mechanism": "laplace", "sampler": "OpenDP 0.16",
}  # fmt: skip


class Door:
    """Answers as a gateway's door does, and keeps what it was told."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (200, json.dumps(ANSWER).encode())
        self.asked: list[dict] = []
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, said = door.post(self.path, body, self.headers.get("Authorization"))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def post(self, path: str, body: bytes, authorization: str | None) -> tuple[int, bytes]:
        if path == "/oauth/token":
            form = dict(urllib.parse.parse_qsl(body.decode()))
            if form == {"grant_type": "client_credentials", "client_id": "researcher", "client_secret": SECRET}:
                return 200, b'{"access_token": "t", "token_type": "Bearer", "expires_in": 60, "scope": ""}'
            return 401, b'{"code": "invalid-client", "sentence": "There is no such client, or that is not its secret."}'
        assert (path, authorization) == ("/queries", "Bearer t")
        self.asked.append(json.loads(body))
        return self.answer


@pytest.fixture
def door() -> Iterator[Door]:
    opened = Door()
    serving = threading.Thread(target=opened.server.serve_forever, args=(0.01,))
    serving.start()
    yield opened
    opened.server.shutdown()
    serving.join()
    opened.server.server_close()


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    return path


def asked(address, secret, *arguments, kind="sum", rounds="0..47", columns="80", client="researcher"):
    given = [
        kind, "--gateway", address, "--client", client, "--secret-file", str(secret), "--rounds", rounds,
        "--purpose", "operations", *arguments,
    ]  # fmt: skip
    return CliRunner().invoke(ask, given, env={"COLUMNS": columns})


def test_an_answer_is_said_in_sentences_that_fit(door, secret):
    result = asked(door.address, secret, "--epsilon", "0.5", "--cohort", "m000..m998, m999")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "sum of 1,000 homes, rounds 0 to 47, for operations",
        "1,234,567 Wh",
        "+-14,979 Wh with 95 % confidence: laplace noise, drawn by the gateway",
        "47,990 of 48,000 readings are in it",
        "charged epsilon 0.5 to each home; an epsilon of 1.5 is left to all of them",
    ]
    (told,) = door.asked
    assert {name: value for name, value in told.items() if value is not None} == {
        "kind": "sum", "cohort": ["m000..m998", "m999"], "first_round": 0, "until_round": 48, "purpose": "operations",
        "epsilon": "0.5",
    }  # fmt: skip


def test_errors_wanted_and_the_fields_of_other_kinds(door, secret):
    for kind, arguments, field, value in [
        ("sum", ("--error", "500"), "error_watt_hours", "500"),
        ("mean", ("--error", "2.5%"), "error_percent", "2.5"),
        ("load-curve", ("--epsilon", "1", "--step", "12"), "step_rounds", 12),
        ("histogram", ("--epsilon", "1", "--bins", "0,100,1000"), "bin_edges_watt_hours", [0, 100, 1000]),
        ("quantile", ("--epsilon", "1", "--quantile", "95"), "quantile_percent", "95"),
        ("share-above", ("--epsilon", "1", "--threshold", "-5"), "threshold_watt_hours", -5),
    ]:
        assert asked(door.address, secret, *arguments, kind=kind).exit_code == 0
        assert door.asked.pop()[field] == value


def test_a_curve_is_a_table_and_a_repeated_answer_is_free(door, secret):
    curve = ANSWER | {"kind": "load-curve", "values": [-1000, 2500.5], "charged": False, "rho": 0.25, "epsilon": 0.0}
    door.answer = 200, json.dumps(curve).encode()
    said = asked(door.address, secret, "--epsilon", "0.5", "--step", "24", kind="load-curve").output
    assert "0 to 23    -1,000\n" in said
    assert "24 to 47  2,500.5\n" in said
    assert "answered before (rho 0.25 to each home then): free now" in said


def test_json_is_what_the_gateway_said(door, secret):
    assert json.loads(asked(door.address, secret, "--epsilon", "1", "--json").output) == ANSWER


def test_a_refusal_has_its_code_and_status_1(door, secret):
    door.answer = (
        409,
        b'{"code": "differencing", "sentence": "Combined with what was answered before it would be too few."}',
    )
    result = asked(door.address, secret, "--epsilon", "1")
    assert result.exit_code == 1
    assert result.stderr == (
        "hushgrid: refused, differencing: Combined with what was answered before it would be too few.\n"
    )
    result = asked(door.address, secret, "--epsilon", "1", client="nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("hushgrid: refused, invalid-client: ")


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b"<html>"), (200, b"[]"), (200, b"{}"), (500, b"oops"), (302, b""), (200, b"[" * 10000),
        *((200, json.dumps(ANSWER | {name: value}).encode()) for name, value in [
            ("values", ["1"]), ("values", None), ("half_width", True), ("epsilon_left", None), ("included", "many"),
            ("values", [float("nan")]), ("homes", float("inf")),
        ]),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_understood_is_no_number(door, secret, status, content):
    door.answer = status, content
    result = asked(door.address, secret, "--epsilon", "1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"hushgrid: {door.address}: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--epsilon", "1", "--error", "5"), "exactly one of epsilon"),
        ((), "exactly one of epsilon"),
        (("--epsilon", "nan"), "epsilon"),
        (("--epsilon", "-1"), "epsilon"),
        (("--error", "%"), "error_percent"),
        (("--epsilon", "1", "--rounds", "5..4"), "--rounds 5..4"),
        (("--epsilon", "1", "--rounds", "-3"), "--rounds -3"),
        (("--epsilon", "1", "--rounds", "1" * 5000), "--rounds"),
        (("--epsilon", "1", "--bins", "1,x"), "--bins x"),
        (("--epsilon", "1", "--bins", "1,2"), "bin_edges_watt_hours"),
        (("--epsilon", "1", "--gateway", "http://example.org"), "over https only"),
        (("--epsilon", "1", "--gateway", "ftp://127.0.0.1"), "expected https://HOST:PORT"),
        (("--epsilon", "1", "--gateway", "http://127.0.0.1:x"), "expected https://HOST:PORT"),
        (("--epsilon", "1", "--secret-file", "nowhere"), "nowhere: No such file"),
        (("--epsilon", "1", "--ca", "nowhere"), "nowhere: No such file"),
    ],
)
def test_bad_input_is_one_line_and_nobody_hears_of_it(door, secret, arguments, named):
    result = asked(door.address, secret, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert named in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert door.asked == []


def test_nobody_there_is_said(secret):
    result = asked("http://127.0.0.1:1", secret, "--epsilon", "1")
    assert result.exit_code == 2
    assert result.stderr == "hushgrid: http://127.0.0.1:1: Connection refused\n"
