"""Packages that are not always there, and those that are loaded late."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hushgrid.cli import is_there
from hushgrid.extras import lazily


def said_by(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    return done.stdout.strip()


def test_a_lazy_module_is_run_when_something_of_it_is_asked_for() -> None:
    assert said_by("""
import sys
from hushgrid.cli import is_there
from hushgrid.extras import lazily
colours = lazily("colorsys")
print("ONE_THIRD" in object.__getattribute__(colours, "__dict__"), colours.ONE_THIRD < 1, lazily("colorsys") is colours)
""") == ("False True True")


def test_a_lazy_module_that_is_not_installed_is_named_at_once() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module") as refused:
        lazily("no_such_module")
    assert refused.value.name == "no_such_module"


def test_the_command_of_the_testbed_starts_without_what_draws_graphs() -> None:
    assert said_by("import sys, testbed.command; print('networkx.algorithms' in sys.modules)") == "False"


@pytest.mark.parametrize(
    ("module", "there"),
    [
        ("hushgrid.cli", True),
        ("hushgrid", True),
        ("hushgrid.no_such_module", False),
        ("no_such_package", False),
        ("no_such_package.command", False),
    ],
)
def test_a_package_that_an_image_does_not_hold_is_not_there(module: str, there: bool) -> None:
    assert is_there(module) is there
