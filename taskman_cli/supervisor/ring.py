"""How a file holds the head and the tail of a stream that did not fit: shared by its writer and its readers.

The first half of the bound stays as it came. The second half is a ring buffer for what follows, and a trailer
behind the bound says how many bytes there were. A settled file is head, one line that says how much was cut,
tail.
"""

from __future__ import annotations

#: How much is written at once, before the trailer says so.
CHUNK_BYTES = 1 << 16

_TRAILER = b"\n[taskman: %020d bytes so far, the tail above is a ring]\n"
TRAILER_BYTES = len(_TRAILER % 0)
_NUMBER = slice(len(b"\n[taskman: "), len(b"\n[taskman: ") + 20)


def split(max_bytes: int) -> int:
    """Return how many of `max_bytes` are for the head; the rest is for the tail."""
    return max_bytes - max_bytes // 2


def trailer_of(total: int) -> bytes:
    """Return the trailer that says how many bytes there were."""
    return _TRAILER % total


def total_in(trailer: bytes) -> int | None:
    """Return how many bytes a trailer says there were; None: it is not a trailer."""
    number = trailer[_NUMBER]
    if not number.isdigit() or trailer != _TRAILER % int(number):
        return None
    return int(number)


def cut_line(cut_bytes: int, *, is_line_open: bool) -> bytes:
    """Return the line in the place of what was cut, on a line of its own."""
    return b"\n" * is_line_open + b"[taskman: %s bytes cut]\n" % f"{cut_bytes:,}".encode()
