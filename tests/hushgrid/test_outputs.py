"""Results are never written over, and where a package is missing the checkout says how it is got."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import ROOT

from hushgrid.cli import loaded
from hushgrid.errors import ConfigurationError
from hushgrid.extras import how_to_install
from hushgrid.outputs import check_new, check_outputs, write_json


def test_a_file_is_written_once(tmp_path):
    path = tmp_path / "a.json"
    check_new(path, None)
    write_json(path, {"a": 1})
    for again in (lambda: check_new(path), lambda: write_json(path, {"a": 2})):
        with pytest.raises(ConfigurationError, match="is there already, and nothing is written over"):
            again()
    assert path.read_text() == '{\n "a": 1\n}\n'
    check_outputs(path)


def test_a_place_that_is_no_file_is_refused_and_a_device_is_none_to_protect(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no directory"):
        check_new(tmp_path / "no" / "a.json")
    with pytest.raises(ConfigurationError, match="is a directory"):
        check_new(tmp_path)
    with pytest.raises(ConfigurationError, match=r"no/a\.json"):
        write_json(tmp_path / "no" / "a.json", {})
    write_json(Path("/dev/null"), {})


def test_a_missing_package_is_a_line_that_names_the_checkouts_way():
    command = loaded("hushgrid dance", "tests_of_nothing_that_is_there", "dance", "docker")
    ran = CliRunner().invoke(command, ["--any", "thing"])
    assert ran.exit_code == 2
    assert "hushgrid dance needs tests_of_nothing_that_is_there, which is not installed" in ran.output
    assert "in hushgrid's checkout: .venv/bin/pip install -e '.[docker]'" in ran.output
    assert "Traceback" not in ran.output


def test_no_advice_sends_anybody_to_an_index_where_hushgrid_is_not():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".sh", ".yml", ".yaml", ".html", ""} and not name.startswith(
            "tests/"
        ):
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not re.search(r"pip3? install [^\n]*\bhushgrid(\[|'|\"|`|\s|$)", text), name


def test_the_extras_that_are_named_are_there():
    text = (ROOT / "pyproject.toml").read_text()
    extras = set(re.findall(r"^(\w+) = \[", text.partition("[project.optional-dependencies]")[2], re.MULTILINE))
    for path in ROOT.glob("[a-z]*/**/*.py"):
        if path.parts[len(ROOT.parts)] != "tests":
            named = re.findall(r"""(?:not_installed|how_to_install|loaded)\([^\n]*["'](\w+)["']\)""", path.read_text())
            assert set(named) <= extras, path
    assert how_to_install("docker").endswith("-e '.[docker]'")


@pytest.mark.parametrize(
    ("module", "program", "absent", "extra"),
    [
        ("testbed.__main__", "hushgrid", "click", "testbed"),
        ("testbed.__main__", "hushgrid", "rich", "testbed"),
        ("ppn_node.__main__", "hushgrid-ppn", "numpy", "ppn"),
        ("configurator.__main__", "hushgrid-configurator", "networkx", "configurator"),
    ],
)
def test_a_role_without_its_packages_ends_with_one_line(module, program, absent, extra):
    code = f"import sys, runpy; sys.modules[{absent!r}] = None; runpy.run_module({module!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    way = f"in hushgrid's checkout: .venv/bin/pip install -e '.[{extra}]'"
    assert re.fullmatch(rf"{program}: it needs {absent}[\w.]*, which is not installed; {re.escape(way)}\n", done.stderr)
