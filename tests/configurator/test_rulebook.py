"""The rules file: what it may say, and the one line it dies with."""

from __future__ import annotations

import json

import pytest

from configurator.rulebook import load
from hushgrid.errors import ConfigurationError

TOML = """
meters = 20
minimum_contributors = 4
coverage_floor = 1
ppns = [{id = "a", operator = "x", capacity = 50}, {id = "b"}, {id = "c", in_service = false}]
width = 2
threshold = 2
billing_period = 96
consents = "all"
suppliers = {shop = "m0001..m0010"}
owned = {shop = ["m0001"]}
rights = {shop = {cohort = "m0001..m0010", shortest_window = 4}}
[[rules]]
name = "first"
consumer = "shop"
cohort = ["m0001..m0003", "m0010"]
window = 4
minimum_contributors = 5
[[rules]]
name = "bill"
consumer = "shop"
cohort = "m0002"
window = 96
billing = true
"""


def write(tmp_path, text, name="rules.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_full_file_is_resolved(tmp_path):
    rules = load(write(tmp_path, TOML))
    assert rules.roster.size == 20
    assert rules.roster.named(rules.requests[0].cohort) == ["m0001", "m0002", "m0003", "m0010"]
    assert (rules.requests[0].window_rounds, rules.requests[0].minimum_contributors) == (4, 5)
    assert rules.requests[1].billing
    assert rules.policy.suppliers["m0010"] == "shop"
    assert rules.policy.with_margin(4) == 4
    assert rules.policy.rights is not None
    assert rules.policy.rights["shop"].shortest_window_rounds == 4
    assert rules.policy.owned["shop"].sum() == 1


def test_ppns_get_the_capacity_of_alpha(tmp_path):
    rules = load(write(tmp_path, TOML.replace("in_service = false", "in_service = true")))
    problem = rules.problem()
    assert [(p.id, p.capacity_sums, p.operator) for p in problem.ppns] == [
        ("a", 50, "x"),
        ("b", 160, None),
        ("c", 160, None),
    ]
    assert set(problem.overlaps) >= {frozenset({"first", "bill"}), frozenset({"first"})}
    assert problem.demands == {"first": 4, "bill": 1}


def test_json_is_read_and_defaults_are_those_of_the_issue(tmp_path):
    text = json.dumps({"meters": ["b", "a", "c"], "rules": [{"name": "r", "cohort": "a..b"}]})
    rules = load(write(tmp_path, text, "rules.json"))
    assert rules.roster.meters == ("a", "b", "c")
    assert rules.requests[0].cohort.tolist() == [True, True, False]
    assert (rules.policy.minimum_contributors, rules.policy.coverage_floor_fraction) == (15, 0.8)
    assert len(rules.problem().ppns) == 20


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("meters = ", "not TOML"),
        ("rules = []", "meters: Field required"),
        ("meters = 0", "meters: Input should be greater than or equal to 1"),
        ("meters = 5\nmetres = 5", "metres: Extra inputs are not permitted"),
        ("meters = 5\ncoverage_floor = 0", "coverage_floor: Input should be greater than 0"),
        ('meters = 5\n[[rules]]\nname = "a"\ncohort = ["m0009"]', r"rules\[0\].cohort: unknown meter m0009"),
        ('meters = 5\n[[rules]]\nname = "a"\ncohort = "m0001..m9"', r"rules\[0\].cohort: unknown meter m9"),
        ('meters = 5\n[[rules]]\nname = "a"\ncohort = "m0003..m0001"', "runs backwards"),
        ('meters = 5\n[[rules]]\nname = "a"\n[[rules]]\nname = "a"', r"rules\[1\]: the name a occurs twice"),
        ('meters = 5\nppns = [{id = "a"}, {id = "a"}]', r"ppns\[1\]: the name a occurs twice"),
        ('meters = ["a", "b", "a"]', "meters: a occurs twice"),
        ('meters = 5\n[[rules]]\nname = "a"\nwindow = "x"', r"rules\[0\].window: Input should be a valid integer"),
        ("meters = 5\n[[rules]]\nwindow = 1", r"rules\[0\].name: Field required"),
        ('meters = 5\nowned = {a = "x"}', r"owned.a: unknown meter x"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_naming_file_and_field(tmp_path, text, line):
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError, match=line) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"missing\.toml: No such file"):
        load(tmp_path / "missing.toml")
    with pytest.raises(ConfigurationError, match="not JSON"):
        load(write(tmp_path, "{", "rules.json"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(tmp_path / "binary.toml")
    with pytest.raises(ConfigurationError):
        load(write(tmp_path, "[]", "rules.json"))
