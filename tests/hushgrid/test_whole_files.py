"""What commands write for people: whole or not at all, and one clear line where it cannot be."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hushgrid.cli import stops_with_one_line
from hushgrid.errors import ConfigurationError
from hushgrid.outputs import write_json

CONTENT = {"rows": [1, 2.5, "three", None]}


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_what_is_written_is_read_back_and_nothing_lies_beside_it(tmp_path):
    report = tmp_path / "report.json"
    write_json(report, CONTENT)
    assert json.loads(report.read_text()) == CONTENT
    assert report.read_text().endswith("}\n")
    assert names(tmp_path) == ["report.json"]


def test_what_was_there_stays(tmp_path):
    report = tmp_path / "report.json"
    write_json(report, CONTENT)
    with pytest.raises(ConfigurationError, match=r"report\.json is there already, and nothing is written over"):
        write_json(report, {})
    assert json.loads(report.read_text()) == CONTENT
    assert names(tmp_path) == ["report.json"]


def test_what_cannot_be_written_whole_is_not_written(tmp_path, monkeypatch):
    report = tmp_path / "report.json"

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match=r"report\.json: No space left on device"):
        write_json(report, {})
    assert names(tmp_path) == []


def test_what_json_cannot_say_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "report.json", {"set": {1}})
    assert names(tmp_path) == []


def test_who_may_read_the_file_stays(tmp_path):
    report = tmp_path / "report.json"
    report.touch(0o600)
    write_json(report, CONTENT)
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


def test_a_link_goes_on_leading_where_it_leads(tmp_path):
    (tmp_path / "link").symlink_to("report.json")
    write_json(tmp_path / "link", CONTENT)
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "report.json").read_text()) == CONTENT


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write_json(pipe, CONTENT)
    reader.join(60)
    assert json.loads(read[0]) == CONTENT
    assert pipe.is_fifo()


def test_a_file_whose_folder_takes_no_second_one_is_written_where_it_lies(tmp_path, monkeypatch):
    report = tmp_path / "report.json"

    def mounted(_self: Path, _target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", mounted)
    write_json(report, CONTENT)
    assert json.loads(report.read_text()) == CONTENT
    assert names(tmp_path) == ["report.json"]


@pytest.mark.parametrize("place", ["no/such/folder/report.json", "folder", "file/report.json"])
def test_a_place_that_takes_no_file_is_one_line_and_status_2(tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()

    @click.command()
    @stops_with_one_line
    def command() -> None:
        write_json(tmp_path / place, CONTENT)

    ran = CliRunner().invoke(command, [])
    assert ran.exit_code == 2
    assert ran.output.startswith(f"hushgrid: {tmp_path / place}: ")
    assert len(ran.output.splitlines()) == 1
