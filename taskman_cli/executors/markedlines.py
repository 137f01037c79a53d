"""Splits what comes from the other machine: lines that start with a marker, and all else, which is output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A line of the guard is never longer.
_MOST_BYTES = 16384


class MarkedLines:
    """Takes a stream in pieces of any size."""

    def __init__(self, marker: str) -> None:
        self._marker = marker.encode()
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes | str]:
        """Return what is complete by now: output as bytes, marked lines as text without the marker.

        Raises ValueError if a line is too long to be one of ours.
        """
        self._rest += data
        while True:
            begin = self._rest.find(self._marker)
            if begin < 0:
                break
            after = begin + len(self._marker)
            end = self._rest.find(b"\n", after)
            if end < 0 and len(self._rest) - after <= _MOST_BYTES:
                if begin:
                    yield self._rest[:begin]
                    self._rest = self._rest[begin:]
                return
            if end < 0 or end - after > _MOST_BYTES:
                raise ValueError("the other side does not end its lines")
            output, line = self._rest[:begin], self._rest[after:end]
            self._rest = self._rest[end + 1 :]
            if output:
                yield output
            yield line.decode("utf-8", "replace")
        kept = self._possible_begin()
        output, self._rest = self._rest[: len(self._rest) - kept], self._rest[len(self._rest) - kept :]
        if output:
            yield output

    def finish(self) -> bytes:
        """Return what is left at the end of the stream."""
        rest, self._rest = self._rest, b""
        return rest

    def _possible_begin(self) -> int:
        """Return how many bytes at the end may be the begin of a marker."""
        most = min(len(self._rest), len(self._marker) - 1)
        return next(
            (size for size in range(most, 0, -1) if self._rest.endswith(self._marker[:size])),
            0,
        )
