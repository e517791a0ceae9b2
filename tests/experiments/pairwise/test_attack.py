"""What attacks on masked readings find, on the variant that is published and on the hardened one."""

import io
import json
import math
import random
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from experiments.loss.figure4 import figure4
from experiments.loss.rate import loss_rate
from experiments.minppn.command import minppn
from experiments.pairwise.attack import METERS, ROUNDS, AttackOutcome, Swept, _print, attack_seeds, pairwise_attack
from experiments.pairwise.cost_command import pairwise_cost_command
from experiments.pairwise.linear import attack_colluding, attack_split
from experiments.pairwise.noise import (
    IsolatedError,
    Leakage,
    exact_bits,
    isolated_errors,
    measure_leakage,
    mutual_information_bits,
)
from experiments.pairwise.table import AttackRow, circulant_edges, constructed_readings, uniform_readings
from experiments.pairwise.view import View, knowledge
from experiments.results import ResultFolder
from experiments.scaling.command import scaling
from hushgrid.errors import ConfigurationError
from hushgrid.outputs import check_outputs
from hushgrid.printing import Terminal
from hushgrid.wire.model import Variant

STATED_BITS = {1: 0.72, 2: 0.32, 4: 0.16, 8: 0.085}


@pytest.mark.parametrize("graph_known", [True, False])
def test_the_seeds_of_the_hash_variant_are_recovered_from_masked_readings_alone(graph_known: bool) -> None:
    rng = random.Random(1)
    readings = constructed_readings(METERS, ROUNDS, rng)
    row, _, _ = attack_seeds(Variant.PUBLISHED, readings, 4, rng, graph_known=graph_known)
    assert row.recovered_fraction >= 0.99
    assert row.wrong == 0


@pytest.mark.parametrize("graph_known", [True, False])
def test_the_same_attack_abstains_on_hardened(graph_known: bool) -> None:
    rng = random.Random(2)
    readings = constructed_readings(12, ROUNDS, rng)
    row, _, _ = attack_seeds(Variant.HARDENED, readings, 4, rng, graph_known=graph_known)
    assert (row.recovered_fraction, row.wrong, row.bits_leaked) == (0, 0, 0)


@pytest.mark.parametrize(("degree", "stated"), STATED_BITS.items())
def test_bounded_noise_leaks_what_the_exact_distributions_say(degree: int, stated: float) -> None:
    assert exact_bits(degree, 5000) == pytest.approx(stated, rel=0.02)


@pytest.mark.parametrize(("degree", "stated"), STATED_BITS.items())
def test_the_estimated_leakage_of_bounded_noise_is_within_a_tenth(degree: int, stated: float) -> None:
    found = measure_leakage(Variant.PUBLISHED, degree, 40, 3000, random.Random(degree))
    assert found.bits == pytest.approx(stated, rel=0.1)


@pytest.mark.parametrize("degree", [1, 4])
def test_the_estimated_leakage_of_hardened_noise_is_none(degree: int) -> None:
    found = measure_leakage(Variant.HARDENED, degree, 40, 800, random.Random(degree))
    assert abs(found.bits) < 0.03  # some 8 standard errors of the estimate from 32,000 readings
    assert (found.determined_fraction, found.bounded_fraction) == (0, 0)


def test_the_estimator_tells_all_of_a_copy_and_nothing_of_independent_numbers() -> None:
    rng = random.Random(3)
    one, other = (uniform_readings(1, 100_000, rng)[0].astype(float) for _ in range(2))
    assert mutual_information_bits(one, one) > 5
    assert abs(mutual_information_bits(one, other)) < 0.02


def test_a_meter_with_all_neighbours_colluding_is_open() -> None:
    known = knowledge(View(12, 4, circulant_edges(12, (1, 2)), colluders=frozenset({3, 4, 6, 7})))
    assert set(known.determined()) == {(5, j) for j in range(4)}


