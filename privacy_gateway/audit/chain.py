"""The chain, without a file: each entry's hash is of the one before and of what it says.

    h_i = SHA256(h_{i-1} || JSON of entry i)

An entry is one line, `{"entry":JSON,"hash":"h_i"}`, in one spelling only. So a changed byte is found, and an entry that was left out,
put in, doubled or moved, wherever something follows it. That nothing follows the last entry any more, or that everything was
written anew, only a published head shows: there is no secret in a chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hushgrid.core.sealing import fields
from hushgrid.errors import JournalError, MessageError
from privacy_gateway.audit.entries import AuditEntry, read_entry

#: The longest line of a log.
MAX_LINE_BYTES = 2**20
_BEGIN, _BETWEEN, _END = b'{"entry":', b',"hash":"', b'"}\n'
_HEX_DIGITS = 64
_TAIL = len(_BETWEEN) + _HEX_DIGITS + len(_END)


class DamagedLogError(JournalError):
    """A log is not what was written."""


@dataclass(frozen=True, slots=True)
class ChainHead:
    """How long a chain is, and the hash of its last entry: 32 bytes."""

    entries: int
    digest: bytes


#: Of a chain without an entry.
START = ChainHead(0, hashlib.sha256(fields(b"hushgrid/1", b"audit log")).digest())


def linked(head: ChainHead, entry: AuditEntry) -> tuple[ChainHead, bytes]:
    """The head behind this entry, and its line. ValueError when that would be longer than a line may be."""
    content = entry.to_json()
    after = _after(head, content)
    line = _BEGIN + content + _BETWEEN + after.digest.hex().encode() + _END
    if len(line) > MAX_LINE_BYTES:
        raise ValueError("an entry longer than a line")
    return after, line


def _after(head: ChainHead, content: bytes) -> ChainHead:
    return ChainHead(head.entries + 1, hashlib.sha256(head.digest + content).digest())


def followed(lines: Iterable[bytes], head: ChainHead = START) -> Iterator[tuple[ChainHead, bytes]]:
    """The head behind each line, and what it says. DamagedLogError at the first line that does not follow from those before."""
    for line in lines:
        number = head.entries + 1
        if not line.endswith(b"\n"):
            whole = "nothing before it" if number == 1 else f"entries 1 to {number - 1} are whole"
            raise DamagedLogError(f"the last line, entry {number}, is torn after {len(line)} bytes; {whole}")
        content, digest = line[len(_BEGIN) : -_TAIL], line[-_HEX_DIGITS - len(_END) : -len(_END)]
        head = _after(head, content)
        if line != _BEGIN + content + _BETWEEN + digest + _END:
            raise DamagedLogError(f"entry {number} is not a line of an audit log")
        if head.digest.hex().encode() != digest:
            raise DamagedLogError(
                f"entry {number} does not follow from what is before it: something was changed, taken out, put in or moved"
            )
        yield head, content


def verify(lines: Iterable[bytes], heads: Sequence[ChainHead] = ()) -> ChainHead:
    """The head of a log that is whole, of entries that are in their one spelling, and that continues all these heads.

    DamagedLogError otherwise.
    """
    wanted = {head.entries for head in heads}
    found, end = {START.entries: START.digest}, START
    for end, content in followed(lines):
        try:
            same = read_entry(content).to_json() == content
        except MessageError as error:
            raise DamagedLogError(f"entry {end.entries} says nothing that is known here: {error}") from None
        if not same:
            raise DamagedLogError(f"entry {end.entries} is not in the one spelling of an entry")
        if end.entries in wanted:
            found[end.entries] = end.digest
    for head in sorted(heads, key=lambda head: head.entries):
        check_continues(end, found.get(head.entries), head)
    return end


def check_continues(end: ChainHead, digest: bytes | None, head: ChainHead) -> None:
    """DamagedLogError unless a log that ends here, and has this hash at the head's length, continues that head."""
    if head.entries > end.entries:
        missing = head.entries - end.entries
        raise DamagedLogError(
            f"the end is missing: a head of {head.entries} entries was signed, here are {end.entries}, {missing} fewer"
        )
    if digest != head.digest:
        raise DamagedLogError(
            f"entries 1 to {head.entries} are not those that a head was signed over: the log was replaced or written anew"
        )
