"""What the check tells of containers that are not well."""

from __future__ import annotations

from testbed.compose.health import count_of, not_well

SERVICES = ("configurator", "ppn-1", "ppn-2")
METERS = ("meter-1", "meter-2")


def test_who_runs_and_was_heard_is_well():
    assert not_well(SERVICES, METERS, {*SERVICES, *METERS}, lambda _service: 1) == {}


def test_who_does_not_run_is_told_from_who_runs_and_was_not_heard():
    found = not_well(SERVICES, METERS, {"configurator", "ppn-1", *METERS}, lambda service: int(service != "ppn-1"))
    assert found == {
        "ppn-1": "its container does not run",
        "ppn-2": "its container runs and nothing came from it to the broker",
    }


def test_meters_are_told_by_their_number():
    found = not_well((), METERS, {"meter-1"}, lambda _service: 1)
    assert found == {"meter": "nothing came from 1 of 2; 1 containers run"}


def test_a_name_that_nobody_has_counts_as_none():
    assert count_of("nobody.invalid") == 0