def test_a_pair_whose_surroundings_collude_shows_its_sum_and_no_more() -> None:
    known = knowledge(View(12, 4, circulant_edges(12, (1, 2)), colluders=frozenset({3, 4, 7, 8})))
    assert not known.determined()
    assert known.within((5, 6)) == 2 + 4 - 1  # two bills and four sums of two, one of them implied
    assert known.within((5,)) == 1


def test_a_graph_that_is_c_plus_1_connected_shows_one_sum_over_all_honest_meters() -> None:
    edges = circulant_edges(12, (1, 2, 3))  # 6-connected
    known = knowledge(View(12, 4, edges, colluders=frozenset({2, 3, 4, 6, 7})))
    honest = 12 - 5
    assert not known.determined()
    assert known.rank - 5 * 4 == honest + 4 - 1  # their bills and one column per round
    for meter in (0, 1, 5, 8, 9, 10, 11):
        assert known.within((meter,)) == 1


def test_opening_both_masks_of_one_reading_bares_it() -> None:
    """The positive control of "never both"."""
    edges = circulant_edges(6, (1, 2))
    pairs = frozenset((edge, 3) for edge in edges if 2 in edge)
    one_of_both = View(6, 8, edges, self_masks=True, opened_pairs=pairs)
    both = View(6, 8, edges, self_masks=True, opened_pairs=pairs, opened_self=frozenset({(2, 3)}))
    assert not knowledge(one_of_both).determined()
    assert set(knowledge(both).determined()) == {(2, 3)}


@pytest.mark.parametrize("attack", [attack_colluding, attack_split])
def test_the_attacks_on_the_graph_open_published_and_not_hardened(attack: type) -> None:
    rng = random.Random(4)
    readings = constructed_readings(40, 12, rng)
    published, closed = (attack(variant, readings, rng) for variant in Variant)
    assert published.recovered_fraction > 0.02
    assert published.wrong == closed.wrong == 0
    assert closed.recovered_fraction == 0


def test_the_error_of_a_grid_sum_grows_with_the_root_of_the_isolated_meters() -> None:
    errors = isolated_errors(100, (0.0, 0.25, 1.0), (), random.Random(5))
    assert errors[0].error_fraction == 0
    assert errors[2].error_fraction / errors[1].error_fraction == pytest.approx(2, rel=0.35)
    assert errors[2].last_round_error_fraction / errors[2].error_fraction == pytest.approx(math.sqrt(47), rel=0.35)


@pytest.mark.system
@pytest.mark.timeout(900)
def test_a_run_recovers_published_readings_nothing_of_hardened_and_draws_figures(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """With --long the sweep over seed recovery and four times the readings, too."""
    full = bool(pytestconfig.getoption("--long"))
    out = tmp_path / "out.json"
    options = ["--json", str(out), "--out", str(tmp_path / "out"), *(["--full"] if full else [])]
    ran = CliRunner().invoke(pairwise_attack, options, env={"COLUMNS": "80"})
    assert ran.exit_code == 0, ran.output
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".json", ".csv", ".png", ".svg"}
    found = json.loads(out.read_text())
    names = {"seed-known-graph", "seed-unknown-graph", "bounded-noise", "colluding-neighbours", "component-split"}
    assert {(row["attack"], row["variant"]) for row in found["rows"]} == {(n, v.value) for n in names for v in Variant}
    rows = {(row["attack"], row["variant"], row["degree"]): row for row in found["rows"]}
    assert rows["seed-unknown-graph", "published", 4]["readings"] == 40 * ROUNDS
    assert rows["seed-unknown-graph", "published", 4]["recovered_fraction"] >= 0.99
    for row in found["rows"]:
        assert set(row) == {"attack", "variant", "degree", "readings", "recovered_fraction", "bits_leaked"}
        if row["variant"] == "hardened":
            assert row["recovered_fraction"] == 0
            # Some 8 standard errors of the estimate from 240,000 readings; a quarter of them without --full.
            assert abs(row["bits_leaked"]) < (0.004 if full else 0.008)
    swept = [place for place in found["sweep"] if (place["meters"], place["rounds"], place["degree"]) == (40, 96, 4)]
    assert [place["recovered_fraction"] >= 0.99 for place in swept] == ([True] if full else [])


