"""`import hushgrid` is the public API: its names are there, typed, and cost nothing until they are asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import hushgrid


def test_every_public_name_is_the_one_in_its_module():
    for name, module in hushgrid._WHERE.items():
        assert getattr(hushgrid, name) is getattr(sys.modules[module], name), name
    assert set(hushgrid.__all__) == {*hushgrid._WHERE, "__version__"}
    assert dir(hushgrid) == sorted(hushgrid.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'kernels_of_truth'"):
        _ = hushgrid.kernels_of_truth


def test_importing_hushgrid_loads_nothing_but_itself():
    code = "import sys, json, hushgrid; json.dump([m for m in sys.modules if m.startswith('hushgrid')], sys.stdout)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=300)
    assert json.loads(done.stdout) == ["hushgrid"]


def test_the_public_names_share_and_recover_a_reading():
    field = hushgrid.Field(2**61 - 1)
    shares = dict(enumerate(hushgrid.split(1234, range(1, 7), 3, field), start=1))
    assert hushgrid.recombine(shares, 3, field) == 1234
    shares[2] += 1
    decoded = hushgrid.decode({point: (share,) for point, share in shares.items()}, 3, field)
    assert (decoded.secrets, decoded.wrong) == ((1234,), (2,))
    assert hushgrid.Window(10, 2).last == 11
