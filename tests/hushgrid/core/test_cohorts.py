"""Selectors of meters: one grammar for the rules file, for what consumers ask for, and for the configured policy."""

from __future__ import annotations

import numpy as np
import pytest

from configurator.audit.cohorts import Census
from configurator.audit.registered import policy_of
from configurator.offline.rules_file import cohort_mask
from configurator.sections import PlanSection, PolicySection, RightSection
from hushgrid.core.cohorts import Selector, Unknown, ends_of, item_of, resolve_cohort
from hushgrid.core.field import MODULI
from hushgrid.errors import ConfigurationError, RefusedError

METERS = ("m1", "m1..m3", "m2", "m3", "m4")
READ = {
    "all": ("all", METERS),
    "one id": (["m2"], ("m2",)),
    "a range": (["m2..m4"], ("m2", "m3", "m4")),
    "an id with two dots in it": (["m1..m3"], ("m1..m3",)),
    "a range that holds such an id": (["m1..m2"], ("m1", "m1..m3", "m2")),
    "a range that begins at itself": (["m3..m3"], ("m3",)),
    "overlapping items, in any order": (["m4", "m2..m3", "m3"], ("m2", "m3", "m4")),
}
REFUSED = {
    "an unknown id": (["m9"], "unknown meter m9"),
    "a range with an unknown end": (["m2..m9"], "unknown meter m9"),
    "a range with an unknown beginning": (["m0..m2"], "unknown meter m0"),
    "a backwards range": (["m4..m2"], "the range m4..m2 runs backwards"),
    "a range without an end": (["m2.."], "unknown meter "),
    "all in a list, where it is an id": (["all"], "unknown meter all"),
}


def by_rules_file(selector):
    census = Census.of(METERS)
    return tuple(census.named(cohort_mask(selector, census, "here")))


def by_policy(selector):
    numbers = {meter: number for number, meter in enumerate(METERS)}
    cohort = selector if isinstance(selector, str) else tuple(selector)
    section = PolicySection(rights={"c": RightSection(cohort=cohort)})
    rights = policy_of(PlanSection(), section, numbers, MODULI[0]).rights
    return tuple(METERS[at] for at in np.flatnonzero(rights["c"].cohort))


@pytest.mark.parametrize("name", READ)
def test_everybody_reads_a_selector_alike(name):
    selector, meters = READ[name]
    assert resolve_cohort(selector, METERS) == meters
    assert by_rules_file(selector) == meters
    assert by_policy(selector) == meters


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_unknown_or_backwards_is_refused_with_the_same_words(name):
    selector, reason = REFUSED[name]
    with pytest.raises(RefusedError) as refused:
        resolve_cohort(selector, METERS)
    assert refused.value.reason == reason
    with pytest.raises(ConfigurationError) as at_fault:
        by_rules_file(selector)
    assert str(at_fault.value) == f"here: {reason}"


def test_one_text_is_one_item():
    assert Selector.parse("m2..m3") == Selector.parse(["m2..m3"])
    for unknown in Unknown:
        assert Selector.parse("m2..m3").among(METERS, unknown=unknown) == ("m2", "m3")
    assert by_rules_file("m2..m3") == resolve_cohort("m2..m3", METERS) == ("m2", "m3")


def test_a_policy_may_speak_of_meters_still_to_come():
    assert by_policy(["m0..m2", "m9"]) == ("m1", "m1..m3", "m2")
    assert by_policy(["m3..m9"]) == ("m3", "m4")
    assert by_policy(["m8..m9"]) == by_policy(["m4..m2"]) == ()


def test_nobody_is_a_cohort_only_where_a_policy_says_so():
    assert Selector.parse([]).among(METERS) == ()
    assert by_rules_file([]) == ()
    with pytest.raises(RefusedError, match="the cohort is empty"):
        resolve_cohort([], METERS)


@pytest.mark.parametrize(("first", "last"), [("m1", "m3"), ("m2", "m2"), ("m3", "m1")])
def test_an_item_has_the_ends_it_was_made_of(first, last):
    assert ends_of(item_of(first, last)) == (first, last)
