"""A signed statement as a line of text: what a person can read, and put into a file.

    version signature JSON

in decimal, in 128 lower-case hexadecimal digits, and as it was signed, each behind a space. The line and the bytes on the wire
are the same thing: each gives the other back.
"""

from __future__ import annotations

from hushgrid.core.sealing import SIGNATURE_BYTES
from hushgrid.errors import MessageError, RejectReason
from hushgrid.statements.statement import MAX_STATEMENT_BYTES

_PARTS = 3


def line_of(wire: bytes) -> bytes:
    """A statement's bytes as a line, with its end."""
    start = 1 + SIGNATURE_BYTES
    return b"%d %s %s\n" % (wire[0], wire[1:start].hex().encode(), wire[start:])


def wire_of(line: bytes) -> bytes:
    """The statement's bytes again; MessageError(MALFORMED) for anything that `line_of` does not give."""
    parts = line.removesuffix(b"\n").split(b" ", _PARTS - 1)
    try:
        version, signature, content = parts
        wire = bytes((int(version),)) + bytes.fromhex(signature.decode("ascii")) + content
    except ValueError:
        raise MessageError(RejectReason.MALFORMED, "statement line") from None
    if len(line) > 2 * MAX_STATEMENT_BYTES or line_of(wire).removesuffix(b"\n") != line.removesuffix(b"\n"):
        raise MessageError(RejectReason.MALFORMED, "statement line")
    return wire
