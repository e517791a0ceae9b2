"""The village's year is read once: several tests ask the same question of the same file."""

from __future__ import annotations

import functools

import pytest

from experiments.demand import command, homes, theft_command


@pytest.fixture(scope="package", autouse=True)
def read_once():
    """The same file, read once; nobody changes what was read."""
    read = functools.lru_cache(homes.read_homes)
    with pytest.MonkeyPatch.context() as patched:
        for module in (command, theft_command):
            patched.setattr(module, "read_homes", read)
        yield read
