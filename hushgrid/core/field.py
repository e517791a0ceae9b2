"""The prime field Z_q in which readings are shared.

q is prime, larger than every evaluation point and far above twice the largest aggregate (invariant 10).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from hushgrid.errors import ConfigurationError

#: Margin above twice the largest aggregate: a random element of Z_q, which is what mismatched shares recombine to,
#: then falls into the range of plausible aggregates with a probability below 2**-20.
GUARD = 1 << 20

#: Primes from which a plan takes the smallest that is large enough. The first fits the 64-bit kernels.
MODULI: tuple[int, ...] = (2**55 - 55, 2**61 - 1, 2**89 - 1, 2**127 - 1)

# Deterministic for every n below 3.3e24 (Sorenson and Webster 2015); above that a round of 2**-64 error bound is added.
_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
_EXTRA_WITNESSES = (43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131)


@functools.lru_cache(maxsize=64)
def is_prime(number: int) -> bool:
    """Miller-Rabin: exact below 3.3e24, error below 4**-32 above."""
    if number < 2:
        return False
    witnesses = _WITNESSES + _EXTRA_WITNESSES
    for witness in witnesses:
        if number % witness == 0:
            return number == witness
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for witness in witnesses:
        power = pow(witness, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Field:
    """Z_q for a prime q. Elements are plain ints in [0, q)."""

    modulus: int

    def __post_init__(self) -> None:
        if not is_prime(self.modulus):
            raise ConfigurationError(f"modulus q = {self.modulus} is not prime")

    @property
    def element_bytes(self) -> int:
        """Bytes of one element on the wire, big endian."""
        return (self.modulus.bit_length() + 7) // 8

    def to_bytes(self, element: int) -> bytes:
        """The element's fixed-length wire form."""
        return element.to_bytes(self.element_bytes, "big")

    def from_bytes(self, wire: bytes) -> int:
        """Back from the wire; ValueError when the length is wrong or the value is not below q (never reduced)."""
        if len(wire) != self.element_bytes:
            raise ValueError("field element of wrong length")
        element = int.from_bytes(wire, "big")
        if element >= self.modulus:
            raise ValueError("field element not below q")
        return element

    def inverse(self, element: int) -> int:
        """The multiplicative inverse; ValueError for 0."""
        return pow(element, -1, self.modulus)


def required_modulus(
    contributors: int, window_rounds: int, reading_bound_watt_hours: int, weight_bound: int = 1
) -> int:
    """The number q has to exceed: 2 |cohort| k max|reading| max|weight|, times the guard (invariant 10)."""
    return 2 * contributors * window_rounds * reading_bound_watt_hours * weight_bound * GUARD


def choose_modulus(contributors: int, window_rounds: int, reading_bound_watt_hours: int) -> int:
    """The smallest prime of `MODULI` that is large enough; ConfigurationError when none is."""
    needed = required_modulus(contributors, window_rounds, reading_bound_watt_hours)
    for modulus in MODULI:
        if modulus > needed:
            return modulus
    raise ConfigurationError(
        f"no modulus is large enough for {contributors} meters x {window_rounds} rounds x {reading_bound_watt_hours} Wh"
    )


def check_modulus(modulus: int, contributors: int, window_rounds: int, reading_bound_watt_hours: int) -> None:
    """Refuse a q that an aggregate could wrap around (invariant 10): ConfigurationError with both numbers."""
    needed = required_modulus(contributors, window_rounds, reading_bound_watt_hours)
    if modulus <= needed:
        raise ConfigurationError(
            f"modulus q = {modulus} is too small for {contributors} meters x {window_rounds} rounds x "
            f"{reading_bound_watt_hours} Wh: it must exceed {needed}"
        )
