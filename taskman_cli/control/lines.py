"""Lines as both ends of the socket take them apart, and what a request lets one expect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.protocol import Wait

if TYPE_CHECKING:
    from taskman_cli.core.protocol import Request


class Lines:
    """Bytes that came in, on their way to be whole lines."""

    def __init__(self, most_bytes: int | None = None) -> None:
        self._most_bytes = most_bytes
        self._bytes = bytearray()
        #: Where the first line ends; -1: not here.
        self._end = -1

    @property
    def has_line(self) -> bool:
        """Tell if `take` has something to return; a line that is too long counts before it is whole."""
        return self._end >= 0 or self._is_too_long

    @property
    def is_partial(self) -> bool:
        """Tell if a line has begun and has no end yet."""
        return self._end < 0 < len(self._bytes)

    def feed(self, data: bytes) -> None:
        """Add what came in."""
        begin = len(self._bytes)
        self._bytes += data
        if self._end < 0:
            self._end = self._bytes.find(b"\n", begin)

    def finish(self) -> None:
        """Nothing more will come: what is there without an end is a line too."""
        if self._bytes and not self._bytes.endswith(b"\n"):
            self.feed(b"\n")

    def take(self) -> bytes | None:
        """Return the first line without its end; None if it is too long, and then nothing is left."""
        if self._is_too_long:
            self._bytes.clear()
            self._end = -1
            return None
        line = bytes(self._bytes[: self._end])
        del self._bytes[: self._end + 1]
        self._end = self._bytes.find(b"\n")
        return line

    @property
    def _is_too_long(self) -> bool:
        length = self._end if self._end >= 0 else len(self._bytes)
        return self._most_bytes is not None and length > self._most_bytes


def expects_end(request: Request) -> bool:
    """Tell if a request that is granted is answered a second time, when a run is over."""
    return isinstance(request, Wait) or getattr(request, "wait", False) is True
