"""What the scheduler is busy with, in memory that outlives it: for a death that says nothing.

An error is reported by the scheduler itself (poison.py). Killed for want of memory, or by a fault in a
library, it cannot. So the item is written into a mapped file before it is dealt with, which costs no system
call, and the next scheduler reads what the last one had come to.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.core.engine.blame import Item

if TYPE_CHECKING:
    from pathlib import Path

#: The file in the state directory; it is there only while a scheduler runs, or after one was killed.
NAME = "scheduler.doing"

_SIZE = 4096
#: Ends the text, in which a name has no such byte.
_END = b"\xff"
_NOTHING = b"\0"
_MOST_BYTES = 1024
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FlightRecorder:
    """One item, in a file that is mapped; without a place for it, nothing is written and nothing was left."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._memory: mmap.mmap | None = None
        self._is_clear = False
        #: What the scheduler before this one was busy with when it died; None: nothing.
        self.left: Item | None = None
        with suppress(OSError, ValueError):  # ValueError: also what is no text
            fd = os.open(self._path, _FLAGS, 0o600)
            try:
                # Room for all of it now: on a full disk, a write to the memory would be a SIGBUS.
                os.posix_fallocate(fd, 0, _SIZE)
                self._memory = mmap.mmap(fd, _SIZE)
            finally:
                os.close(fd)
            self.left = self._read()
            self.clear()

    def write(self, item: Item | None) -> None:
        """Note what is dealt with from here on; None: nothing that has a name."""
        if item is None:
            self.clear()
        else:
            self._write("\0".join(item).encode("utf-8", "surrogatepass")[:_MOST_BYTES])

    def write_attempt(self, key: str) -> None:
        """Do as `write`, for what there is most of."""
        self._write(f"attempt\0{key}\0".encode())

    def _write(self, text: bytes) -> None:
        if self._memory is not None:
            self._memory[: len(text) + 1] = text + _END
            self._is_clear = False

    def clear(self) -> None:
        """Note that nothing is dealt with."""
        if not self._is_clear and self._memory is not None:
            self._memory[:1] = _NOTHING
            self._is_clear = True

    def close(self) -> None:
        """Leave nothing behind."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
            with suppress(OSError):
                self._path.unlink()

    def _read(self) -> Item | None:
        assert self._memory is not None
        text, end, _ = self._memory[: _MOST_BYTES + 1].partition(_END)
        parts = text.decode("utf-8", "surrogatepass").split("\0")
        return Item(*parts) if end and parts[0] and len(parts) == len(Item._fields) else None
