"""Histories that matter, cut down to the steps they need: each breaks an invariant of the mutant it is named after.

A history that breaks the system itself is added under a name of its own, and stays.
"""

from __future__ import annotations

from hushgrid.core.recovery import Recovery
from support.simulation.world import Step

REPRODUCTIONS: dict[str, tuple[Recovery, list[Step]]] = {
    "skip_the_digest_check_at_the_consumer": (
        Recovery.AGREE,
        [
            ("meter", 6, 0),
            ("restate", 0, 0),
            ("flush", 0, 0),
            ("freeze", 1, 0),
            ("freeze", 2, 0),
            ("flush", 0, 0),
            ("decide", 0, 1),
        ],
    ),
    "skip_the_digest_check_at_the_ppn": (
        Recovery.AGREE,
        [
            ("meter", 6, 0),
            ("flush", 0, 0),
            ("freeze", 0, 1),
            ("flush", 0, 0),
            ("decide", 0, 1),
            ("deliver", 0, 0),
            ("drop", 0, 2),
            ("forget", 0, 0),
            ("flush", 0, 0),
            ("forge", 0, 3),
        ],
    ),
    "countersign_a_second_decision": (
        Recovery.REPAIR,
        [
            ("meter", 826, 67),
            ("replay", 984, 967),
            ("freeze", 247, 225),
            ("wait", 447, 371),
            ("drop", 282, 555),
            ("flush", 216, 951),
            ("decide", 219, 565),
            ("forget", 168, 218),
        ],
    ),
    "allow_a_second_release": (
        Recovery.REPAIR,
        [
            ("meter", 429, 659),
            ("crash", 392, 119),
            ("crash", 404, 430),
            ("freeze", 276, 885),
            ("meter", 822, 606),
            ("flush", 191, 403),
            ("flush", 874, 616),
            ("freeze", 9, 791),
            ("repeat", 850, 303),
            ("wait", 395, 75),
            ("flush", 213, 596),
            ("decide", 377, 380),
            ("wait", 637, 464),
            ("flush", 601, 495),
            ("replay", 642, 157),
        ],
    ),
    "accept_late_shares": (Recovery.REPAIR, [("meter", 375, 561), ("freeze", 167, 533)]),
    "count_duplicates": (
        Recovery.REPAIR,
        [
            ("meter", 990, 196),
            ("freeze", 689, 317),
            ("flush", 240, 343),
            ("meter", 512, 183),
            ("decide", 28, 390),
            ("crash", 105, 771),
            ("freeze", 562, 372),
        ],
    ),
    "one_coefficient_too_few": (Recovery.AGREE, []),
    "sum_what_is_there": (Recovery.NONE, [("meter", 815, 362), ("freeze", 465, 921)]),
    "receipt_before_disk": (Recovery.AGREE, []),
    "no_minimum": (Recovery.REPAIR, [("meter", 375, 561), ("freeze", 167, 533)]),
    "release_without_a_certificate": (Recovery.AGREE, []),
    "no_coverage_floor": (Recovery.REPAIR, [("meter", 990, 196), ("flush", 679, 267), ("freeze", 706, 394)]),
    "believe_any_decision": (
        Recovery.REPAIR,
        [("meter", 943, 359), ("flush", 100, 379), ("freeze", 987, 21), ("forge", 750, 936)],
    ),
    "believe_any_leave": (
        Recovery.REPAIR,
        [
            ("meter", 6, 0),
            ("flush", 0, 0),
            ("freeze", 0, 1),
            ("flush", 0, 0),
            ("decide", 0, 1),
            ("deliver", 0, 0),
            ("forge", 0, 2),
        ],
    ),
    "leave_of_one": (
        Recovery.REPAIR,
        [
            ("meter", 6, 0),
            ("flush", 0, 0),
            ("freeze", 0, 1),
            ("flush", 0, 0),
            ("decide", 0, 1),
            ("deliver", 0, 0),
            ("forge", 0, 1),
        ],
    ),
    "believe_the_first_shares": (Recovery.AGREE, [("lie", 964, 223)]),
    "decide_without_a_minimum": (Recovery.REPAIR, [("meter", 375, 561), ("freeze", 167, 533)]),
    "release_what_conspires": (
        Recovery.REPAIR,
        [("meter", 959, 671), ("meter", 524, 291), ("meter", 522, 981), ("meter", 389, 677)],
    ),
    "forget_what_is_out": (Recovery.AGREE, [("meter", 3, 0), ("meter", 3, 0), ("restate", 4, 0)]),
    "drop_a_withheld_window": (Recovery.REPAIR, [("meter", 375, 561), ("freeze", 167, 533)]),
    "decide_on_a_minority": (Recovery.REPAIR, [("meter", 794, 690), ("drop", 414, 526)]),
    "decide_again_with_a_late_roster": (
        Recovery.REPAIR,
        [("meter", 47, 570), ("crash", 315, 573), ("flush", 835, 698)],
    ),
}
