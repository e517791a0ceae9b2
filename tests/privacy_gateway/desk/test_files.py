"""What the gateway reads of others: a consumer's results as they grow, and the list of homes."""

from __future__ import annotations

import json

import pytest
from support.gateway import HOMES, summed
from support.gateway.desks import KEYS, RULES, row

from hushgrid.errors import ConfigurationError
from privacy_gateway.desk.home_list import read_homes
from privacy_gateway.desk.results_file import ResultsFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.jsonl"


def lines(*rows) -> str:
    return "".join(json.dumps(each) + "\n" for each in rows)


def test_what_has_grown_is_read_and_a_torn_line_is_waited_for(path):
    source = ResultsFile(path, RULES)
    assert source.read().sums == ()
    whole = lines(row("all", 0, 1), row("west", 0, 2))
    path.write_text(whole[:-20])
    assert source.read().sums == (summed(1, HOMES, 0, 1),)
    assert source.read().sums == ()
    path.write_text(whole + lines({"rule": "elsewhere"} | row("all", 5, 6) | {"rule": "elsewhere"}))
    read = source.read()
    assert read.sums == (summed(2, HOMES[:6], 0, 2),)
    assert (read.refused, read.settled_before) == ((), 2)


def test_a_file_that_was_written_anew_is_read_from_its_beginning(path):
    source = ResultsFile(path, RULES)
    path.write_text(lines(row("all", 0, 1)))
    source.read()
    path.write_text(lines(row("west", 0, 1), row("all", 0, 1)))
    assert source.read().sums == (summed(2, HOMES[:6], 0, 1), summed(1, HOMES, 0, 1))


def test_what_has_no_number_counts_for_what_is_over_only(path):
    path.write_text(lines(row("all", 0, 4, status="unrecovered", watt_hours=None)))
    read = ResultsFile(path, RULES).read()
    assert (read.sums, read.refused, read.settled_before) == ((), (), 4)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"watt_hours": None}, "line 1: rule 'all': released, and no number"),
        ({"watt_hours": "12"}, "line 1: malformed"),
        ({"watt_hours": 1.5}, "line 1: malformed"),
        ({"included": -1}, "line 1: malformed"),
        ({"included": 13}, "line 1: rule 1, rounds 0 to 0"),
        ({"last_round": -1}, "line 1: malformed"),
        ({"first_round": 3}, "line 1: rule 'all': its last round is before its first"),
        ({"expected": 24}, "line 1: rule 'all': it speaks of more homes than the 12 of its cohort"),
        ({"number": None}, "line 1: malformed"),
    ],
)
def test_a_line_that_is_not_understood_is_refused_by_name_and_the_others_are_taken(path, changed, said):
    path.write_text(lines(row("all", 0, 1, **changed), row("west", 0, 1)))
    read = ResultsFile(path, RULES).read()
    assert read.sums == (summed(2, HOMES[:6], 0, 1),)
    (refused,) = read.refused
    assert said in refused.lower()
    assert str(row("all", 0, 1)["watt_hours"]) not in refused.replace("line 1", "")


@pytest.mark.parametrize("line", ["", "{", "[]", "\x00", "NaN", "9" * 5000, '{"rule": "all", "rule": 3}', "[" * 5000])
def test_no_line_stops_the_gateway(path, line):
    path.write_text(line + "\n" + lines(row("west", 0, 1)))
    read = ResultsFile(path, RULES).read()
    assert (len(read.sums), len(read.refused)) == (1, 1)


def test_a_sum_of_one_home_is_not_kept(path):
    path.write_text(lines(row("all", 0, 1, expected=1, included=1, meters=1)))
    read = ResultsFile(path, {"all": HOMES[:1]}).read()
    assert read.sums == ()
    assert "a sum of one home is a reading" in read.refused[0]


def test_what_cannot_be_read_is_one_line(path):
    path.mkdir()
    with pytest.raises(ConfigurationError, match=r"results\.jsonl: Is a directory"):
        ResultsFile(path, RULES).read()


def test_a_list_of_homes_is_read_and_sorted():
    text = [f"{home} {KEYS[home].public.hex()}" for home in (HOMES[1], HOMES[0])]
    listed = read_homes("homes.txt", ["# meters", "", *text])
    assert listed.homes == HOMES[:2]
    assert listed.identities[HOMES[1]] == KEYS[HOMES[1]].public


KEY, OTHER = "ab" * 32, "cd" * 32


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ([], "names no meter"),
        (["m1"], "line 1: expected"),
        ([f"m1 {KEY} more"], "line 1: expected"),
        (["m1 " + KEY.upper()], "line 1: expected"),
        ([f"m/1 {KEY}"], "line 1: expected"),
        ([f"m1 {KEY}", f"m1 {OTHER}"], "line 2: this meter"),
        ([f"m1 {KEY}", f"m2 {KEY}"], "line 2: this meter"),
    ],
)
def test_a_list_of_homes_that_is_not_understood_is_refused(text, said):
    with pytest.raises(ConfigurationError, match=said):
        read_homes("homes.txt", text)
