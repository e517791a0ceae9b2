"""What commands for people take, and how they end when a person has to change something."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import click

from hushgrid.errors import ConfigurationError, HushgridError, RefusedError
from hushgrid.runtime import EXIT_CONFIGURATION, EXIT_FAILURE

_P = ParamSpec("_P")


class NumberRange(click.FloatRange):
    """A range of finite numbers: NaN compares with nothing and passes `click.FloatRange`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def stops_with_one_line(command: Callable[_P, None]) -> Callable[_P, None]:
    """A ConfigurationError or a refusal becomes one line on standard error and exit status 2; a file that does not serve, 1."""

    @functools.wraps(command)
    def stopped(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except HushgridError as error:
            click.echo(f"hushgrid: {' '.join(str(error).split())}", err=True)
            sys.exit(EXIT_CONFIGURATION if isinstance(error, ConfigurationError | RefusedError) else EXIT_FAILURE)

    return stopped
