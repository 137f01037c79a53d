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

from taskman_cli.core.blame import Item

if TYPE_CHECKING:
    from pathlib import Path

#: The file in the state directory; it is there only while a scheduler runs, or after one was killed.
NAME = "scheduler.doing"

_SIZE = 4096
_LENGTH_BYTES = 2
_NOTHING = bytes(_LENGTH_BYTES)
_MOST_BYTES = 1024
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FlightRecorder:
    """One item, in a file that is mapped; without a place for it, nothing is written and nothing was left."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._memory: mmap.mmap | None = None
        #: What the scheduler before this one was busy with when it died; None: nothing.
        self.left: Item | None = None
        with suppress(OSError, ValueError):
            fd = os.open(self._path, _FLAGS, 0o600)
            try:
                # Room for all of it now: on a full disk, a write to the memory would be a SIGBUS.
                os.posix_fallocate(fd, 0, _SIZE)
                self._memory = mmap.mmap(fd, _SIZE)
            finally:
                os.close(fd)
            self.left = self._read()
            self.clear()

    def write(self, item: Item) -> None:
        """Note what is dealt with from here on."""
        if self._memory is not None:
            text = "\0".join(item).encode("utf-8", "surrogatepass")[:_MOST_BYTES]
            self._memory[: _LENGTH_BYTES + len(text)] = len(text).to_bytes(_LENGTH_BYTES, "big") + text

    def clear(self) -> None:
        """Note that nothing is dealt with."""
        if self._memory is not None:
            self._memory[:_LENGTH_BYTES] = _NOTHING

    def close(self) -> None:
        """Leave nothing behind."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
            with suppress(OSError):
                self._path.unlink()

    def _read(self) -> Item | None:
        assert self._memory is not None
        length = int.from_bytes(self._memory[:_LENGTH_BYTES], "big")
        if not 0 < length <= _MOST_BYTES:
            return None
        data = self._memory[_LENGTH_BYTES : _LENGTH_BYTES + length]
        parts = data.decode("utf-8", "replace").split("\0")
        return Item(*parts) if len(parts) == len(Item._fields) else None
