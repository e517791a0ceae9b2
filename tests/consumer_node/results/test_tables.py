"""Results in tables: each once, on disk before it is said, the same on SQLite and on PostgreSQL, and the files made from them."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from support.consumer import CONSUMER, GRID, opened_tables
from support.gateway.stored import forked

import consumer_node.commands
from consumer_node.config import ConsumerConfig
from consumer_node.results.files import FILE_COLUMNS
from consumer_node.results.store import ResultStore
from consumer_node.results.tables import METADATA, RESULT_TABLES, TABLES, ResultKind
from consumer_node.shares.collection import Aggregate, Outcome, result_row
from hushgrid.core.schedule import Window
from hushgrid.errors import ConfigurationError, JournalError
from hushgrid.relational.opening import RelationalDatabase
from hushgrid.shell.command_line import obey

if TYPE_CHECKING:
    from support.gateway.postgresql import PostgreSQLServer

HUGE = 10**30


def a_sum(first=48, watt_hours=HUGE, rule=1, rounds=2, outcome=Outcome.RELEASED):
    found = Aggregate(
        rule, Window(first, rounds), outcome, "", watt_hours, 40, 39, 1, 0, 0, 20, (1, 2, 3), (4,), (), 1, 2
    )
    return result_row(f"rule-{rule}", found, 1800)


def a_bill(meter, first=8, watt_hours=-5):
    return {
        "rule": "bills", "number": 2, "start_utc": "1970-01-01T04:00:00Z", "end_utc": "1970-01-01T06:00:00Z", "first_round": first,
        "last_round": first + 3, "meter": meter, "status": "released", "watt_hours": watt_hours, "rounds": 3, "omitted": [9],
        "reason": "",
    }  # fmt: skip


def kept(results: ResultStore, kind=ResultKind.SUM):
    return [row for portion in results.rows(kind) for row in portion]


@pytest.fixture
def results(tmp_path):
    found = opened_tables(tmp_path)
    yield found
    found.close()


def everything(results: ResultStore, again) -> None:
    """What every database is to do. again: opens it anew."""
    assert results.add(ResultKind.SUM, [a_sum(50), a_sum(48)], "all") == 2
    assert results.add(ResultKind.SUM, [a_sum(48, 7), a_sum(52, None, outcome=Outcome.WITHHELD)], "all") == 1
    assert results.add(ResultKind.BILL, [a_bill("m2"), a_bill("m1"), a_bill("m2", watt_hours=0)]) == 2
    other = again(CONSUMER)
    wanted = [a_sum(48), a_sum(50), a_sum(52, None, outcome=Outcome.WITHHELD)]
    assert kept(other) == wanted
    assert kept(other, ResultKind.BILL) == [a_bill("m1"), a_bill("m2")]
    assert other.concluded(ResultKind.SUM, 1, 49, 52) == {(50, ""), (52, "")}
    assert other.concluded(ResultKind.BILL, 2, 8, 8) == {(8, "m1"), (8, "m2")}
    assert [other.count(kind) for kind in ResultKind] == [3, 0, 2, 0]
    stranger = again("another")
    assert kept(stranger) == []
    assert stranger.add(ResultKind.SUM, [a_sum(48, 1)]) == 1
    assert (kept(stranger), kept(other)) == ([a_sum(48, 1)], wanted)
    with other._database.reading() as connection:
        places = connection.exec_driver_sql("SELECT place FROM recovered_sums ORDER BY place").scalars().all()
        rules = connection.exec_driver_sql(
            "SELECT consumer, rule, name, cohort FROM granted_rules ORDER BY consumer, rule"
        ).all()
        assert (
            compare_metadata(
                MigrationContext.configure(connection, opts={"version_table": "results_version"}), METADATA
            )
            == []
        )
    assert places == [0, 1, 2, 3]
    assert list(map(tuple, rules)) == [
        ("another", 1, "rule-1", None),
        (CONSUMER, 1, "rule-1", '"all"'),
        (CONSUMER, 2, "bills", None),
    ]
    for store in (other, stranger):
        store.close()


def test_each_result_is_kept_once_and_read_back_as_it_was(results, tmp_path):
    everything(results, lambda consumer: ResultStore.at(f"sqlite:///{tmp_path / 'results.sqlite'}", GRID, consumer))


def test_every_column_says_what_it_holds_and_the_newest_change_is_the_one_that_is_known():
    assert all(column.comment for table in METADATA.tables.values() for column in table.columns)
    assert {path.stem for path in RESULT_TABLES.migrations.glob("*.py")} == {"__init__", "first_tables"}
    text = (RESULT_TABLES.migrations / "first_tables.py").read_text()
    assert f'revision = "{RESULT_TABLES.newest}"' in text
    for kind, table in TABLES.items():
        names = {"name" if name == "rule" else "rule" if name == "number" else name for name in FILE_COLUMNS[kind]}
        assert names | {"place", "grid", "consumer"} == set(table.c.keys())


def test_files_repeat_the_tables_and_are_whole_again_after_a_cut(results, tmp_path):
    results.add(ResultKind.SUM, [a_sum(50)])
    results.add(ResultKind.SUM, [a_sum(48)])
    lines = tmp_path / "results.jsonl"
    assert [json.loads(line) for line in lines.read_text().splitlines()] == [a_sum(50), a_sum(48)]
    lines.write_text(lines.read_text()[:-20])
    results.close()
    opened_tables(tmp_path).close()
    assert [json.loads(line) for line in lines.read_text().splitlines()] == [a_sum(48), a_sum(50)]
    with (tmp_path / "results.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [(row["first_round"], row["end_utc"], row["watt_hours"]) for row in rows] == [
        ("48", "1970-01-02T01:00:00Z", str(HUGE)), ("50", "1970-01-02T02:00:00Z", str(HUGE)),
    ]  # fmt: skip
    assert not (tmp_path / "bills.csv").exists()


def test_a_rules_cohort_is_written_down_as_soon_as_it_is_known(results):
    for cohort in (None, ["m1", "m3..m9"], "all"):
        results.add(ResultKind.SUM, [a_sum()], cohort)
    with results._database.reading() as connection:
        assert connection.exec_driver_sql("SELECT cohort FROM granted_rules").scalars().all() == ['["m1", "m3..m9"]']


def test_tables_that_are_there_are_opened_without_alembic_and_others_are_refused(results, tmp_path):
    results.close()
    url = f"sqlite:///{tmp_path / 'results.sqlite'}"
    program = f"""
