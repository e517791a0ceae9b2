import json
import math
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.pairwise_attack import METERS, ROUNDS, attack_seeds, pairwise_attack
from experiments.pairwise_linear import attack_colluding, attack_split
from experiments.pairwise_noise import exact_bits, isolated_errors, measure_leakage, mutual_information_bits
from experiments.pairwise_table import circulant_edges, constructed_readings, uniform_readings
from experiments.pairwise_view import View, knowledge
from meter_agent.pairwise import Variant

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
    assert abs(found.bits) < 4 * found.error
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
def test_the_default_run_writes_the_rows_and_draws_the_figures(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    ran = CliRunner().invoke(pairwise_attack, ["--json", str(out), "--figures", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    found = json.loads(out.read_text())
    names = {"seed-known-graph", "seed-unknown-graph", "bounded-noise", "colluding-neighbours", "component-split"}
    assert {(row["attack"], row["variant"]) for row in found["rows"]} == {(n, v.value) for n in names for v in Variant}
    for row in found["rows"]:
        assert set(row) == {"attack", "variant", "degree", "readings", "recovered_fraction", "bits_leaked"}
        if row["variant"] == "hardened":
            assert row["recovered_fraction"] == 0
    assert found["seconds"] < 45
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".png", ".svg"}
