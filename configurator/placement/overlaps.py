"""Which rules have a meter in common: no operator may hold too many shares of it over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from configurator.audit.cohorts import Partition
from configurator.audit.policy import Request

#: Distinct sets of rules that meet at a meter above which the placement assumes that all rules meet.
_LARGEST_OVERLAPS = 500


def overlaps(requests: Sequence[Request], meters: int) -> list[frozenset[str]] | None:
    """The sets of rules that meet at some meter; None (all rules meet) when there are too many to list."""
    partition = Partition.whole(meters)
    for request in requests:
        partition = partition.refined(request.cohort)
        if partition.classes > _LARGEST_OVERLAPS:
            return None
    return [
        frozenset(requests[at].name for at in np.flatnonzero(signature).tolist()) for signature in partition.signatures
    ]
