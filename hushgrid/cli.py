"""What commands for people take and write, and how they end when a person has to change something."""

from __future__ import annotations

import errno
import functools
import importlib.util
import math
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import click

from hushgrid.errors import ConfigurationError, HushgridError, RefusedError
from hushgrid.extras import not_installed
from hushgrid.shell.runtime import EXIT_CONFIGURATION, EXIT_FAILURE

_P = ParamSpec("_P")

#: A folder takes no second file, though the file itself may be written: another's folder, or a file mounted by itself.
_NO_SECOND_FILE = frozenset({errno.EACCES, errno.EPERM, errno.EBUSY, errno.EROFS})


class NumberRange(click.FloatRange):
    """A range of finite numbers: NaN compares with nothing and passes `click.FloatRange`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def is_there(module: str) -> bool:
    """Whether a module can be imported, without importing it: an image holds some of the project's packages only."""
    package, dot, _ = module.partition(".")
    return importlib.util.find_spec(package) is not None and (not dot or importlib.util.find_spec(module) is not None)


def loaded(command: str, module: str, attribute: str, extra: str) -> click.Command:
    """A command that lives in `module`; where a package of its extra is missing, one that says so when it is called."""
    try:
        found: click.Command = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        return _absent(command, str(not_installed(command, error, extra)))
    return found


def _absent(command: str, reason: str) -> click.Command:
    def refuse(**_arguments: object) -> None:
        raise click.UsageError(reason)

    arguments = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
    anything = {"ignore_unknown_options": True, "help_option_names": []}
    return click.Command(
        command.rsplit(maxsplit=1)[-1], callback=refuse, params=[arguments], context_settings=anything,
        short_help="(not installed)", add_help_option=False,
    )  # fmt: skip


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
