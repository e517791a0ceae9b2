"""What goes under a reading: three answers that no truth value can confuse."""

from __future__ import annotations

import pytest
from support.builders import FIELD, head

from hushgrid.core import shamir
from hushgrid.core.sealing import Agreement
from hushgrid.wire.shares import ShareText, share_context
from meter_agent.cover import Bare, Masked, Silent
from meter_agent.shares.sharing import derive_keys, seal_statement


def opened(cover, slots=(7,)):
    """What t PPNs together make of one statement; None for "no reading"."""
    plan = head(modulus=FIELD.modulus)
    own, points = Agreement.generate(), [ppn.point for ppn in plan.ppns][: plan.width]
    keys = derive_keys(own, plan, points, plan.grid)
    sealed = seal_statement(slots, number=1, round_number=0, head=plan, plan_digest=plan.digest, keys=keys, cover=cover)
    texts = {
        point: ShareText.from_bytes(
            keys[point].unseal(share, share_context(plan.digest, 1, point, 0), stream=0, round_number=0), 1, plan.field
        )
        for point, share in sealed.items()
    }
    if any(text.elements is None for text in texts.values()):
        assert all(text.elements is None for text in texts.values())
        return None
    return shamir.recombine({p: text.elements[0] for p, text in texts.items()}, plan.threshold, plan.field)


def test_a_bare_reading_is_shared_as_it_is():
    assert opened(Bare()) == 7


def test_a_masked_reading_carries_its_terms():
    assert opened(Masked(((5,), (-2,)))) == 10


def test_a_silent_meter_says_no_reading_whatever_its_source_says():
    assert opened(Silent()) is None


def test_terms_of_zero_are_terms_and_not_the_lack_of_them():
    assert opened(Masked(((0,),))) == 7


def test_no_terms_are_no_mask():
    with pytest.raises(ValueError, match="at least one term"):
        Masked(())
