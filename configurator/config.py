"""Configuration of the configurator."""

from __future__ import annotations

from configurator.masked.section import PairwiseSection
from configurator.sections import AgreementSection, PlacementSection, PlanSection, PolicySection
from hushgrid.shell.config import ServiceConfig


class ConfiguratorConfig(ServiceConfig):
    """`hushgrid-configurator --config FILE.toml`."""

    plan: PlanSection = PlanSection()
    policy: PolicySection = PolicySection()
    placement: PlacementSection = PlacementSection()
    pairwise: PairwiseSection | None = None
    agreement: AgreementSection = AgreementSection()
