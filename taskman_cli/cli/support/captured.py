"""Read the captured output of one attempt in its order, also while it is written.

Up to `max_output` the file is the plain output. Beyond that, while the command runs or if its supervisor was
killed, the second half of it is a ring buffer, and a trailer says how many bytes there were
(`supervisor/ring.py`). At the end, the supervisor turns it into head, cut line and tail: a plain file again.
Nothing here writes.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.supervisor.ring import CHUNK_BYTES, TRAILER_BYTES, cut_line, split, total_in

if TYPE_CHECKING:
    from pathlib import Path

#: The most bytes that are read at once.
_STEP_BYTES = 1 << 20
#: Longer than the supervisor takes to write a chunk.
_SETTLING_S = 0.005
#: After this many failed reads of a fast writer, give up until the next look.
_TRIES = 20


class Layout(NamedTuple):
    """The layout of a file at one moment."""

    #: Bytes of output so far.
    total: int
    #: Where the ring buffer ends; None: the file is plain output.
    bound: int | None

    @property
    def head(self) -> int:
        """Return how many bytes at the beginning are kept."""
        assert self.bound is not None
        return split(self.bound)

    @property
    def ring(self) -> int:
        """Return the size of the ring buffer behind the head."""
        assert self.bound is not None
        return self.bound // 2

    def first_kept(self, position: int, *, margin: int = 0) -> int:
        """Return the first position from `position` on that is still kept, after `margin` more bytes."""
        if self.bound is None or position < self.head:
            return position
        return max(position, self.total - self.ring + margin)

    def is_in_danger(self, position: int) -> bool:
        """Tell whether the writer may be overwriting a byte at this moment.

        It writes up to a chunk into the ring before it updates the trailer.
        """
        if self.bound is None or position < self.head:
            return False
        return position < self.total - self.ring + CHUNK_BYTES

    def place(self, position: int) -> tuple[int, int]:
        """Return the offset in the file of a position, and how many bytes follow it there."""
        if self.bound is None:
            return position, self.total - position
        if position < self.head:
            return position, self.head - position
        offset = self.head + (position - self.bound) % self.ring
        return offset, min(self.total - position, self.bound - offset)


class CapturedFile:
    """One file, kept open, so that we go on reading the same file when it is replaced at the end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        #: The position up to which output has been read or found to be cut.
        self.position = 0
        self._is_line_open = False

    @classmethod
    def open(cls, path: Path) -> CapturedFile | None:
        """Open a file; None if it does not exist."""
        try:
            # O_NONBLOCK: it may be a FIFO.
            return cls(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def layout(self) -> Layout:
        """Return the current layout."""
        size = os.fstat(self._fd).st_size
        bound = size - TRAILER_BYTES
        if bound >= 0:
            total = total_in(os.pread(self._fd, TRAILER_BYTES, bound))
            # With a smaller number, it is a line that the command itself printed.
            if total is not None and total >= bound:
                return Layout(total, bound)
        return Layout(size, None)

    def skip_to_last(self, lines: int) -> None:
        """Go to the beginning of the last lines, or of what is kept of them."""
        layout = self.layout()
        kept = 0
        if layout.bound is not None:  # the writer may be overwriting the first chunk of the ring
            kept = min(layout.first_kept(layout.head, margin=CHUNK_BYTES), layout.total)
        self.position = kept if lines else layout.total
        begin = layout.total
        while lines and begin > kept:
            start = max(kept, begin - _STEP_BYTES)
            data = self._between(layout, start, begin)
            # The end of the last line separates it from nothing.
            stop = len(data) - (begin == layout.total and data.endswith(b"\n"))
            while lines and (at := data.rfind(b"\n", 0, stop)) >= 0:
                lines, stop = lines - 1, at
            if not lines:
                self.position = start + at + 1
            begin = start

    def _between(self, layout: Layout, start: int, end: int) -> bytes:
        """Return the bytes between two positions that are kept."""
        parts = []
        while start < end:
            offset, count = layout.place(start)
            data = os.pread(self._fd, min(count, end - start), offset)
            if not data:
                break
            parts.append(data)
            start += len(data)
        return b"".join(parts)

    def read(self) -> bytes:
        """Return the next bytes, with a line in the place of cut output; b"" at the current end."""
        for number in range(_TRIES):
            layout = self.layout()
            # Skip more and more of the ring if the writer is faster than we are.
            margin = 0 if layout.bound is None else layout.ring * number // _TRIES
            begin = layout.first_kept(self.position, margin=margin)
            data = b""
            if begin < layout.total:
                offset, count = layout.place(begin)
                data = os.pread(self._fd, min(count, _STEP_BYTES), offset)
            if data and layout.is_in_danger(begin):
                time.sleep(_SETTLING_S)
            # Discard what was overwritten while we read it.
            after = self.layout()
            if after.first_kept(begin) == begin:
                if after.bound is not None and begin < after.head:
                    data = data[: after.head - begin]
                return self._take(begin, data)
        return b""

    def _take(self, begin: int, data: bytes) -> bytes:
        cut_bytes = begin - self.position
        self.position = begin + len(data)
        line = b""
        if cut_bytes > 0:
            line = cut_line(cut_bytes, is_line_open=self._is_line_open)
        if line or data:
            self._is_line_open = not (line + data).endswith(b"\n")
        return line + data
