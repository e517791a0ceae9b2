"""`hushgrid plan` and `hushgrid audit` as they are called."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from configurator.offline.command import audit_command, plan_command

RULES = """
meters = 100
width = 2
threshold = 2
alpha = 1
[[rules]]
name = "all"
consumer = "grid"
[[rules]]
name = "left"
consumer = "grid"
cohort = "m0001..m0050"
[[rules]]
name = "nearly all"
consumer = "shop"
cohort = "m0002..m0100"
[[rules]]
name = "never"
window = 0
"""


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(RULES, encoding="utf-8")
    return path


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_audit_grants_refuses_and_exits_zero(rules, tmp_path):
    report = tmp_path / "out.json"
    result = run(audit_command, rules, "--json", report)
    assert result.exit_code == 0, result.output
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["granted"] == ["all", "left"]
    assert [(r["rule"], r["because_of"]) for r in content["refused"]] == [("nearly all", ["all"]), ("never", [])]
    assert "m0001" in content["refused"][0]["reason"]
    assert set(content["refused"][0]) == {"rule", "reason", "because_of"}


@pytest.mark.parametrize("solver", ["greedy", "exact"])
def test_plan_places_all_rules(rules, tmp_path, solver):
    report = tmp_path / "out.json"
    result = run(plan_command, rules, "--solver", solver, "--time-limit", 5, "--json", report)
    assert result.exit_code == 0, result.output
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["ppns"] == len(content["loads"]) >= content["lower_bound"]
    assert sum(content["loads"].values()) == 2 * (100 + 50 + 99 + 100)
    assert all(len(set(ppns)) == 2 for ppns in content["assignment"].values())
    assert content["proven"] or solver == "greedy"
    assert "lower bound" in result.output


def test_a_replan_says_how_many_shares_move(rules, tmp_path):
    plan = tmp_path / "plan.json"
    assert run(plan_command, rules, "--json", plan).exit_code == 0
    grown = tmp_path / "grown.toml"
    grown.write_text(RULES + '[[rules]]\nname = "new"\ncohort = "m0001..m0020"\n', encoding="utf-8")
    result = run(plan_command, grown, "--existing", plan)
    assert result.exit_code == 0, result.output
    assert "0 shares of rules moved" in result.output


@pytest.mark.parametrize("command", [plan_command, audit_command])
def test_names_are_shown_as_they_are_written(tmp_path, command):
    path = tmp_path / "rules.toml"
    path.write_text('meters = 40\n[[rules]]\nname = "[red]x[/y]"\n', encoding="utf-8")
    result = run(command, path)
    assert result.exit_code == 0, result.output
    assert "[red]x[/y]" in result.output


@pytest.mark.parametrize(
    "option", [("--start-ppns", -3), ("--start-ppns", 0), ("--time-limit", -1), ("--time-limit", "nan")]
)
def test_options_out_of_range_are_refused(rules, option):
    result = run(plan_command, rules, *option)
    assert result.exit_code == 2
    assert f"Invalid value for '{option[0]}'" in result.output


def test_an_existing_plan_that_is_nested_too_deeply_is_refused(rules, tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text("[" * 100_000, encoding="utf-8")
    result = run(plan_command, rules, "--existing", plan)
    assert (result.exit_code, result.output) == (2, f"hushgrid: {plan}: not a plan written by hushgrid plan --json\n")


def test_twenty_billing_periods_are_audited(tmp_path):
    bills = "".join(
        f'[[rules]]\nname = "bill-{n}"\nconsumer = "s"\nwindow = {60 * n}\nbilling = true\n'
        f'cohort = "m{20 * n - 19:04d}..m{20 * n:04d}"\n'
        for n in range(1, 21)
    )
    path = tmp_path / "rules.toml"
    head = 'meters = 420\nbilling_period = 60\nconsents = "all"\nsuppliers = {s = "all"}\n[[rules]]\nname = "sum"\n'
    path.write_text(head + bills, encoding="utf-8")
    result = run(audit_command, path)
    assert result.exit_code == 0, result.output
    assert "granted: 21; refused: 0" in result.output


def test_a_refusal_because_of_bills_names_the_bills(tmp_path):
    path, report = tmp_path / "rules.toml", tmp_path / "out.json"
    path.write_text(
        'meters = 30\nbilling_period = 48\nconsents = "all"\nsuppliers = {s = "all"}\n'
        '[[rules]]\nname = "[bills]"\nconsumer = "s"\nwindow = 48\nbilling = true\ncohort = "m0001..m0012"\n'
        '[[rules]]\nname = "sum"\nconsumer = "grid"\n',
        encoding="utf-8",
    )
    result = run(audit_command, path, "--json", report)
    assert result.exit_code == 0, result.output
    (refused,) = json.loads(report.read_text(encoding="utf-8"))["refused"]
    assert (refused["rule"], refused["because_of"]) == ("sum", ["[bills]"])
    assert result.output.rstrip().endswith("19 are needed [because of [bills]]")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("meters = [", "not TOML"),
        ('meters = 10\n[[rules]]\nname = "a"\ncohort = ["m9"]', "rules[0].cohort: unknown meter m9"),
        ('meters = 10\n[[rules]]\nname = "a"\n[[rules]]\nname = "a"', "the name a occurs twice"),
        ('meters = 10\nalpha = 0.5\n[[rules]]\nname = "a"', "0 PPNs can carry that"),
        (
            'meters = 10\nppns = 5\nalpha = 1\n[[rules]]\nname = "a"\n[[rules]]\nname = "b"',
            "all PPNs in service can do 50",
        ),
        ("meters = 10\nalpha = inf", "alpha: Input should be a finite number"),
        ("meters = 10\nalpha = nan", "alpha: Input should be a finite number"),
        (f'meters = 10\nppns = [{{id = "a", capacity = {2**63 - 1}}}]', "ppns[0].capacity: Input should be less than"),
        ("meters = " + "[" * 20_000, "nested too deeply"),
        ("meters = " + "9" * 5000, "a number has too many digits"),
        ("meters = 10000000000000", "meters: Input should be less than or equal to 10000000"),
        ("meters = 10\nppns = 100000000", "ppns: Input should be less than or equal to 100000"),
        ("meters = 10\nwidth = 1000000000", "width: Input should be less than or equal to 1000"),
        (
            'meters = 10\n[[rules]]\nname = "a"\nwindow = 4000000000000000000',
            "rules[0].window: Input should be less than",
        ),
        ('meters = 10\nsuppliers = {x = "all", y = "m0001"}', "suppliers.y: meter m0001 has the supplier x already"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_status_two(tmp_path, text, line):
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    result = run(plan_command, path)
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert result.output.startswith(f"hushgrid: {path}: ")
    assert line in result.output


def test_files_of_another_kind_are_refused(rules, tmp_path):
    other = tmp_path / "other.json"
    other.write_text("[]", encoding="utf-8")
    result = run(plan_command, rules, "--existing", other)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    result = run(audit_command, rules, "--json", tmp_path / "no" / "such" / "place.json")
    assert result.exit_code == 2


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_plans_and_refusals_fit_the_terminal_whole(tmp_path, columns):
    path = tmp_path / "rules.toml"
    path.write_text(RULES.replace('"left"', '"left-[bold]of[/]-the-middle-of-town"'), encoding="utf-8")
    for command in (plan_command, audit_command):
        result = CliRunner().invoke(command, [str(path)], env={"COLUMNS": str(columns)})
        assert result.exit_code == 0, result.output
        assert max(map(len, result.output.splitlines())) <= columns
        assert "left-[bold]of[/]-the-middle-of-town" in result.output
    assert "[because of all]" in " ".join(result.output.split())


def test_a_result_is_not_written_over_a_former_one(rules, tmp_path):
    report = tmp_path / "out.json"
    for command in (plan_command, audit_command):
        report.unlink(missing_ok=True)
        assert run(command, rules, "--json", report).exit_code == 0
        before = report.read_bytes()
        again = run(command, rules, "--json", report)
        assert (again.exit_code, report.read_bytes()) == (2, before)
        assert "is there already" in again.output


@pytest.mark.parametrize("command", [audit_command, plan_command])
def test_masked_readings_are_not_judged_offline(tmp_path, command):
    path = tmp_path / "rules.toml"
    path.write_text('meters = 30\n[[rules]]\nname = "bills"\nmechanism = "pairwise"\n')
    done = CliRunner().invoke(command, [str(path)])
    assert done.exit_code == 2
    assert "line 4: rules[0].mechanism: masked readings" in " ".join(done.output.split())
