"""Pairwise noise as the paper prints it (002, fig. 2 and section V-B): for study and comparison, never for a meter.

Two forms, both with integers of the size of a reading instead of masks in Z_q:

- fresh: in every round the pair draws anew;
- hashed: it draws one seed r and uses h(r, j) afterwards. r is one of D + 1 integers, 12 bits for D = 5,000, and h is
  public: `hushgrid experiment pairwise-attack` recovers every reading from the masked ones alone.

Misprints: in the hash variant both sides print (-1)^(j-1) sigma_i h(r, j), with the index of sigma lost; the signs must be
opposite, sigma_i for i and sigma_k = -sigma_i for k. Every entry here refuses without `unsafe=True`, and warns with it.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import struct
import warnings
from dataclasses import dataclass

from hushgrid.core.pairwise import DrawnNoise, balanced
from hushgrid.core.schedule import Window
from hushgrid.core.shamir import RandBelow
from hushgrid.errors import ConfigurationError


class UnsafeNoiseWarning(UserWarning):
    """Noise was made that does not hide readings."""


def require_unsafe(unsafe: bool) -> None:
    """ConfigurationError unless the caller says that it wants noise that is known to be broken."""
    if not unsafe:
        raise ConfigurationError(
            "the published noise is broken (docs/pairwise.md): it needs the explicit unsafe flag, outside deployments"
        )
    warnings.warn("published pairwise noise does not hide readings", UnsafeNoiseWarning, stacklevel=3)


def draw(noise_span_watt_hours: int, randbelow: RandBelow = secrets.randbelow) -> int:
    """Uniform over the integers of [-D/2, D/2] (fig. 2, steps 1a and 1b); D = span, in Wh."""
    half = noise_span_watt_hours // 2
    return randbelow(2 * half + 1) - half


def settle(requester: int, answerer: int) -> tuple[int, int]:
    """(r, sigma of the requester) from the two draws: r = max, sigma = 1 if the requester drew more, else -1 (step 1c).

    sigma r is uniform over [-D/2, D/2] again, although r leans to the positive. Whoever answers second sees the other's
    draw first and may choose r.
    """
    return max(requester, answerer), 1 if requester > answerer else -1


def public_hash(seed: int, place: int, span_watt_hours: int) -> int:
    """h(r, j): an integer in [-D, D] by SHA-256, known to everybody; j = place in the period, counted from 1.

    The paper leaves h open; any other public function falls to the same attack.
    """
    digest = hashlib.sha256(struct.pack(">qQ", seed, place)).digest()
    return int.from_bytes(digest, "big") % (2 * span_watt_hours + 1) - span_watt_hours


@dataclass(frozen=True, slots=True, repr=False)
class HashedPair:
    """One side of a pair in the hash variant: s_1 = sigma r, s_j = (-1)^(j-1) sigma h(r, j), the last one balances."""

    seed: int
    sign: int
    noise_span_watt_hours: int
    unsafe: bool = False

    def __post_init__(self) -> None:
        require_unsafe(self.unsafe)

    def term(self, round_number: int, period: Window, slot: int = 0) -> int:
        """See `hushgrid.core.pairwise.Noise`; an integer, in Wh. The paper's reading has one slot: ValueError for another."""
        if slot:
            raise ValueError("the published noise has one slot")

        def earlier(before: int) -> int:
            place = before - period.first + 1
            if place == 1:
                return self.sign * self.seed
            flip = -1 if place % 2 == 0 else 1
            return flip * self.sign * public_hash(self.seed, place, self.noise_span_watt_hours)

        return balanced(round_number, period, earlier)


def hashed_pair(
    noise_span_watt_hours: int, *, unsafe: bool, randbelow: RandBelow = secrets.randbelow
) -> tuple[HashedPair, HashedPair]:
    """Both sides of a pair in the hash variant, requester first."""
    seed, sign = settle(draw(noise_span_watt_hours, randbelow), draw(noise_span_watt_hours, randbelow))
    return (
        HashedPair(seed, sign, noise_span_watt_hours, unsafe),
        HashedPair(seed, -sign, noise_span_watt_hours, unsafe),
    )


def fresh_pair(
    period: Window, noise_span_watt_hours: int, *, unsafe: bool, randbelow: RandBelow = secrets.randbelow
) -> tuple[DrawnNoise, DrawnNoise]:
    """Both sides of a pair that draws anew in every round (fig. 2), requester first."""
    require_unsafe(unsafe)
    terms = []
    for _ in range(period.rounds - 1):
        amount, sign = settle(draw(noise_span_watt_hours, randbelow), draw(noise_span_watt_hours, randbelow))
        terms.append(sign * amount)
    return DrawnNoise(period, tuple(terms)), DrawnNoise(period, tuple(-term for term in terms))


def published_epsilon(span_watt_hours: int) -> float:
    """What the paper's fallback amounts to: scale b = sqrt(D / 2), so epsilon = D / b = sqrt(2 D)."""
    return math.sqrt(2 * span_watt_hours)


def draw_isolated(
    period: Window, span_watt_hours: int, *, unsafe: bool, randbelow: RandBelow = secrets.randbelow
) -> DrawnNoise:
    """The paper's fallback for an isolated meter: Laplace of mean 0 and variance D (Wh^2), rounded to Wh."""
    require_unsafe(unsafe)
    scale = math.sqrt(span_watt_hours / 2)

    def laplace() -> int:
        uniform = (randbelow(1 << 53) + 0.5) / (1 << 53) - 0.5
        return round(-math.copysign(scale, uniform) * math.log1p(-2 * abs(uniform)))

    return DrawnNoise(period, tuple(laplace() for _ in range(period.rounds - 1)))
