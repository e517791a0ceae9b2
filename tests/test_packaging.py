"""What is installed: our packages and no others, a light base for meters, and names that no other distribution claims."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tomllib
import zipfile

import pytest
from support import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = set(PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def test_the_wheel_holds_the_listed_packages_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, timeout=110)
    (wheel,) = tmp_path.glob("*.whl")
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_no_other_installed_distribution_claims_one_of_our_names():
    claimed = importlib.metadata.packages_distributions()
    for package in PACKAGES:
        assert set(claimed.get(package, ["hushgrid"])) == {"hushgrid"}, package


def loaded_by(statement: str) -> set[str]:
    code = f"import sys, json; {statement}; json.dump(sorted(sys.modules), sys.stdout)"
    return set(
        json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    )


def test_a_meter_loads_no_numpy_and_no_certificates_library():
    loaded = loaded_by("import meter_agent.__main__")
    assert "hushgrid.core.sealing" in loaded
    assert not loaded & {"numpy", "cryptography.x509", "ortools", "rich", "click", "sqlalchemy", "alembic"}


def test_the_base_install_is_small():
    base = {requirement.partition(">")[0] for requirement in PYPROJECT["project"]["dependencies"]}
    assert base == {"aiomqtt", "paho-mqtt", "cryptography", "pydantic"}


@pytest.mark.parametrize(
    "package", ["hushgrid", "meter_agent", "ppn_node", "consumer_node", "configurator", "privacy_gateway"]
)
def test_no_protected_value_comes_from_simulated_randomness(package):
    # Constructed households are seeded and protect nobody; connection graphs are drawn by random.SystemRandom.
    allowed = {
        "meter_agent/sources/constructed.py",
        "configurator/masked/graphs.py",
        "configurator/masked/graph_book.py",
    }
    for path in (ROOT / package).rglob("*.py"):
        name = str(path.relative_to(ROOT))
        text = path.read_text()
        if name not in allowed:
            assert "import random" not in text, name
            assert "np.random" not in text, name


@pytest.mark.parametrize("program", ["meter_agent", "ppn_node", "consumer_node", "configurator", "privacy_gateway"])
def test_a_missing_configuration_is_one_line_and_status_2(program, tmp_path):
    command = [sys.executable, "-m", program, "--config", str(tmp_path / "missing.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "missing.toml" in done.stderr
