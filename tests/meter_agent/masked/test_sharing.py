"""Mechanism both: what all PPNs together learn of shares of masked readings."""

from __future__ import annotations

import itertools
import random

import numpy as np

from experiments.pairwise.table import FIELD, circulant_edges, constructed_readings, hardened
from experiments.pairwise.view import View, knowledge, rank
from hushgrid.core.encoding import lift_vector, lower, with_terms
from hushgrid.core.schedule import Window
from hushgrid.core.shamir import recombine, split

METERS, ROUNDS, MINIMUM = 6, 8, 3
EDGES = circulant_edges(METERS, (1, 2))
BOUND = 100_000


def test_all_ppns_together_learn_bills_and_component_sums_and_nothing_else():
    readings = constructed_readings(METERS, ROUNDS, random.Random(7))
    period, make = Window(0, ROUNDS), hardened(METERS)
    noises = [[] for _ in range(METERS)]
    for edge in EDGES:
        for meter, noise in zip(edge, make(edge), strict=True):
            noises[meter].append(noise)
    opened = np.zeros((METERS, ROUNDS), dtype=object)
    for i, j in itertools.product(range(METERS), range(ROUNDS)):
        # as `meter_agent.shares.sharing.seal_statement` shares one slot, and as all its PPNs would put it together again
        terms = [(noise.term(j, period),) for noise in noises[i]]
        (element,) = with_terms(lift_vector([int(readings[i, j])], BOUND, FIELD), terms, FIELD)
        points = range(1, 5)
        opened[i, j] = recombine(dict(zip(points, split(element, points, 3, FIELD), strict=True)), 3, FIELD)
    assert not np.any(opened == readings)
    for j in range(ROUNDS):
        assert lower(sum(opened[:, j]) % FIELD.modulus, METERS * BOUND, FIELD) == readings[:, j].sum()
    for i in range(METERS):
        assert lower(sum(opened[i]) % FIELD.modulus, ROUNDS * BOUND, FIELD) == readings[i].sum()

    known = knowledge(View(METERS, ROUNDS, EDGES))
    assert not known.determined()
    sums = np.zeros((METERS + ROUNDS, METERS * ROUNDS), dtype=np.int64)
    for i, j in itertools.product(range(METERS), range(ROUNDS)):
        sums[i, i * ROUNDS + j] = sums[METERS + j, i * ROUNDS + j] = 1
    assert known.rank == rank(sums) == rank(np.concatenate([known.functionals, sums]))
    for size in range(1, MINIMUM):
        for some in itertools.combinations(range(METERS), size):
            assert known.within(some) == size  # their bills
