"""One home by the minute: whole half hours only, and what their means hide."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from experiments.grid.homes import LivedIn, lived_in
from experiments.grid.minutes import averaging, read_minutes
from hushgrid.errors import ConfigurationError


def written(path: Path, minutes: list[int], watts=lambda at: 100.0 + at) -> Path:
    start = datetime(2008, 1, 1)  # noqa: DTZ001  # the file's own times have no zone
    lines = [f"{start + timedelta(minutes=at)},{watts(at)},{-at}" for at in minutes]
    text = "\n".join(["t_local,p_w,q_var", *lines]) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["home.csv", "home.csv.gz"])
def test_a_half_hour_counts_with_all_its_minutes_or_not_at_all(tmp_path, name):
    minutes = [
        at for at in range(7, 150) if at != 75
    ]  # begins late, and the half hour from 60 has a gap; that from 120 is whole
    watts, reactive = read_minutes(written(tmp_path / name, minutes))
    assert watts.shape == reactive.shape == (3, 30)
    assert watts[:, 0].tolist() == [130, 190, 220]
    assert reactive[1].tolist() == [-at for at in range(90, 120)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("t_local,p_w\n2008-01-01 00:00:00,1\n", ":2: no minute with t_local, p_w and q_var"),
        ("t_local,p_w,q_var\n2008-01-01 00:00:00,,1\n", ":2: no minute"),
        ("t_local,p_w,q_var\n2008-01-01 00:00:00,nan,1\n", ":2: a power that is no number"),
        (
            "t_local,p_w,q_var\n2008-01-01 00:01:00,1,1\n2008-01-01 00:00:00,1,1\n",
            ":3: 2008-01-01 00:00:00 is not after",
        ),
        ("t_local,p_w,q_var\n2008-01-01 00:00:00,1,1\n", "no half hour has all its minutes"),
        (None, "No such file"),
    ],
)
def test_what_is_no_minute_is_refused_by_its_line(tmp_path, text, said):
    if text is not None:
        (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_minutes(tmp_path / "m.csv")


@pytest.fixture(scope="module")
def lived(shared_data: Path) -> LivedIn:
    files = (shared_data / "grid_kerber_village57.json", None, shared_data / "lcl2013_300h_year.parquet")
    return lived_in(*files, first_day=35, days=1, factor=1.0)


def test_a_load_that_does_not_change_hides_nothing_and_one_that_switches_hides_half(lived):
    level = np.full((4, 30), 2_000.0)
    still = averaging(lived, 1.0, level, 0.3 * level)
    assert (still.voltage_largest, still.loading_largest) == pytest.approx((0, 0), abs=1e-12)
    switched = np.tile([0.0, 4_000.0], (4, 15))
    found = averaging(lived, 1.0, switched, 0.0 * switched)
    amperes = 2_000.0 / (np.sqrt(3) * 400)
    assert found.loading_mean == pytest.approx(amperes / 141, rel=0.05), "the line of a home is rated for 141 A"
    assert found.voltage_largest > 0.9 * found.voltage_mean > 0
    assert averaging(lived, 2.0, switched, 0.0 * switched).voltage_mean == pytest.approx(
        2 * found.voltage_mean, rel=0.05
    )


def test_a_real_homes_minutes_stray_from_their_half_hours(lived, shared_data):
    found = averaging(lived, 1.0, *read_minutes(shared_data / "ihepc_1h_1min.csv.gz"))
    assert found.half_hours > 1_000
    assert 0 < found.voltage_mean < found.voltage_quantile_99 < found.voltage_largest < 0.02
