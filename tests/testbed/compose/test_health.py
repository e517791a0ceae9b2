"""What the check tells of containers that are not well."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest

from testbed.brokers.broker import RunningBroker
from testbed.brokers.doors import write_doors
from testbed.compose.health import NOT_RUNNING, count_of, listening, not_there, not_usable, not_well

SERVICES = ("configurator", "ppn-1", "ppn-2")
METERS = ("meter-1", "meter-2")


def test_who_runs_and_was_heard_is_well():
    assert not_well(SERVICES, METERS, {*SERVICES, *METERS}, lambda _service: 1) == {}


def test_who_does_not_run_is_told_from_who_runs_and_was_not_heard():
    found = not_well(SERVICES, METERS, {"configurator", "ppn-1", *METERS}, lambda service: int(service != "ppn-1"))
    assert found == {
        "ppn-1": "its container does not run, or ends again and again",
        "ppn-2": "its container runs and nothing came from it to the broker",
    }


def test_meters_are_told_by_their_number():
    found = not_well((), METERS, {"meter-1"}, lambda _service: 1)
    assert found == {"meter": "nothing came from 1 of 2; 1 containers run"}


def test_a_name_that_nobody_has_counts_as_none():
    assert count_of("nobody.invalid") == 0


def test_a_broker_that_does_not_run_is_named_and_not_tried():
    open_broker = RunningBroker(("mqtt://nobody.invalid:1883",), "the broker")
    assert not_there(open_broker, lambda _service: 0) == {"broker": NOT_RUNNING}
    assert not_there(open_broker, lambda _service: 1) == {}
    assert asyncio.run(not_usable(open_broker, lambda _service: 0)) == {"broker": NOT_RUNNING}


@pytest.mark.parametrize("secure", [False, True], ids=["open", "secure"])
def test_a_broker_that_runs_and_takes_nobody_in_is_named_with_what_it_says(secure):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"mqtt{'s' * secure}://127.0.0.1:{unused.getsockname()[1]}"
    found = asyncio.run(not_usable(RunningBroker((url,), "the broker"), lambda _service: 1))
    assert set(found) == {"broker"}
    assert found["broker"].startswith("its container runs and it does not take the conductor in: ")
    assert re.search("refused|failed", found["broker"])


def test_the_authority_is_needed_where_the_broker_has_doors(tmp_path):
    secure = write_doors(tmp_path, "grid", ["broker"], "authority")
    assert not_there(secure, lambda service: int(service == "broker")) == {"authority": NOT_RUNNING}


async def test_who_listens_is_found_and_who_does_not_is_given_up():
    with socket.socket() as authority:
        authority.bind(("127.0.0.1", 0))
        port = authority.getsockname()[1]
        assert not await listening("127.0.0.1", port, 0.0)
        authority.listen()
        assert await listening("127.0.0.1", port, 0.0)
