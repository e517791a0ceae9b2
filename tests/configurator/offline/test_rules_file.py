"""The rules file: what it may say, and the one line it dies with."""

from __future__ import annotations

import json

import pytest

from configurator.offline.rules_file import load
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
    assert rules.census.size == 20
    assert rules.census.named(rules.requests[0].cohort) == ["m0001", "m0002", "m0003", "m0010"]
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
    assert rules.census.meters == ("a", "b", "c")
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


def test_meters_are_named_by_ranges_too(tmp_path):
    listed = load(write(tmp_path, 'meters = ["m0001..m0003", "house-9..house-11", "x"]'))
    assert listed.census.meters == ("house-10", "house-11", "house-9", "m0001", "m0002", "m0003", "x")
    assert load(write(tmp_path, 'meters = "m0001..m0050"')).census.size == 50


WRONG = """# a comment with = and [brackets]
meters = [
    "m0001..m0020",
    "m0030",
]
owned = {shop = ["m0001"], other = "m0099"}
text = '''
[[rules]]
'''

[[rules]]
name = "first"   # "quoted"

[rights."a.b"]
cohort = "all"

[[rules]]
name = "second"
cohort = [
    "m0001",
    "m0002..m0003",
]
window = 4
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("text", "text"), "line 7: text: Extra inputs"),
        (("m0030", "m0030..m00xx"), "line 4: meters[1]: m0030..m00xx is no range"),
        (("m0030", "m0030..m0029"), "line 4: meters[1]: the range m0030..m0029 runs backwards"),
        (("m0030", "m0030..m040"), "line 4: meters[1]: the ends of m0030..m040 have different numbers of digits"),
        (("m0030", "m1..m99999999"), "line 4: meters[1]: m1..m99999999 is more than 10000000 meters"),
        (("m0030", "m0020"), "line 4: meters: m0020 occurs twice"),
        (("other = ", "other = "), "line 6: owned.other: unknown meter m0099"),
        (('"second"', '"first"'), "line 17: rules[1]: the name first occurs twice"),
        (("window = 4", 'window = "x"'), "line 23: rules[1].window: Input should be a valid integer"),
        (('"m0002..m0003"', "1.5"), "line 21: rules[1].cohort[1]: Input should be a valid string"),
        (("m0002..", "m0022.."), "line 19: rules[1].cohort: unknown meter m0022"),
        (('name = "first"', "window = 1"), "line 11: rules[0].name: Field required"),
        (('cohort = "all"', "shortest_window = 0"), "line 15: rights.a.b.shortest_window: Input should be greater"),
        (("window = 4", "window = "), "not TOML: Invalid value (at line 23, column 10)"),
    ],
)
def test_an_error_names_its_line_in_toml(tmp_path, change, said):
    text = WRONG.replace(*change)
    if not said.startswith("line 7"):
        text = text.replace("text = '''\n[[rules]]\n'''", "#\n#\n#")
    if "m0099" not in said:
        text = text.replace("m0099", "m0002")
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: {said}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"window": 2', '"window": "x"'), "line 5: rules[1].window: Input should be a valid integer"),
        (('"b"', '"a:b{"'), "line 7: owned.shop: unknown meter m9"),
        (("m9", "m2"), ""),
        (('"r"}', '"s"}'), "line 5: rules[1]: the name s occurs twice"),
        (('"m1"', '"m1..x"'), "line 2: meters[0]: m1..x is no range"),
        (('"m2"],', '"m2"]'), "not JSON: Expecting ',' delimiter: line 3 column 2"),
    ],
)
def test_an_error_names_its_line_in_json(tmp_path, change, said):
    text = """{
 "meters": ["m1", "m2"],
 "rules": [
  {"name": "r"},
  {"name": "s", "window": 2}
 ],
 "owned": {"b": "m1", "shop": ["m9"]}
}"""
    path = write(tmp_path, text.replace(*change), "rules.json")
    if not said:
        assert load(path).census.size == 2
        return
    with pytest.raises(ConfigurationError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: {said}")
