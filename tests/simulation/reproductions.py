"""Histories that matter, cut down to the steps they need: each breaks an invariant of the mutant it is named after.

A history that breaks the system itself is added under a name of its own, and stays.
"""

from __future__ import annotations

from world import Step

from hushgrid.plan import Recovery

REPRODUCTIONS: dict[str, tuple[Recovery, list[Step]]] = {
    "skip_the_digest_check_at_the_consumer": (
        Recovery.AGREE,
        [
            ("meter", 927, 806),
            ("restate", 354, 698),
            ("flush", 618, 59),
            ("crash", 905, 262),
            ("flush", 24, 541),
            ("freeze", 758, 489),
            ("flush", 229, 733),
            ("decide", 512, 53),
        ],
    ),
    "skip_the_digest_check_at_the_ppn": (
        Recovery.AGREE,
        [
            ("meter", 771, 413),
            ("flush", 757, 555),
            ("freeze", 55, 601),
            ("meter", 792, 167),
            ("flush", 866, 643),
            ("flush", 408, 938),
            ("restate", 931, 898),
            ("decide", 951, 23),
            ("forget", 406, 728),
            ("deliver", 161, 259),
            ("duplicate", 942, 817),
            ("deliver", 202, 422),
            ("flush", 51, 976),
        ],
    ),
    "countersign_a_second_decision": (
        Recovery.AGREE,
        [
            ("meter", 648, 370),
            ("flush", 250, 616),
            ("freeze", 440, 311),
            ("drop", 512, 901),
            ("freeze", 388, 495),
            ("flush", 383, 386),
            ("decide", 540, 398),
            ("forget", 389, 815),
        ],
    ),
    "allow_a_second_release": (Recovery.AGREE, []),
    "accept_late_shares": (Recovery.REPAIR, [("meter", 958, 990), ("freeze", 866, 963)]),
    "count_duplicates": (Recovery.REPAIR, [("meter", 987, 554), ("duplicate", 273, 291)]),
    "one_coefficient_too_few": (Recovery.AGREE, []),
    "sum_what_is_there": (Recovery.NONE, [("cut", 42, 461), ("meter", 492, 893), ("flush", 999, 510)]),
    "receipt_before_disk": (Recovery.REPAIR, [("meter", 286, 620), ("flush", 167, 715), ("crash", 819, 68)]),
    "no_minimum": (Recovery.REPAIR, [("meter", 958, 990), ("freeze", 866, 963)]),
    "release_without_a_certificate": (
        Recovery.REPAIR,
        [
            ("meter", 959, 671),
            ("freeze", 967, 105),
            ("crash", 261, 915),
            ("flush", 122, 790),
            ("decide", 259, 867),
            ("flush", 453, 673),
            ("release", 508, 626),
        ],
    ),
    "no_coverage_floor": (Recovery.REPAIR, [("meter", 990, 196), ("flush", 679, 267), ("freeze", 706, 394)]),
    "believe_any_decision": (Recovery.NONE, [("meter", 6, 98), ("freeze", 198, 175), ("forge", 644, 195)]),
    "believe_any_leave": (
        Recovery.REPAIR,
        [
            ("meter", 139, 80),
            ("freeze", 691, 33),
            ("cut", 713, 904),
            ("flush", 76, 334),
            ("decide", 327, 243),
            ("flush", 423, 407),
            ("forge", 322, 20),
        ],
    ),
    "leave_of_one": (
        Recovery.REPAIR,
        [
            ("meter", 139, 80),
            ("freeze", 691, 33),
            ("cut", 713, 904),
            ("flush", 76, 334),
            ("decide", 327, 243),
            ("flush", 423, 407),
            ("forge", 139, 211),
        ],
    ),
    "believe_the_first_shares": (Recovery.AGREE, [("lie", 964, 223)]),
}