import sys
from consumer_node.results.store import ResultStore
ResultStore.at({url!r}, "g", "c").close()
sys.exit("alembic" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=300).returncode == 0
    with sqlite3.connect(tmp_path / "results.sqlite") as connection:
        connection.execute("UPDATE results_version SET version_num = '9999'")
    for read_only, said in ((False, "newer version"), (True, "another version")):
        with pytest.raises(JournalError, match=said):
            RelationalDatabase(url, RESULT_TABLES, read_only=read_only)
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    with pytest.raises(JournalError, match="holds no consumer's results"):
        RelationalDatabase(f"sqlite:///{tmp_path / 'empty.sqlite'}", RESULT_TABLES, read_only=True)
    with pytest.raises(ConfigurationError, match="unable to open"):
        RelationalDatabase(f"sqlite:///{tmp_path / 'nowhere.sqlite'}", RESULT_TABLES, read_only=True)
    assert not (tmp_path / "nowhere.sqlite").exists()


def test_who_only_reads_can_change_nothing(results, tmp_path):
    database = RelationalDatabase(f"sqlite:///{tmp_path / 'results.sqlite'}", RESULT_TABLES, read_only=True)
    looking = ResultStore(database, GRID, CONSUMER)
    results.add(ResultKind.SUM, [a_sum()])
    assert kept(looking) == [a_sum()]
    with pytest.raises(JournalError, match="readonly"):
        looking.add(ResultKind.SUM, [a_sum(50)])
    looking.close()


def add_many(url, consumer, times):
    """As one of several consumers."""
    store = ResultStore.at(url, GRID, consumer)
    for at in range(times):
        assert store.add(ResultKind.SUM, [a_sum(at * 2, at)]) == 1
    store.close()


