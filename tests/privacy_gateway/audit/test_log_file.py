"""The audit log on disk: what was said to be written is there, whatever happens, and what was not is said."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
from pathlib import Path

import pytest

from hushgrid.errors import JournalError
from privacy_gateway.audit.chain import MAX_LINE_BYTES, START, DamagedLogError, verify
from privacy_gateway.audit.entries import LoggedCharge, LoggedTear
from privacy_gateway.audit.log_file import AuditLog, lines_of


def charge(number: int) -> LoggedCharge:
    return LoggedCharge(at_seconds=number, question=bytes(32), budget="lab", epsilon=f"{number}/1000", rho="0")


def filled(path: Path, count: int) -> None:
    log = AuditLog(path, at_seconds=0)
    for number in range(count):
        log.append(charge(number))
    log.close()


def opened(path: Path) -> AuditLog:
    """Looked at, and let go of."""
    log = AuditLog(path, at_seconds=99)
    log.close()
    return log


def test_entries_are_there_after_a_restart_and_go_on(tmp_path):
    path = tmp_path / "new" / "audit.log"
    filled(path, 3)
    log = AuditLog(path, at_seconds=0)
    assert log.head.entries == 3
    fourth = log.append(charge(3))
    log.close()
    with path.open("rb") as file:
        assert verify(lines_of(file), [fourth]) == fourth
    assert path.stat().st_mode & 0o077 == 0


def test_a_last_line_cut_at_any_byte_is_kept_beside_the_log_and_said_in_it(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what this test is not about, two hundred times
    path = tmp_path / "audit.log"
    filled(path, 3)
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for kept in range(1, len(last)):
        path.write_bytes(whole[: len(whole) - len(last) + kept])
        assert opened(path).head.entries == 3, "two entries, and what became of the third"
        assert (tmp_path / "audit.log.torn").read_bytes() == last[:kept] + b"\n"
        assert f"the last line was torn after {kept} bytes" in caplog.text
        (tmp_path / "audit.log.torn").unlink()
        caplog.clear()
    said = LoggedTear(at_seconds=99, length=len(last) - 1, content=hashlib.sha256(last[:-1]).digest())
    assert said.to_json() in path.read_bytes().splitlines()[-1]


def test_torn_lines_are_kept_one_after_another(tmp_path):
    path = tmp_path / "audit.log"
    filled(path, 1)
    for _ in range(2):
        with path.open("ab") as file:
            file.write(b"half")
        opened(path)
    assert (tmp_path / "audit.log.torn").read_bytes() == b"half\nhalf\n"
    assert opened(path).head.entries == 3


def test_a_log_that_was_changed_is_not_opened_and_not_touched(tmp_path):
    path = tmp_path / "audit.log"
    filled(path, 3)
    changed = path.read_bytes().replace(b'"1/1000"', b'"0/1000"') + b"half"
    path.write_bytes(changed)
    with pytest.raises(DamagedLogError, match=r"audit\.log: entry 2 does not follow"):
        AuditLog(path, at_seconds=0)
    assert path.read_bytes() == changed
    assert not (tmp_path / "audit.log.torn").exists()


def test_an_older_copy_is_not_opened_where_a_later_head_is_known(tmp_path):
    path = tmp_path / "audit.log"
    filled(path, 3)
    older = path.read_bytes()
    log = AuditLog(path, at_seconds=0)
    later = log.append(charge(3))
    log.close()
    assert AuditLog(path, at_seconds=0, head=later).close() is None
    path.write_bytes(older)
    with pytest.raises(DamagedLogError, match="a head of 4 entries was signed, here are 3, 1 fewer"):
        AuditLog(path, at_seconds=0, head=later)
    path.unlink()
    with pytest.raises(DamagedLogError, match="here are 0, 4 fewer"):
        AuditLog(path, at_seconds=0, head=later)


def test_two_processes_never_write_to_one_log(tmp_path):
    log = AuditLog(tmp_path / "audit.log", at_seconds=0)
    with pytest.raises(JournalError, match="another process writes to it"):
        AuditLog(tmp_path / "audit.log", at_seconds=0)
    log.close()
    assert opened(tmp_path / "audit.log").head == START


def test_threads_make_one_chain(tmp_path):
    log = AuditLog(tmp_path / "audit.log", at_seconds=0)
    threads = [threading.Thread(target=lambda: [log.append(charge(n)) for n in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert opened(tmp_path / "audit.log").head == log.head
    assert log.head.entries == 20


def test_an_entry_is_on_disk_before_anybody_is_told(tmp_path, monkeypatch):
    log, done = AuditLog(tmp_path / "audit.log", at_seconds=0), []
    write, sync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda descriptor, content: done.append("write") or write(descriptor, content))
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("sync") or sync(descriptor))
    log.append(charge(0))
    assert done == ["write", "sync"]
    assert log.append(charge(1), charge(2), charge(3)).entries == 4
    assert done == ["write", "sync"] * 2
    log.close()
    assert opened(tmp_path / "audit.log").head.entries == 4


def test_after_a_disk_that_took_nothing_no_entry_is_said_to_be_written(tmp_path, monkeypatch):
    path = tmp_path / "audit.log"
    log = AuditLog(path, at_seconds=0)
    log.append(charge(0))
    real = os.write

    def full(descriptor: int, content: bytes) -> int:
        real(descriptor, content[:7])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(JournalError, match="No space left"):
        log.append(charge(1))
    monkeypatch.setattr(os, "write", real)
    with pytest.raises(JournalError, match="opened anew"):
        log.append(charge(1))
    log.close()
    assert opened(path).head.entries == 2, "the first, and that a line was torn"


def test_of_several_entries_with_one_that_no_line_takes_none_is_written(tmp_path):
    log = AuditLog(tmp_path / "audit.log", at_seconds=0)
    long = LoggedCharge.model_construct(**dict(charge(1)) | {"budget": "a" * MAX_LINE_BYTES})
    with pytest.raises(ValueError, match="longer than a line"):
        log.append(charge(0), long)
    assert log.append(charge(0)).entries == 1
    log.close()
    assert opened(tmp_path / "audit.log").head.entries == 1


def test_a_log_that_somebody_else_wrote_to_takes_nothing_more(tmp_path):
    path = tmp_path / "audit.log"
    log = AuditLog(path, at_seconds=0)
    log.append(charge(0))
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(JournalError, match="somebody else has changed it"):
        log.append(charge(1))
    log.close()


def test_a_disk_that_takes_half_a_line_at_a_time_gets_all_of_it(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[: max(1, len(content) // 2)]))
    filled(tmp_path / "audit.log", 2)
    monkeypatch.undo()
    assert opened(tmp_path / "audit.log").head.entries == 2


def test_a_place_that_is_no_file_is_one_error(tmp_path):
    with pytest.raises(JournalError, match="Is a directory"):
        AuditLog(tmp_path, at_seconds=0)


def write_until_killed(path: Path, said: int) -> None:
    """In a process of its own: says each entry's number once it is written."""
    log = AuditLog(path, at_seconds=0)
    while True:
        os.write(said, b"%d\n" % log.append(charge(log.head.entries % 1000)).entries)


def test_a_process_that_is_killed_loses_no_entry_that_it_said_to_be_written(tmp_path, pytestconfig):
    instants = 200 if pytestconfig.getoption("--long") else 10
    drawn, path, last = random.Random(20_261), tmp_path / "audit.log", 0
    for _ in range(instants):
        reading, writing = os.pipe()
        writer = os.fork()
        if writer == 0:
            try:
                os.close(reading)
                write_until_killed(path, writing)
            finally:
                os._exit(1)
        os.close(writing)
        heard = b""
        for _ in range(drawn.randrange(1, 12)):
            heard += os.read(reading, 4096)
        for _ in range(drawn.randrange(20_000)):  # somewhere within an entry, not always behind one
            pass
        os.kill(writer, signal.SIGKILL)
        while more := os.read(reading, 4096):
            heard += more
        os.close(reading)
        assert os.WTERMSIG(os.waitpid(writer, 0)[1]) == signal.SIGKILL
        numbers = [int(line) for line in heard.split(b"\n")[:-1]]
        assert numbers == list(range(last + 1, last + 1 + len(numbers)))
        last = opened(path).head.entries
        assert last >= numbers[-1]
