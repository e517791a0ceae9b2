"""A desk that everybody is expected at, and one that everybody has come to."""

from __future__ import annotations

import pytest
from support.desk import CONSUMERS, METERS, PPNS, Desk

from hushgrid.wire.role import Role


@pytest.fixture
def desk(tmp_path):
    found = Desk(tmp_path)
    found.expect(Role.METER, *METERS)
    found.expect(Role.PPN, *PPNS)
    found.expect(Role.CONSUMER, *CONSUMERS)
    yield found
    found.close()


@pytest.fixture
def ready(desk):
    """Everybody is enrolled, nobody has asked."""
    desk.enrol(Role.METER, *METERS)
    desk.enrol(Role.PPN, *PPNS)
    desk.enrol(Role.CONSUMER, *CONSUMERS)
    return desk
