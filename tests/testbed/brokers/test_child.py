"""The testbed's broker: chosen, ready when said to be, and one clear line where it cannot be had."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from hushgrid.errors import ConfigurationError
from hushgrid.shell.transport import MqttTransport
from testbed.brokers import broker as broker_module
from testbed.brokers import engines
from testbed.brokers.broker import check_choice, start_broker
from testbed.processes import Supervisor


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    await supervisor.stop_all()
    assert supervisor.left_running() == []


@contextlib.contextmanager
def port_in_use() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


async def echo(url: str) -> bytes:
    async with MqttTransport(url, "tester") as transport:
        await transport.connected(5.0)
        await transport.subscribe("t")
        await transport.publish("t", b"hello")
        return (await asyncio.wait_for(anext(transport.messages()), 10)).payload


async def test_auto_takes_mosquitto_where_it_is_installed(
    mosquitto: str, supervisor: Supervisor, tmp_path: Path
) -> None:
    broker = await start_broker("auto", supervisor, tmp_path)
    assert broker.label == "Mosquitto"
    assert psutil.Process(supervisor.child("broker").pid).exe() == os.path.realpath(mosquitto)  # noqa: ASYNC240
    assert await echo(broker.url) == b"hello"


async def test_auto_takes_the_embedded_one_elsewhere_and_says_what_it_is(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "mosquitto_path", lambda: None)
    broker = await start_broker("auto", supervisor, tmp_path)
    assert "for demonstrations" in broker.label
    assert await echo(broker.url) == b"hello"


async def test_only_loopback_is_served(mosquitto: str, supervisor: Supervisor, tmp_path: Path) -> None:  # noqa: ARG001
    for choice in ("mosquitto", "embedded"):
        await start_broker(choice, supervisor, tmp_path / choice)
        child = supervisor.children[-1]
        listening = [
            c.laddr.ip for c in psutil.Process(child.pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN
        ]
        assert listening == ["127.0.0.1"]


async def test_a_broker_that_runs_already_is_used(mosquitto: str, supervisor: Supervisor, tmp_path: Path) -> None:  # noqa: ARG001
    running = await start_broker("mosquitto", supervisor, tmp_path)
    broker = await start_broker(running.url, supervisor, tmp_path)
    assert (broker.url, broker.label) == (running.url, f"broker at {running.url}")
    assert len(supervisor.children) == 1


async def test_several_testbeds_at_once_have_a_broker_each(
    mosquitto: str,  # noqa: ARG001
    supervisor: Supervisor,
    tmp_path: Path,
) -> None:
    brokers = await asyncio.gather(*(start_broker("mosquitto", supervisor, tmp_path / str(n)) for n in range(8)))
    assert len({broker.url for broker in brokers}) == 8


async def test_afree_port_that_is_taken_meanwhile_is_tried_again(
    mosquitto: str,  # noqa: ARG001
    supervisor: Supervisor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = await start_broker("mosquitto", supervisor, tmp_path / "other")
    ports = [int(other.url.rpartition(":")[2]), engines.free_port()]
    monkeypatch.setattr(engines, "free_port", lambda: ports.pop(0))
    broker = await start_broker("mosquitto", supervisor, tmp_path / "own")
    assert broker.url != other.url
    assert ports == []
    assert not supervisor.failure.done()
    assert [child.running for child in supervisor.children] == [True, True]


@pytest.mark.parametrize("choice", ["mosquitto", "embedded"])
async def test_a_port_in_use_is_one_clear_line(
    choice: str,
    mosquitto: str,  # noqa: ARG001
    supervisor: Supervisor,
    tmp_path: Path,
) -> None:
    with port_in_use() as port, pytest.raises(ConfigurationError, match=f"^port {port} is in use$"):
        await start_broker(choice, supervisor, tmp_path, port)
    assert supervisor.children == []


def test_mosquitto_asked_for_but_not_installed_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "program", lambda _name: None)
    with pytest.raises(ConfigurationError, match="Mosquitto is not installed"):
        check_choice("mosquitto")
    check_choice("auto")


async def test_a_broker_that_does_not_answer_is_one_clear_line(supervisor: Supervisor, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound, not listening
        url = f"mqtt://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=f"^no broker answers at {url}: .*refused"):
            await start_broker(url, supervisor, tmp_path)


async def test_something_that_is_no_broker_is_one_clear_line(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "_URL_SECONDS", 0.5)
    with port_in_use() as port, pytest.raises(ConfigurationError, match=r"^no broker answers at"):
        await start_broker(f"mqtt://127.0.0.1:{port}", supervisor, tmp_path)


async def test_a_broker_that_cannot_start_says_why(
    mosquitto: str,  # noqa: ARG001
    supervisor: Supervisor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "_MOSQUITTO_CONFIGURATION", "listener {port} 127.0.0.1\nno_such_option true\n")
    with pytest.raises(ConfigurationError, match=r"the broker did not start on port .*mosquitto.conf:2"):
        await start_broker("mosquitto", supervisor, tmp_path)