def test_no_name_of_an_attack_is_cut_in_a_terminal_of_80_columns() -> None:
    names = ("seed-known-graph", "seed-unknown-graph", "bounded-noise", "colluding-neighbours", "component-split")
    rows = [AttackRow(name, Variant.PUBLISHED, 4, 639_960, 0.0278, 12.288) for name in names]
    leakage = [Leakage(Variant.HARDENED, 8, 1, -0.0008, 0.0014, 0.0, 0.501, 0.0)]
    isolated = [IsolatedError("calibrated", 0.5, 1000, 1.0, 13.0421, 91.9491)]
    found = AttackOutcome(rows, leakage, isolated, [Swept(500, 96, 4, 1.0, 8.9)], (None, None, None), 86.2)
    with io.StringIO() as out:
        _print(found, Terminal(file=out, columns=80))
        lines = out.getvalue().splitlines()
    assert [name for name in names if any(line.split()[:1] == [name] for line in lines)] == list(names)
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(lines)


WIDE = "start_utc,a,b\n2013-01-01T00:00Z,1,{}\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hello there\nthis is text\n", "line 1: no known header"),
        ("", "line 1: the file has no header"),
        (WIDE.format("x"), "line 2, column b: not a whole number of Wh"),
        (WIDE.format("2"), "2 meters; the attacks need at least 9"),
        ("meter,start_utc,wh\na,2013-01-01T00:00Z,1\n", "its header is not start_utc,<meter>"),
    ],
)
def test_readings_that_cannot_be_attacked_are_one_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "readings.csv"
    path.write_text(content)
    ran = CliRunner().invoke(pairwise_attack, ["--readings", str(path)])
    assert (ran.exit_code, len(ran.output.splitlines())) == (2, 1)
    assert ran.output.startswith(f"hushgrid: {path}")
    assert said in ran.output


@pytest.mark.parametrize(("rounds", "highest", "said"), [(5, 9, "5 rounds"), (12, 5001, "outside 0 to 5000 Wh")])
def test_too_few_rounds_and_readings_beyond_the_span_are_refused(
    tmp_path: Path, rounds: int, highest: int, said: str
) -> None:
    path = tmp_path / "readings.csv"
    lines = ["start_utc," + ",".join(f"h{n}" for n in range(9))]
    lines += [f"2013-01-01T{hour:02}:00Z," + ",".join([str(highest)] * 9) for hour in range(rounds)]
    path.write_text("\n".join(lines) + "\n")
    ran = CliRunner().invoke(pairwise_attack, ["--readings", str(path)])
    assert ran.exit_code == 2
    assert said in ran.output


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (pairwise_attack, "--json"),
        (pairwise_cost_command, "--json"),
        (minppn, "--json"),
        (figure4, "--json"),
        (loss_rate, "--json"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_computed(
    tmp_path: Path, command: click.Command, option: str
) -> None:
    ran = CliRunner().invoke(command, [option, str(tmp_path / "nowhere" / "x")])
    assert (ran.exit_code, len(ran.output.splitlines())) == (2, 1)
    assert f"there is no directory {tmp_path / 'nowhere'}" in ran.output


def test_a_file_is_no_folder_for_figures_and_a_folder_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="file"):
        ResultFolder("any", tmp_path / "file")
    with pytest.raises(ConfigurationError, match="is a directory"):
        check_outputs(None, tmp_path)


def test_a_page_without_a_place_for_the_tables_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for content, said in ((b"\xff\xfe", "cannot be read as text"), (b"text", "no place for the tables")):
        page.write_bytes(content)
        ran = CliRunner().invoke(scaling, ["--write", str(page)])
        assert ran.exit_code == 2
        assert said in ran.output
