"""What Docker refuses is one line, never its traceback."""

from __future__ import annotations

from types import SimpleNamespace

import docker
import pytest
from docker.errors import APIError

from hushgrid.errors import ConfigurationError
from testbed.faults import Harm
from testbed.launch import Launch
from testbed.run.containers import Containers, Vessel


class RefusingContainer:
    """Docker answers whatever is asked of it with two lines of a conflict."""

    id = "c1"

    def __getattr__(self, name: str):
        def refused(*_arguments: object, **_options: object) -> None:
            raise APIError(f"409 Client Error: {name}", explanation="Container c1 is paused.\nUnpause it first.")

        return refused


@pytest.fixture
async def containers(tmp_path, monkeypatch):
    refusing = RefusingContainer()
    nothing = SimpleNamespace(list=lambda **_options: [])
    engine = SimpleNamespace(ping=lambda: None, containers=nothing, networks=nothing)
    monkeypatch.setattr(docker, "from_env", lambda: engine)
    made = Containers(tmp_path)
    made.children.append(Vessel("ppn", "ppn-3", refusing))
    made._networks["grid"] = refusing
    return made


@pytest.mark.parametrize("harm", Harm)
async def test_a_harm_that_docker_refuses_is_one_line_that_names_the_agent(containers, harm):
    with pytest.raises(ConfigurationError) as refused:
        containers.hurt(harm, "ppn-3")
    assert str(refused.value) == f"ppn-3: {harm.value}: Docker: Container c1 is paused. Unpause it first."


async def test_a_liar_in_a_container_lies_to_whom_it_is_told(containers, tmp_path, monkeypatch):
    started = {}
    monkeypatch.setattr(Containers, "_give", lambda *_: None)
    monkeypatch.setattr(
        Containers,
        "_create",
        lambda *_, **more: started.update(more) or SimpleNamespace(container=SimpleNamespace(start=int)),
    )
    options = ("--towards", "consumer-1")
    containers._launch(Launch("ppn", "ppn-1", "testbed.agents.liar", tmp_path / "ppn-1.toml", options), tmp_path)
    command = [*started["entrypoint"], *started["command"]]
    assert command == ["python3", "-m", "testbed.agents.liar", *options, "--config", str(tmp_path / "ppn-1.toml")]


class EndedContainer:
    """Ended, and ends again whenever it is started."""

    id = "c2"

    def __init__(self, status: int, *, out_of_memory: bool) -> None:
        state = {"ExitCode": status, "OOMKilled": out_of_memory}
        self.attrs = {"State": state, "HostConfig": {"Memory": 512 << 20}}
        self.started = 0

    def reload(self) -> None: ...

    def start(self) -> None:
        self.started += 1

    def logs(self, tail: int) -> bytes:
        return b"its last word\n" * tail


@pytest.mark.parametrize(
    ("status", "out_of_memory", "how"),
    [
        (137, True, "ppn-2 was killed for taking more than its 512 MiB of memory"),
        (137, False, "ppn-2 ended with status 137"),
        (1, False, "ppn-2 ended with status 1"),
    ],
)
async def test_who_ends_is_named_with_how_and_started_again_and_in_the_end_not_again(
    status, out_of_memory, how, containers, caplog
):
    ended = EndedContainer(status, out_of_memory=out_of_memory)
    containers.children[:] = [Vessel("ppn", "ppn-2", ended)]
    containers._docker.containers.list = lambda **_options: [ended]
    assert [containers._restart_ended() for _ in range(20)] == [None] * 20
    assert caplog.messages == [f"{how} and is started again"] * 20
    assert containers._restart_ended() == f"{how}: its last word"
    assert ended.started == 20


async def test_what_a_person_has_to_change_is_told_at_once(containers):
    ended = EndedContainer(2, out_of_memory=False)
    containers.children[:] = [Vessel("authority", "authority", ended)]
    containers._docker.containers.list = lambda **_options: [ended]
    assert containers._restart_ended() == "authority ended with status 2: its last word"
    assert ended.started == 0
