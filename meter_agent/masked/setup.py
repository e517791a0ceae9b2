"""What two neighbours tell each other before they mask one billing period. No I/O; randomness is an argument.

    hardened    a confirmation that both hold one pair key; under self-masks also the sender's Shamir share of each of its
                self-masks of the period, so that its neighbours can open them if it falls silent
    published   the draw from which both sides settle the seed (002, fig. 2, steps 1a to 1c)

The set-up is sealed under a key derived from the pair key, which is bound to grid, epoch, stream and graph; the answer to
it says only that it is on the other's disk. One (pair, period, direction) seals one text for ever.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hushgrid.core.field import Field
from hushgrid.core.pairwise import Noise, Pair, SelfMask
from hushgrid.core.pairwise_published import HashedPair, draw, settle
from hushgrid.core.schedule import Window
from hushgrid.core.sealing import KEY_BYTES, fields
from hushgrid.core.shamir import RandBelow
from hushgrid.errors import MessageError, RejectReason
from hushgrid.plan.parts import MaskTerms
from hushgrid.wire.masked import elements_from
from hushgrid.wire.model import Variant
from meter_agent.masked.disclosure import share_self_mask

CONFIRMATION_BYTES = 16
_DRAW = struct.Struct(">q")
_ANSWER = b"\x01"


@dataclass(frozen=True, slots=True, repr=False)
class PairChannel:
    """One direction between two neighbours: seals set-ups and answers of the sender, per period."""

    pair: Pair
    sender: int
    recipient: int

    def _aead(self, acknowledges: bool) -> ChaCha20Poly1305:
        label = fields(
            b"pair answer" if acknowledges else b"pair set-up", struct.pack(">II", self.sender, self.recipient)
        )
        return ChaCha20Poly1305(
            HKDF(hashes.SHA256(), KEY_BYTES, salt=b"hushgrid/1", info=label).derive(self.pair.secret)
        )

    def seal(self, text: bytes, context: bytes, first_round: int) -> bytes:
        """A set-up; the same text gives the same bytes."""
        return self._aead(False).encrypt(struct.pack(">IQ", 0, first_round), text, context)

    def unseal(self, sealed: bytes, context: bytes, first_round: int) -> bytes:
        """The set-up's text; MessageError(BAD_SEAL) when the other side holds another key or it was changed."""
        return self._open(False, sealed, context, first_round)

    def answer(self, context: bytes, first_round: int) -> bytes:
        """The sender's word that the recipient's set-up is on its disk."""
        return self._aead(True).encrypt(struct.pack(">IQ", 0, first_round), _ANSWER, context)

    def check_answer(self, sealed: bytes, context: bytes, first_round: int) -> None:
        """MessageError(BAD_SEAL) unless it is that word."""
        if self._open(True, sealed, context, first_round) != _ANSWER:
            raise MessageError(RejectReason.MALFORMED, "pair answer")

    def _open(self, acknowledges: bool, sealed: bytes, context: bytes, first_round: int) -> bytes:
        try:
            return self._aead(acknowledges).decrypt(struct.pack(">IQ", 0, first_round), sealed, context)
        except (InvalidTag, ValueError):
            raise MessageError(RejectReason.BAD_SEAL, "pair") from None


def confirmation(pair: Pair, period: Window) -> bytes:
    """16 bytes that only who holds the pair key can say of this period; the same on both sides."""
    said = fields(b"pair confirmation", struct.pack(">QI", period.first, period.rounds))
    return hmac.digest(pair.secret, said, "sha256")[:CONFIRMATION_BYTES]


def hardened_texts(
    pairs: Mapping[int, Pair],
    period: Window,
    terms: MaskTerms,
    self_mask: SelfMask | None,
    slots: int,
    randbelow: RandBelow = secrets.randbelow,
) -> dict[int, bytes]:
    """Neighbour number -> the text for it. Points of the self-mask's shares are 1.. in the order of neighbour numbers."""
    ordered = sorted(pairs)
    shares: list[bytes] = [b""] * len(ordered)
    if self_mask is not None:
        for round_number in period:
            for slot in range(slots):
                value = self_mask.value(round_number, slot)
                split = share_self_mask(
                    value, len(ordered), terms.holders_threshold, terms.colluders, self_mask.field, randbelow
                )
                shares = [text + self_mask.field.to_bytes(s) for text, s in zip(shares, split, strict=True)]
    return {n: confirmation(pairs[n], period) + text for n, text in zip(ordered, shares, strict=True)}


def published_texts(
    neighbours: Sequence[int], terms: MaskTerms, randbelow: RandBelow = secrets.randbelow
) -> dict[int, bytes]:
    """Neighbour number -> this side's draw."""
    return {number: _DRAW.pack(draw(terms.noise_span_watt_hours, randbelow)) for number in neighbours}


def check_text(text: bytes, pair: Pair, period: Window, terms: MaskTerms, slots: int) -> None:
    """MessageError unless it is a set-up of this kind of period: length, confirmation, range."""
    if terms.variant is Variant.PUBLISHED:
        if len(text) != _DRAW.size:
            raise MessageError(RejectReason.MALFORMED, "draw")
        if abs(_DRAW.unpack(text)[0]) > terms.noise_span_watt_hours // 2:
            raise MessageError(RejectReason.OUT_OF_RANGE, "draw")
        return
    if not hmac.compare_digest(text[:CONFIRMATION_BYTES], confirmation(pair, period)):
        raise MessageError(RejectReason.BAD_SEAL, "pair confirmation")
    if terms.self_masks:
        held_shares(text, period, slots, pair.field)
    elif len(text) != CONFIRMATION_BYTES:
        raise MessageError(RejectReason.MALFORMED, "pair set-up")


def held_shares(text: bytes, period: Window, slots: int, field: Field) -> dict[tuple[int, int], int]:
    """(round, slot) -> the share of the sender's self-mask that a set-up entrusts to its recipient."""
    elements = elements_from(text[CONFIRMATION_BYTES:], period.rounds * slots, field)
    places = [(round_number, slot) for round_number in period for slot in range(slots)]
    return dict(zip(places, elements, strict=True))


def noise_of(pair: Pair, own: int, peer: int, texts: tuple[bytes, bytes | None], terms: MaskTerms) -> Noise | None:
    """This side's noise with one neighbour; None while the published variant waits for the neighbour's draw.

    own, peer: meter numbers; the lower one is the requester of fig. 2. texts: (sent, received).
    """
    if terms.variant is Variant.HARDENED:
        return pair
    sent, received = texts
    if received is None:
        return None
    mine, others = _DRAW.unpack(sent)[0], _DRAW.unpack(received)[0]
    requester, answerer = (mine, others) if own < peer else (others, mine)
    seed, sign = settle(requester, answerer)
    return HashedPair(seed, sign if own < peer else -sign, terms.noise_span_watt_hours, unsafe=True)
