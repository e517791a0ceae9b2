"""`hushgrid experiment`: one sub-command per question a paper asks."""

from __future__ import annotations

import click

from hushgrid.cli import is_there, loaded

#: Sub-command -> (module, attribute); imported when it is asked for.
_EXPERIMENTS = {
    "demand-response": ("experiments.demand.command", "demand_response"),
    "figure4": ("experiments.loss.figure4", "figure4"),
    "gateway-figures": ("experiments.gateway.command", "gateway_figures"),
    "loss-rate": ("experiments.loss.rate", "loss_rate"),
    "minppn": ("experiments.minppn.command", "minppn"),
    "pairwise-attack": ("experiments.pairwise.attack", "pairwise_attack"),
    "pairwise-cost": ("experiments.pairwise.cost_command", "pairwise_cost_command"),
    "pricing": ("experiments.pricing.command", "pricing"),
    "scaling": ("experiments.scaling.command", "scaling"),
    "state-estimation": ("experiments.grid.command", "state_estimation"),
    "theft-and-demand": ("experiments.demand.theft_command", "theft_and_demand"),
    "theft-game": ("experiments.theft.game", "theft_game"),
    "theft-ranking": ("experiments.theft.ranking", "theft_ranking"),
}


class _Experiments(click.Group):
    """Those of `_EXPERIMENTS` that are built."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [name for name, (module, _) in _EXPERIMENTS.items() if is_there(module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module, attribute = _EXPERIMENTS[cmd_name]
        return loaded(f"hushgrid experiment {cmd_name}", module, attribute, "experiments")


@click.group(cls=_Experiments)
def experiment() -> None:
    """Reproduce the papers' tables and figures, and beat them."""
