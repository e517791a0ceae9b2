"""What the pages and the docstrings refer to is there: paths, dotted names, links, sections."""

from __future__ import annotations

import pytest
from support import ROOT
from support.references import broken_in_code, broken_in_page, modules, resolves, settings

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_refers_to_nothing_that_is_not_there(page):
    assert list(broken_in_page(page.read_text(), page)) == []


@pytest.mark.parametrize("package", sorted({name.partition(".")[0] for name in modules()}))
def test_docstrings_refer_to_nothing_that_is_not_there(package):
    broken = {name: list(broken_in_code(name)) for name in modules() if name.partition(".")[0] == package}
    assert {name: found for name, found in broken.items() if found} == {}


@pytest.mark.parametrize(
    "text",
    [
        "`hushgrid/control.py`",
        "see hushgrid/nothing/*.py",
        "`masked_rules.py`",
        "`plan.check_roofs`",
        "`hushgrid.core.shamir.splot`",
        "`hushgrid.core.field.Field.nothing`",
        "`decision.withhold`",
        "[a page](gone.md)",
        "[a section](protocol.md#gone)",
    ],
)
def test_a_reference_that_leads_nowhere_is_found(text):
    assert len(list(broken_in_page(text, ROOT / "docs" / "page.md"))) == 1


def test_what_is_there_is_not_complained_of():
    text = (
        "`hushgrid/core/shamir.py` `hushgrid.core.shamir.split` `hushgrid.core.field.Field.inverse` `test_packaging.py` "
        "`plan.recovery` `keys.sqlite` [a section](protocol.md#rounds)"
    )
    assert list(broken_in_page(text, ROOT / "docs" / "page.md")) == []
    assert resolves("ppn_node.rounds.Rounds.freeze")
    assert "plan.recovery" in settings()
