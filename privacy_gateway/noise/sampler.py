"""Who draws the noise: OpenDP where it is installed, else the project's own sampler. Both are exact, over whole
numbers only.

One small interface, so that either can be put in the other's place (docs/decisions/0017-who-draws-the-noise.md).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import secrets
from fractions import Fraction
from typing import Any, Protocol

from hushgrid.core.noise.sampling import discrete_gaussian, discrete_laplace
from hushgrid.core.shamir import RandBelow
from privacy_gateway.noise.laws import GaussianLaw, LaplaceLaw


class NoiseSampler(Protocol):
    """Draws from a law, each time anew. name: what an answer says of where its noise came from."""

    @property
    def name(self) -> str:
        """The library and its version."""
        ...

    def draw(self, law: LaplaceLaw | GaussianLaw, count: int) -> list[int]:
        """So many whole numbers, independent of each other."""
        ...


class ExactSampler:
    """The project's own: Canonne, Kamath, Steinke with whole numbers, from the operating system's randomness."""

    name = "hushgrid.core.noise"

    def __init__(self, randbelow: RandBelow = secrets.randbelow) -> None:
        self._randbelow = randbelow

    def draw(self, law: LaplaceLaw | GaussianLaw, count: int) -> list[int]:
        """So many whole numbers."""
        if isinstance(law, LaplaceLaw):
            return [discrete_laplace(law.scale, self._randbelow) for _ in range(count)]
        return [discrete_gaussian(law.variance, self._randbelow) for _ in range(count)]


class OpenDpSampler:
    """OpenDP's samplers over 64-bit whole numbers. ImportError where it is not installed."""

    def __init__(self) -> None:
        import opendp.prelude as library  # noqa: PLC0415  # the extra [gateway]; 60 ms

        library.enable_features("contrib")
        self._library: Any = library
        self.name = f"opendp {importlib.metadata.version('opendp')}"

    def draw(self, law: LaplaceLaw | GaussianLaw, count: int) -> list[int]:
        """So many whole numbers. ValueError for a law whose scale OpenDP cannot hold: it would draw from another
        one.
        """
        library, space = self._library, self._library.vector_domain(self._library.atom_domain(T="i64"))
        if isinstance(law, LaplaceLaw):
            measurement = library.m.make_laplace(space, library.l1_distance(T="i64"), scale=as_float(law.scale))
        else:
            deviation = math.sqrt(law.variance)
            if Fraction(deviation) ** 2 != law.variance:
                raise ValueError(f"the root of {law.variance} is no number that OpenDP can hold")
            measurement = library.m.make_gaussian(space, library.l2_distance(T="f64"), scale=deviation)
        return [int(number) for number in measurement([0] * count)]


def as_float(exact: Fraction) -> float:
    """The same number. ValueError where no float is."""
    held = float(exact)
    if Fraction(held) != exact:
        raise ValueError(f"{exact} is no number that OpenDP can hold")
    return held


def installed_sampler() -> NoiseSampler:
    """OpenDP's where it is installed, else the project's own."""
    return ExactSampler() if importlib.util.find_spec("opendp") is None else OpenDpSampler()
