"""`hushgrid enrol` as an operator mistypes it: one line says what is wrong, exit status 2, and nothing has changed."""

from __future__ import annotations

import grp
import os
import pwd
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from configurator.authority.authority import Authority, utc_now
from configurator.authority.command import enrol
from configurator.names import check_agent_id, check_host, in_url
from hushgrid.wire.access import DOORS
from hushgrid.wire.role import Role


def run(*arguments: object) -> Result:
    return CliRunner().invoke(enrol, [str(argument) for argument in arguments])


def refused(result: Result, reason: str) -> None:
    assert result.exit_code == 2, (result.output, result.exception)
    assert reason in " ".join(result.output.split()), result.output
    assert "Traceback" not in result.output


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """A deployment of a meter and a PPN."""
    made = run("deployment", "--output", tmp_path / "grid", "--meters", 1, "--ppns", 1)
    assert made.exit_code == 0, made.output
    return tmp_path / "grid"


def shut_out(grid: Path) -> list[str]:
    with sqlite3.connect(grid / "authority" / "authority.sqlite") as store:
        return [agent for (agent,) in store.execute("SELECT agent FROM shut_out")]


@pytest.mark.parametrize(
    "wrong",
    [
        "--agent=../../../evil:meter", "--agent=a b:meter", "--agent=:meter", "--agent=m\n:meter", "--agent=m:cat",
        "--meters=-3", "--ppns=-1", "--consumers=-1", "--broker-host=a b", "--broker-host=", "--broker-host=300.1.1.1",
        "--authority-host=a/b", "--authority-port=99999", "--authority-port=0", "--grid=A B", "--owner=\u00b2",
        "--owner=nobody-of-this-name", "--owner=root:no-such-group",
    ],
)  # fmt: skip
def test_a_deployment_of_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, wrong: str) -> None:
    refused(run("deployment", "--output", tmp_path / "grid", wrong), wrong.split("=", maxsplit=1)[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["m", "meter-1", "Meter_1.a", "9", "m" * 64])
def test_the_ids_of_the_protocol_are_taken(name: str) -> None:
    assert check_agent_id(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "-m", "a/b", "a b", "a\n", "\u00e4", "m" * 65])
def test_other_ids_are_not(name: str) -> None:
    with pytest.raises(ValueError, match="is no agent's id"):
        check_agent_id(name)


@pytest.mark.parametrize("host", ["localhost", "nats-0.nats-nodes", "a_b", "10.0.0.1", "::1", "broker.example."])
def test_names_and_addresses_are_hosts(host: str) -> None:
    assert check_host(host) == host


@pytest.mark.parametrize("host", ["", " ", "a b", "a..b", "-a", "a:b", "[::1]", "a\n", "1.2.3.4.5", "\u00e4.example"])
def test_anything_else_is_none(host: str) -> None:
    with pytest.raises(ValueError, match="neither a host's name nor an IP address"):
        check_host(host)


def test_an_ipv6_address_is_in_brackets_in_a_url() -> None:
    assert [in_url("::1"), in_url("127.0.0.1"), in_url("broker")] == ["[::1]", "127.0.0.1", "broker"]


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("token", ["--role", "meter", "--agent", "x y"]),
        ("broker", ["--output", "broker", "--host", ""]),
        ("nats", ["--output", "nats", "--host", "a b"]),
        ("serve", ["--port", "70000"]),
        ("serve", ["--listen", "a b"]),
        ("revoke", ["--broker", "broker", "--agent", "meter-1", "--signal", "0"]),
    ],
)
def test_what_the_single_steps_are_given_is_checked(grid: Path, command: str, wrong: list[str]) -> None:
    refused(run(command, "--state", grid / "authority", *wrong), f"Invalid value for '{wrong[-2]}'")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("token", ["--agent", "meter-1", "--role", "meter"]),
        ("broker", ["--output", "broker", "--host", "broker"]),
        ("nats", ["--output", "nats", "--host", "localhost"]),
        ("serve", ["--host", "localhost"]),
        ("revoke", ["--agent", "meter-1", "--broker", "broker"]),
    ],
)
def test_only_a_deployment_makes_an_authority(tmp_path: Path, command: str, options: list[str]) -> None:
    refused(run(command, "--state", tmp_path / "wrong", *options), "wrong: there is no authority here")
    assert list(tmp_path.iterdir()) == []


def test_nobody_is_shut_out_where_the_brokers_files_are_not(grid: Path, tmp_path: Path) -> None:
    options = ["revoke", "--state", grid / "authority", "--agent", "meter-1"]
    refused(run(*options, "--broker", tmp_path / "wrong"), "meter-ca.pem: No such file or directory")
    refused(run(*options, "--broker", grid / "agents"), "the broker's files are not here")
    run("deployment", "--output", tmp_path / "other")
    refused(run(*options, "--broker", tmp_path / "other" / "broker"), "another authority's broker")
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    refused(run(*options, "--broker", grid / "broker", "--signal", int(ended.stdout)), "No such process")
    refused(run(*options[:-1], "meter-9", "--broker", grid / "broker"), "no agent meter-9 is known")
    assert shut_out(grid) == []
    done = run(*options, "--broker", grid / "broker")
    assert (done.exit_code, shut_out(grid)) == (0, ["meter-1"])