def two_at_once(url):
    """Two consumers that open one database at once, which is empty: every row has a place of its own, and none is missing."""
    pids = [forked(lambda who=who: add_many(url, who, 20)) for who in ("one", "other")]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    store = ResultStore.at(url, GRID, "one")
    with store._database.reading() as connection:
        places = connection.exec_driver_sql("SELECT place FROM recovered_sums ORDER BY place").scalars().all()
    assert places == list(range(40))
    assert [row["watt_hours"] for row in kept(store)] == list(range(20))
    store.close()


def test_two_consumers_may_share_one_database(tmp_path):
    two_at_once(f"sqlite:///{tmp_path / 'shared.sqlite'}")


def consumer_config(tmp_path, **results):
    return ConsumerConfig.model_validate(
        {
            "agent": {"id": CONSUMER, "state_directory": tmp_path}, "configurator": {"identity": "0" * 64}, "consumer": {},
            "results": results,
        }
    )  # fmt: skip


def test_where_results_are_is_configured(tmp_path):
    assert consumer_config(tmp_path).results_url == f"sqlite:///{tmp_path}/results.sqlite"
    assert consumer_config(tmp_path).results_password() is None
    secret = tmp_path / "password"
    config = consumer_config(tmp_path, url="postgresql://me@127.0.0.1:1/x", password_file=secret)
    with pytest.raises(ConfigurationError, match="the password cannot be read"):
        config.results_password()
    secret.write_text("very-secret\n")
    with pytest.raises(ConfigurationError, match=r"me:\*\*\*@127.0.0.1:1/x: ") as refused:
        ResultStore.at(config.results_url, GRID, CONSUMER, password=config.results_password())
    assert "very-secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="password_file belongs to a url of the form"):
        consumer_config(tmp_path, password_file=secret)


def test_a_row_that_is_not_understood_is_refused(results):
    results.add(ResultKind.SUM, [a_sum()])
    with results._database.writing() as connection:
        connection.exec_driver_sql("UPDATE recovered_sums SET watt_hours = ''")
    with pytest.raises(JournalError, match="no whole number"):
        kept(results)


@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_the_command_prints_them_while_the_consumer_runs(results, tmp_path, capsys, extra):
    results.add(ResultKind.BILL, [a_bill("m1")])
    config = tmp_path / "consumer.toml"
    config.write_text(
        f'[agent]\nid = "{CONSUMER}"\ngrid = "{GRID}"\nstate_directory = "{tmp_path}"\n'
        f'[configurator]\nidentity = "{"0" * 64}"\n[consumer]\n'
    )
    asked = ["results", "--config", str(config), "--of", "bills", *extra]
    assert obey("hushgrid-consumer", "", consumer_node.commands.COMMANDS, asked) == 0
    lines = capsys.readouterr().out.splitlines()
    if extra:
        assert list(map(json.loads, lines)) == [a_bill("m1")]
    else:
        assert lines[0].startswith("rule,number,start_utc,end_utc")
        assert lines[1].endswith(",m1,released,-5,3,[9],")
        assert len(lines) == 2


@pytest.mark.system
def test_the_same_on_postgresql(postgresql: PostgreSQLServer, tmp_path):
    url = postgresql.fresh()
    results = opened_tables(tmp_path, url)
    everything(results, lambda consumer: ResultStore.at(url, GRID, consumer))
    with results._database.reading() as connection:
        comment = "SELECT col_description('recovered_sums'::regclass, 10)"
        assert connection.exec_driver_sql(comment).scalar() == "released, withheld or unrecovered"
    results.close()
    looking = ResultStore(RelationalDatabase(url, RESULT_TABLES, read_only=True), GRID, CONSUMER)
    assert len(kept(looking)) == 3
    with pytest.raises(JournalError, match="read-only"):
        looking.add(ResultKind.SUM, [a_sum(60)])
    looking.close()


@pytest.mark.system
def test_two_consumers_may_share_one_database_of_postgresql(postgresql: PostgreSQLServer):
    two_at_once(postgresql.fresh())
