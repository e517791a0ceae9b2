"""What a rules file decides of a run, and what of one no testbed plays: refused by line or by option before anything starts."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from support import ROOT

from hushgrid.errors import ConfigurationError
from hushgrid.wire.model import Mechanism
from testbed.choices.layout import ConsumerWish
from testbed.choices.parameters import Parameters
from testbed.choices.rules import rules_options
from testbed.command import main
from testbed.households import constructed_truth, read_truth

SAMPLE, READINGS = ROOT / "examples" / "rules.toml", ROOT / "examples" / "households.csv"
FILE = """
meters = ["a1..a9", "b1..b9", "c"]
minimum_contributors = 4
coverage_floor = 1
threshold = 2
width = 3
owned = {shop = "c"}
rights = {shop = {cohort = ["a1..a9"], shortest_window = 2}}

[[rules]]
name = "first"
consumer = "shop"
cohort = ["a1..a9"]
window = 4
minimum_contributors = 5

[[rules]]
name = "second"
"""


def write(tmp_path, text=FILE):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return path


def test_a_file_says_who_asks_for_what_and_what_the_plan_is(tmp_path):
    path = write(tmp_path)
    parameters = Parameters.of(**rules_options(path, ["rounds", "ppns", "seed"]))
    parameters.check_choices()
    names = parameters.file.names
    assert (len(names), names[0], names[-1]) == (19, "a1", "c")
    assert parameters.wishes(names) == [
        ConsumerWish("shop", "first", ("a1..a9",), 4, Mechanism.SHARES, 5),
        ConsumerWish("consumer-1", "second", "all", 1),
    ]
    grid = parameters.grid
    assert (grid.meters, grid.consumers, grid.windows) == (19, 2, (4, 1))
    assert (grid.threshold, grid.width, grid.minimum_contributors, grid.ppns) == (2, 3, 4, 5)
    assert parameters.file.sections == {
        "plan": {"coverage_floor_fraction": 1.0},
        "placement": {"capacity_factor": 8.0},
        "policy": {
            "owned": {"shop": ["c"]},
            "rights": {"shop": {"cohort": ["a1..a9"], "shortest_window_rounds": 2}},
        },
    }
    assert parameters.as_json()["rules"] == str(path)


def test_masked_readings_of_a_file_are_billed_by_its_window(tmp_path):
    path = write(tmp_path, 'meters = 30\n[[rules]]\nname = "bills"\nwindow = 4\nmechanism = "pairwise"\n')
    parameters = Parameters.of(**rules_options(path, []))
    parameters.check_choices()
    assert (parameters.masking.mechanism, parameters.masking.period) == (Mechanism.PAIRWISE, 4)
    with pytest.raises(ConfigurationError, match=r"--period cannot be used with it"):
        rules_options(path, ["period"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('name = "second"', 'name = "a b"'), "line 18: rules[1].name: 'a b' cannot be a name"),
        (('consumer = "shop"', 'consumer = "a1"'), "line 12: rules[0].consumer: a1 is another agent's name"),
        (('consumer = "shop"', 'consumer = "ppn-1"'), "line 12: rules[0].consumer: ppn-1 is another agent's name"),
        (("window = 4", "window = 0"), "line 14: rules[0].window: a window has 1 to 65535 rounds"),
        (("window = 4", "billing = true"), "line 14: rules[0].billing: a testbed plays bills"),
        (("window = 4", "until_round = 9"), "line 14: rules[0].until_round: a testbed asks for all rules at its start"),
        (("threshold = 2", "billing_period = 2"), "line 5: billing_period: bills come from a rule"),
        (("threshold = 2", 'ppns = [{id = "x"}]'), "line 5: ppns: a testbed names its PPNs itself"),
        (("window = 4", 'mechanism = "both"'), "line 17: rules[1].mechanism: a testbed plays rules of one mechanism"),
        (('"c"]', '"x y"]\nowned = {}\n#'), "line 2: meters: 'x y' cannot be a meter's id"),
    ],
)
def test_what_no_testbed_plays_is_named_with_its_line(tmp_path, change, said):
    text = FILE.replace(*change)
    if "x y" in change[1]:
        text = text.replace('owned = {shop = "c"}\n', "")
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        rules_options(path, [])
    assert str(refused.value).startswith(f"{path}: {said}"), str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_without_a_rule_is_nothing_to_play(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no rule to play"):
        rules_options(write(tmp_path, "meters = 5"), [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--meters", "40"], "--meters cannot"),
        (["--consumers", "3", "--window", "1,2"], "--consumers, --window cannot"),
        (["--ppns", "5"], "--ppns cannot"),
        (["--mechanism", "shares", "--minimum-contributors", "15"], "--minimum-contributors, --mechanism cannot"),
        (["--width", "4", "--threshold", "3"], "--threshold, --width cannot"),
        (["--open"], "--open plays by the clock on the wall"),
        (["--kill", "consumer-1@2"], "--kill consumer-1@2"),
    ],
)
def test_options_that_a_file_decides_are_refused_by_name(options, said):
    done = CliRunner().invoke(main, ["testbed", "--rules", str(SAMPLE), "--data", str(READINGS), *options])
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1), done.output
    assert said in done.output


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    done = CliRunner().invoke(main, ["testbed", "--rules", str(tmp_path / "none.toml")])
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1), done.output
    assert "No such file" in done.output


def test_its_meters_are_those_of_the_data_or_constructed_under_their_names():
    names = ("m0003", "m0001")
    found = read_truth(READINGS, names, 2, None)
    assert found.meters == ("m0001", "m0003")
    assert found.values["m0003"] == read_truth(READINGS, 40, 2, None).values["m0003"]
    with pytest.raises(ConfigurationError, match=r"it has no readings of x1, x2, x3 and 1 more"):
        read_truth(READINGS, ("m0001", "x1", "x2", "x3", "x4"), 2, None)
    assert constructed_truth(("house-1", "house-2"), 2).meters == ("house-1", "house-2")