def test_the_list_of_who_is_shut_out_is_where_the_broker_reads_it(grid: Path) -> None:
    authority = Authority(grid / "authority")
    authority.issue("ppn-1", Role.PPN, "a", utc_now())
    authority.close()
    done = run("revoke", "--state", grid / "authority", "--agent", "ppn-1", "--broker", grid / "broker")
    assert done.output.startswith("ppn-1 is shut out (1 names)")
    assert len(list(x509.load_pem_x509_crl((grid / "broker" / "ppn.crl").read_bytes()))) == 1


def test_a_nats_nodes_certificate_serves_both_ends_and_only_servers_pass_for_nodes(grid: Path, tmp_path: Path) -> None:
    output = tmp_path / "nats"
    done = run(
        "nats", "--state", grid / "authority", "--output", output, "--host", "nats-0.nats-nodes", "--host", "::1"
    )
    assert done.exit_code == 0, done.output
    assert {path.name for path in output.iterdir()} == {"tls.key", "tls.crt", "ca.crt", "servers-ca.crt"}
    assert (output / "tls.key").stat().st_mode & 0o077 == 0
    signed = x509.load_pem_x509_certificate((output / "tls.crt").read_bytes())
    purposes = signed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    names = signed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["nats-0.nats-nodes"]
    (servers,) = x509.load_pem_x509_certificates((output / "servers-ca.crt").read_bytes())
    signed.verify_directly_issued_by(servers)
    believed = x509.load_pem_x509_certificates((output / "ca.crt").read_bytes())
    doors = [x509.load_pem_x509_certificate((grid / "broker" / f"{door}-ca.pem").read_bytes()) for door in DOORS]
    assert set(believed) == {servers, *doors}


@pytest.mark.parametrize("registry", [[], ["--registry"]])
def test_who_is_shut_out_gets_no_token(grid: Path, registry: list[str]) -> None:
    run("revoke", "--state", grid / "authority", "--agent", "meter-1", "--broker", grid / "broker")
    store = grid / "configurator" / "registry.sqlite"
    before = sqlite3.connect(store).execute("SELECT count(*) FROM token").fetchone()
    known = [*registry, store] if registry else []
    asked = run("token", "--state", grid / "authority", "--agent", "meter-1", "--role", "meter", *known)
    refused(asked, "meter-1 is shut out")
    assert sqlite3.connect(store).execute("SELECT count(*) FROM token").fetchone() == before


def test_a_registry_that_is_none_is_said_in_one_line(grid: Path, tmp_path: Path) -> None:
    (tmp_path / "registry").write_text("no database at all\n" * 99)
    options = ["--agent", "meter-2", "--role", "meter", "--registry", tmp_path / "registry"]
    done = run("token", "--state", grid / "authority", *options)
    assert (done.exit_code, len(done.output.splitlines())) == (1, 1), done.output
    refused(run("token", "--state", grid / "authority", *options[:-1], tmp_path / "none"), "there is no such file")
    assert not (tmp_path / "none").exists()


def test_the_configurators_own_tokens_are_for_ids_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "configurator", "token", "--config", tmp_path / "none", "--role", "meter"]
    done = subprocess.run([*command, "--agent", "x y"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert "argument --agent: 'x y' is no agent's id" in done.stderr


def test_the_brokers_configuration_names_the_files_where_they_are(grid: Path, tmp_path: Path) -> None:
    for directory in (grid / "broker", tmp_path / "again"):
        if directory.name == "again":
            done = run("broker", "--state", grid / "authority", "--output", directory, "--host", "localhost")
            assert done.exit_code == 0, done.output
        named = [line.split() for line in (directory / "mosquitto.conf").read_text().splitlines()]
        files = [Path(words[1]) for words in named if words and words[0].endswith("file")]
        assert files
        assert all(file.is_file() and file.parent == directory for file in files)
    mounted = run("broker", "--state", grid / "authority", "--output", tmp_path, "--host", "b", "--mounted", "/etc/b")
    assert mounted.exit_code == 0
    assert "acl_file /etc/b/meter.acl\n" in (tmp_path / "mosquitto.conf").read_text()


def test_the_brokers_files_are_given_to_a_user_by_name(tmp_path: Path) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    for owner in (me, f"{me}:{grp.getgrgid(os.getgid()).gr_name}", str(os.getuid())):
        done = run("deployment", "--output", tmp_path / owner, "--owner", owner)
        assert done.exit_code == 0, done.output
        assert (tmp_path / owner / "broker" / "broker.key").stat().st_uid == os.getuid()


def test_an_authority_remembers_its_grid(tmp_path: Path) -> None:
    run("deployment", "--output", tmp_path / "grid", "--grid", "village")
    state = tmp_path / "grid" / "authority"
    assert Authority.existing(state).grid == "village"
    done = run("broker", "--state", state, "--output", tmp_path / "broker", "--host", "b")
    assert done.exit_code == 0, done.output
    assert "village/" in (tmp_path / "broker" / "meter.acl").read_text()
    for command, options in (("broker", ["--output", tmp_path / "b", "--host", "b"]), ("serve", [])):
        refused(
            run(command, "--state", state, "--grid", "town", *options), "--grid town: this is the authority of village"
        )
