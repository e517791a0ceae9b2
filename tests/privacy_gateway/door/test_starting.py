"""How the gateway starts and ends, and who may ask: one line and status 2 for what a person has to change."""

from __future__ import annotations

import datetime as dt
import socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.gateway.processes import add_client, command, running, write_config

from hushgrid.shell.runtime import run
from privacy_gateway.commands import COMMANDS
from privacy_gateway.config import GatewayConfig
from privacy_gateway.service import serve


def obey(*words: object) -> int:
    return run("hushgrid-gateway", GatewayConfig, serve, [*map(str, words)], commands=lambda: COMMANDS)


def test_clients_are_added_listed_and_removed_and_a_secret_is_shown_once(tmp_path, capsys):
    config = write_config(tmp_path)
    assert obey("client", "add", "lab", "--scope", "audit Epsilon=0.50;Purpose=research", "--config", config) == 0
    said = capsys.readouterr()
    name, secret = said.out.splitlines()
    assert name == "client_id lab"
    assert obey("client", "list", "--config", config) == 0
    assert capsys.readouterr().out == "lab Purpose=research;Epsilon=0.5 audit\n"
    kept = (tmp_path / "state" / "clients.sqlite").read_bytes()
    assert secret.split()[1].encode() not in kept
    assert (tmp_path / "state" / "clients.sqlite").stat().st_mode & 0o077 == 0
    assert obey("client", "remove", "lab", "--config", config) == 0
    assert obey("client", "list", "--config", config) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "lab"), "--scope belongs to add"),
        (("add", "a b", "--scope", "audit"), "client 'a b'"),
        (("add", "lab", "--scope", "home"), "scope home: it is for customers"),
        (("add", "lab", "--scope", ""), "could do nothing"),
        (("add", "lab", "--scope", "Purpose=gossip"), "scope Purpose='gossip'"),
        (("add", "lab", "--scope", "Purpose=research;Epsilon=1e-9"), "scope Epsilon="),
        (("add", "lab", "--scope", "Purpose=research;GroupMin=0"), "scope GroupMin="),
        (("add", "lab", "--scope", "GroupMin=3"), "names purposes"),
        (("add", "lab", "--scope", "everything"), "scope 'everything'"),
        (("remove", "lab"), "there is none of that name"),
        (("list", "lab"), "client list: expected no name"),
        (("remove",), "client remove: expected a name"),
    ],
)
def test_a_client_that_cannot_be_is_one_line_and_status_2(tmp_path, capsys, words, said):
    config = write_config(tmp_path)
    assert obey("client", *words, "--config", config) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("minimum_homes = 3", "minimum_homes = 1"), "policy.minimum_homes"),
        (("budget_epsilon = 2", "budget_epsilon = nan"), "policy.budget_epsilon"),
        (("budget_epsilon = 2", "budget_epsilon = 0"), "policy.budget_epsilon"),
        (("port = 0", 'port = 0\naddress = "0.0.0.0"'), "needs certificate_file"),
        (("port = 0", 'port = 0\naddress = "here"'), "number of an interface"),
        (("port = 0", 'port = 0\ncertificate_file = "x"'), "belong together"),
        (("port = 0", 'port = 0\ncertificate_file = "x"\nkey_file = "y"'), "listen.certificate_file"),
        (("[policy]", '[broker]\nurl = "mqtt://x"\n[policy]'), "speaks to no broker"),
        (('["m00..m11"]', '["m00..m77"]'), "results.rules.all: unknown meter m77"),
        (('url = "sqlite:///', 'url = "mysql:///'), "not in a database of the kind"),
        (("homes.txt", "nobody.txt"), "nobody.txt: No such file"),
    ],
)
def test_a_bad_value_is_one_line_and_status_2(tmp_path, capsys, change, said):
    config = write_config(tmp_path)
    text = config.read_text()
    assert change[0] in text
    config.write_text(text.replace(*change))
    assert obey("run", "--config", config) == 2
    error = capsys.readouterr().err.splitlines()
    assert said in error[-1]
    assert [line for line in error if "Traceback" in line] == []


@pytest.mark.parametrize(
    "name", ["state/audit.log", "gateway.sqlite", "consents.sqlite", "state/heads.txt", "state/keys.sqlite"]
)
def test_a_file_that_is_not_what_was_written_is_one_line_and_status_2(tmp_path, capsys, name):
    config = write_config(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / name).write_text("something else, which is long enough to be looked at as a database\n" * 20)
    assert obey("run", "--config", config) == 2
    assert name in capsys.readouterr().err.splitlines()[-1]


def test_a_port_in_use_is_one_line_and_status_2(tmp_path, capsys):
    config = write_config(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace("port = 0", f"port = {port}"))
        assert obey("run", "--config", config) == 2
    assert capsys.readouterr().err == f"hushgrid-gateway: listen 127.0.0.1 port {port}: Address already in use\n"


def test_a_log_that_does_not_continue_its_published_head_is_not_opened(tmp_path, capsys):
    config = write_config(tmp_path)
    with running(config) as gateway:
        headers = gateway.as_client("lab", add_client(config, "lab", "Purpose=operations"))
        gateway.http.post("/queries", json={"kind": "count", "cohort": "all", "first_round": 0, "until_round": 1,
                                            "purpose": "operations"}, headers=headers)  # fmt: skip
        assert gateway.http.get("/audit").json()["entries"] == 3
    log = tmp_path / "state" / "audit.log"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    assert obey("run", "--config", config) == 2
    assert "the end is missing" in capsys.readouterr().err


def certificate(folder) -> None:
    """A certificate of one's own for this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "door.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "door.key").write_bytes(key.private_bytes(*form))


def test_with_a_certificate_it_speaks_tls(tmp_path):
    certificate(tmp_path)
    listen = f'certificate_file = "{tmp_path}/door.pem"\nkey_file = "{tmp_path}/door.key"'
    with running(write_config(tmp_path, listen=listen)) as gateway:
        assert gateway.address.startswith("https://127.0.0.1:")
        assert gateway.http.get("/principles").json()["all_hold"]
        gateway.http.close()
        gateway.process.terminate()
        assert gateway.process.wait(300) == 0
        assert gateway.process.stdout.read() == ""


def test_whoever_asks_too_often_is_told_when_to_ask_again(tmp_path):
    with running(write_config(tmp_path, per_minute=3)) as gateway:
        for _ in range(1000):
            said = gateway.http.get("/audit")
            if said.status_code == 429:
                break
        assert said.json()["code"] == "too-many"
        assert 1 <= int(said.headers["Retry-After"]) <= 20


def test_the_program_is_one_command(tmp_path):
    done = command("--config", tmp_path / "missing.toml")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
