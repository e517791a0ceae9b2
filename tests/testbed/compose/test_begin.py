"""Agents of docker-compose.yml wait for the authority, and for nothing else."""

from __future__ import annotations

import re
import socket
import threading

import pytest

from testbed.compose.begin import say_if_started_again, wait_for_authority


@pytest.mark.parametrize(
    "text", ['[broker]\nurl = "mqtt://broker:1883"\n', "[authority]\n", "[authority", None],
    ids=["an open broker", "no address", "no TOML", "no file"],
)  # fmt: skip
def test_an_agent_without_an_authority_begins_at_once(text, tmp_path):
    configuration = tmp_path / "agent.toml"
    if text is not None:
        configuration.write_text(text)
    wait_for_authority(configuration)


def test_an_agent_begins_once_its_authority_listens(tmp_path):
    with socket.socket() as authority:
        authority.bind(("127.0.0.1", 0))
        configuration = tmp_path / "agent.toml"
        configuration.write_text(f'[authority]\nurl = "tls://127.0.0.1:{authority.getsockname()[1]}"\n')
        agent = threading.Thread(target=wait_for_authority, args=(configuration,))
        agent.start()
        agent.join(0.7)
        assert agent.is_alive()
        authority.listen()
        agent.join()


def test_a_container_that_is_started_again_says_so_and_another_one_does_not(tmp_path, monkeypatch, capsys):
    say_if_started_again(tmp_path)
    assert capsys.readouterr().out == ""
    say_if_started_again(tmp_path)
    assert re.fullmatch(
        "started again: .* it was killed, for the memory it took or from outside\n", capsys.readouterr().out
    )
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    say_if_started_again(tmp_path)
    assert capsys.readouterr().out == ""


def test_a_directory_that_takes_no_mark_is_the_agents_to_complain_of(tmp_path, capsys):
    say_if_started_again(tmp_path / "absent")
    assert capsys.readouterr().out == ""
