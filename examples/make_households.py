"""Makes examples/households.csv again: forty constructed households, nobody's, two days of half hours, with an afternoon missing.

.venv/bin/python examples/make_households.py > examples/households.csv
"""

from __future__ import annotations

import csv
import sys

from hushgrid.core.schedule import round_start
from testbed.households import constructed_truth

HOUSEHOLDS, ROUNDS, SEED = 40, 96, 7
#: One household has no reading in these rounds, counted from the first: its cells are empty.
AWAY, MISSING = "m0007", range(26, 32)

truth = constructed_truth(HOUSEHOLDS, ROUNDS, seed=SEED)
table = csv.writer(sys.stdout, lineterminator="\n")
table.writerow(["start_utc", *truth.meters])
for number in range(ROUNDS):
    start = round_start(truth.first_round + number, truth.interval_seconds)
    cells = [
        "" if (meter, number) in {(AWAY, at) for at in MISSING} else truth.values[meter][number]
        for meter in truth.meters
    ]
    table.writerow([f"{start:%Y-%m-%dT%H:%M:%SZ}", *cells])
