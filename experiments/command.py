"""`hushgrid experiment`: one sub-command per question a paper asks."""

from __future__ import annotations

import importlib
import importlib.util

import click

#: Sub-command -> (module, attribute); imported when it is asked for.
_EXPERIMENTS = {
    "figure4": ("experiments.figure4", "figure4"),
    "loss-rate": ("experiments.loss_rate", "loss_rate"),
    "minppn": ("experiments.minppn", "minppn"),
    "pairwise-attack": ("experiments.pairwise_attack", "pairwise_attack"),
    "pairwise-cost": ("experiments.pairwise_cost", "pairwise_cost_command"),
    "scaling": ("experiments.scaling", "scaling"),
}


class _Experiments(click.Group):
    """Those of `_EXPERIMENTS` that are built."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [name for name, (module, _) in _EXPERIMENTS.items() if importlib.util.find_spec(module) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module, attribute = _EXPERIMENTS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=_Experiments)
def experiment() -> None:
    """Reproduce the papers' tables and figures, and beat them."""
