"""Lists as the options of experiments take them; what cannot be taken is one line that says so."""

from __future__ import annotations

import math

import click


def whole_numbers(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """A list of whole numbers above 0, as an option takes it."""
    try:
        numbers = tuple(int(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers above 0 such as 100,1000")
    return numbers


def fractions(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[float, ...]:
    """A list of fractions and of ranges such as 1e-5..1e-1, of which every power of ten is taken."""
    found: list[float] = []
    try:
        for part in value.split(","):
            low, dots, high = part.partition("..")
            found += _decades(float(low), float(high)) if dots else [float(low)]
    except ValueError:
        found = []
    if not found or not all(0 <= loss <= 1 for loss in found):
        raise click.BadParameter(f"{value!r} is not a list of fractions such as 0.001,0.01 or 1e-5..1e-1")
    return tuple(dict.fromkeys(found))


def open_fractions(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    """As `fractions`, of numbers that are neither 0 nor 1."""
    found = fractions(context, parameter, value)
    if not all(0 < part < 1 for part in found):
        raise click.BadParameter(f"{value!r}: each lies between 0 and 1")
    return found


def numbers_above_zero(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[float, ...]:
    """A list of finite numbers above 0, as an option takes it."""
    try:
        found = tuple(float(part) for part in value.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < part < math.inf for part in found):
        raise click.BadParameter(f"{value!r} is not a list of numbers above 0 such as 3,4.5")
    return found


def _decades(low: float, high: float) -> list[float]:
    """low, 10 low, ... up to high, as the decimal numbers that they are."""
    if not 0 < low <= high:
        raise ValueError("an empty range")
    steps = int(math.log10(high / low) + 1e-9)
    return [float(f"{low * 10**step:.12g}") for step in range(steps + 1)]


def decimals(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[float, ...]:
    """A list of finite numbers, of either sign."""
    try:
        found = tuple(float(part) for part in value.split(","))
    except ValueError:
        found = ()
    if not found or not all(map(math.isfinite, found)):
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 0.64,-0.32")
    return found


def choices(allowed: tuple[str, ...]):  # type: ignore[no-untyped-def]
    """A callback that takes a list of the allowed words."""

    def chosen(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
        parts = tuple(dict.fromkeys(value.split(",")))
        if not set(parts) <= set(allowed):
            raise click.BadParameter(f"{value!r} is not a list of {', '.join(allowed)}")
        return parts

    return chosen
