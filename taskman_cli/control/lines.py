"""Splitting the bytes of the socket into lines, for both ends; and which requests get a second reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.protocol import Wait

if TYPE_CHECKING:
    from taskman_cli.core.protocol import Request


#: What separates two portions of a long reply. JSON writes a tab in a text otherwise.
BETWEEN = b",\t"


class Lines:
    """Collects received bytes and returns them line by line."""

    def __init__(self, most_bytes: int | None = None) -> None:
        self._most_bytes = most_bytes
        self._bytes = bytearray()
        #: Where the first line ends; -1: its end has not arrived.
        self._end = -1

    @property
    def has_line(self) -> bool:
        """Tell if `take` has a line to return. A line that is too long counts before its end has arrived."""
        return self._end >= 0 or self._is_too_long

    @property
    def is_partial(self) -> bool:
        """Tell if a part of a line has arrived."""
        return self._end < 0 < len(self._bytes)

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        begin = len(self._bytes)
        self._bytes += data
        if self._end < 0:
            self._end = self._bytes.find(b"\n", begin)

    def finish(self) -> None:
        """Treat what is left as a line: no more bytes will arrive."""
        if self._bytes and not self._bytes.endswith(b"\n"):
            self.feed(b"\n")

    def take(self) -> bytes | None:
        """Return the first line without its end. If it is too long, return None and drop everything."""
        if self._is_too_long:
            self._bytes.clear()
            self._end = -1
            return None
        line = bytes(self._bytes[: self._end])
        del self._bytes[: self._end + 1]
        self._end = self._bytes.find(b"\n")
        return line

    def take_part(self) -> bytes | None:
        """Return the portions of the first line that have arrived, without its end; None: no more have."""
        end = self._bytes.rfind(BETWEEN, 0, self._end if self._end >= 0 else len(self._bytes))
        if end < 0:
            return None
        part = bytes(self._bytes[:end])
        taken = end + len(BETWEEN)
        del self._bytes[:taken]
        if self._end >= 0:
            self._end -= taken
        return part

    @property
    def _is_too_long(self) -> bool:
        length = self._end if self._end >= 0 else len(self._bytes)
        return self._most_bytes is not None and length > self._most_bytes


def expects_end(request: Request) -> bool:
    """Tell if a request gets a second reply when a run ends, provided that it is granted."""
    return isinstance(request, Wait) or getattr(request, "wait", False) is True
