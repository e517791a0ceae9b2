"""What runs in an image needs nothing beyond the extra that is installed there."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"ortools", "pyarrow", "amqtt", "matplotlib", "docker", "pandas"}
NUMBERS = {"numpy", "networkx"}
#: What the images have no copy of.
PACKAGES = {"grid_operator", "privacy_gateway"}
TERMINAL = {"click", "rich", "psutil", "tomli_w"}
TABLES = {"sqlalchemy", "alembic", "psycopg"}

_IMPORT = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
for module in {modules}:
    importlib.import_module(module)
"""


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        pytest.param(
            ["testbed.compose.setup", "testbed.compose.check", "testbed.compose.watch", "testbed.command",
             "configurator.authority.command"], HEAVY | TABLES, id="testbed",
        ),
        pytest.param(["testbed.compose.slot", "testbed.agents.fleet"], HEAVY | NUMBERS | TERMINAL | TABLES, id="meter"),
        pytest.param(
            ["testbed.compose.begin", "ppn_node.__main__", "testbed.agents.ppn", "testbed.agents.liar"],
            HEAVY | TERMINAL | TABLES | {"networkx"}, id="ppn",
        ),
        pytest.param(["consumer_node.__main__", "testbed.compose.begin"], HEAVY | TERMINAL | {"networkx", "psycopg"}, id="consumer"),
        pytest.param(
            ["configurator.__main__", "testbed.compose.begin"], (HEAVY - {"ortools", "pandas"}) | TERMINAL | TABLES,
            id="configurator",
        ),
    ],
)  # fmt: skip
def test_the_modules_of_an_image_can_be_imported_there(modules, absent):
    program = _IMPORT.format(absent=sorted(absent | PACKAGES), modules=modules)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
