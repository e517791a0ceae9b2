"""The broker's files in the repository are what is made from the topics, and no channel is without its readers and writers."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner
from support import ROOT

from configurator.authority.command import enrol
from configurator.authority.mosquitto_files import PORTS, BrokerFiles
from hushgrid.wire.access import ACCESS, CONDUCTED_DOORS, door_of, publish_filters, read_filters
from hushgrid.wire.role import Role
from hushgrid.wire.topics import Channel, inbox, topic

SHIPPED = ROOT / "broker"


def test_the_shipped_files_are_the_ones_that_are_made(tmp_path: Path) -> None:
    done = CliRunner().invoke(enrol, ["acl", "--output", str(tmp_path)])
    assert done.exit_code == 0, done.output
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(made) == {"mosquitto.conf", "meter.acl", "ppn.acl", "consumer.acl", "configurator.acl"}
    assert made == {name: (SHIPPED / name).read_text() for name in made}
    assert {path.name for path in SHIPPED.glob("*.acl")} <= set(made)


def test_printed_and_written_files_are_the_same() -> None:
    printed = CliRunner().invoke(enrol, ["acl"]).output
    assert all(path.read_text() in printed for path in [SHIPPED / "mosquitto.conf", *SHIPPED.glob("*.acl")])


@pytest.mark.parametrize("channel", list(Channel))
def test_a_channel_has_somebody_who_says_and_somebody_who_hears(channel: Channel) -> None:
    assert any(channel in access.publishes for access in ACCESS.values())
    assert (
        any(channel in access.reads for access in ACCESS.values()) or channel is Channel.CLOCK
    )  # with a conductor only


@pytest.mark.parametrize("role", list(Role))
def test_every_role_has_a_door(role: Role) -> None:
    assert door_of(role) in CONDUCTED_DOORS
    assert door_of(role) in ACCESS


@pytest.mark.parametrize("door", CONDUCTED_DOORS)
def test_the_filters_are_the_topics_that_agents_build(door: Role) -> None:
    for channel in ACCESS[door].publishes:
        assert topic("g", channel, "me", "you" if channel.addressed else None).replace(
            "/you/", "/+/"
        ) in publish_filters(door, "g", "me")
    wanted = {inbox("g", channel, "me" if channel.addressed else None) for channel in ACCESS[door].reads}
    assert set(read_filters(door, "g", "me")) == wanted


def test_nobody_is_anonymous_and_every_door_asks_for_a_certificate() -> None:
    text = BrokerFiles("g", PurePosixPath("/b"), PORTS, conducted=True).configuration()
    doors = text.split("\nlistener ")[1:]
    assert len(doors) == len(CONDUCTED_DOORS)
    for door in doors:
        assert "allow_anonymous false" in door
        assert "require_certificate true" in door
        assert "use_identity_as_username true" in door
        assert "crlfile " in door
        assert "acl_file " in door
