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
