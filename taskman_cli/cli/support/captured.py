"""The captured output of one attempt, read in the order in which it came, whoever may still be writing it.

Up to its bound such a file is the output as it stands. Beyond, while the command runs or when its supervisor
was killed, it is a ring: the second half of the bounded part is written round and round, and a trailer behind
it says how many bytes there were (`supervisor/ring.py`). A file that was settled at the end is head, cut line
and tail, and is read like any other. Nothing here writes.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.supervisor.ring import CHUNK_BYTES, TRAILER_BYTES, cut_line, split, total_in

if TYPE_CHECKING:
    from pathlib import Path

#: As much as is read at once.
_STEP_BYTES = 1 << 20
#: Longer than the supervisor needs to write a chunk.
_SETTLING_S = 0.005
#: A writer that goes round faster than we read is let go after so many tries, until the next look.
_TRIES = 20


class Layout(NamedTuple):
    """What is where in a file, at one moment."""

    #: Bytes of the stream so far.
    total: int
    #: Where the file stops growing; None: it has not come to that.
    bound: int | None

    @property
    def head(self) -> int:
        """Return how many bytes at the beginning stay for good."""
        assert self.bound is not None
        return split(self.bound)

    @property
    def ring(self) -> int:
        """Return how many bytes go round behind the head."""
        assert self.bound is not None
        return self.bound // 2

    def first_kept(self, position: int, *, margin: int = 0) -> int:
        """Return the first byte of the stream from `position` on that is there, and `margin` bytes longer."""
        if self.bound is None or position < self.head:
            return position
        return max(position, self.total - self.ring + margin)

    def is_in_danger(self, position: int) -> bool:
        """Tell whether a writer that goes on may be writing over a byte at this moment.

        It writes up to a chunk into the ring before the trailer says so.
        """
        if self.bound is None or position < self.head:
            return False
        return position < self.total - self.ring + CHUNK_BYTES

    def place(self, position: int) -> tuple[int, int]:
        """Return where in the file a byte of the stream is, and how many follow it there."""
        if self.bound is None:
            return position, self.total - position
        if position < self.head:
            return position, self.head - position
        offset = self.head + (position - self.bound) % self.ring
        return offset, min(self.total - position, self.bound - offset)


class CapturedFile:
    """One file, held open from the first look on, so that settling it changes nothing for us."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        #: How much of the stream has been read or found to be cut.
        self.position = 0
        self._is_line_open = False

    @classmethod
    def open(cls, path: Path) -> CapturedFile | None:
        """Open a file; None where there is none."""
        try:
            # Never wait for a pipe that somebody laid there.
            return cls(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def layout(self) -> Layout:
        """Return how much there is by now."""
        size = os.fstat(self._fd).st_size
        bound = size - TRAILER_BYTES
        if bound >= 0:
            total = total_in(os.pread(self._fd, TRAILER_BYTES, bound))
            # Less than fits before it would be a command that prints such a line itself.
            if total is not None and total >= bound:
                return Layout(total, bound)
        return Layout(size, None)

    def read(self) -> bytes:
        """Return what comes next, with a line in the place of what is cut; nothing at the end so far."""
        for number in range(_TRIES):
            layout = self.layout()
            # A writer that is faster than we are is given more and more room.
            margin = 0 if layout.bound is None else layout.ring * number // _TRIES
            begin = layout.first_kept(self.position, margin=margin)
            data = b""
            if begin < layout.total:
                offset, count = layout.place(begin)
                data = os.pread(self._fd, min(count, _STEP_BYTES), offset)
            if data and layout.is_in_danger(begin):
                time.sleep(_SETTLING_S)
            # What was written over while we read is not what we asked for.
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
