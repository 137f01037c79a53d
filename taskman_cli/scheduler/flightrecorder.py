"""The item that the scheduler is handling, in memory that outlives it.

After an exception the scheduler itself reports the item (poison.py). It cannot do so when it is killed, for
lack of memory or by a fault in a library. So each item is written to a mapped file before it is handled,
which needs no system call, and the next scheduler reads what the last one was handling.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.core.engine.blame import Item

if TYPE_CHECKING:
    from pathlib import Path

#: The file in the state directory. It exists only while a scheduler runs, or after one was killed.
NAME = "scheduler.doing"

_SIZE = 4096
#: The end of the text; names do not contain this byte.
_END = b"\xff"
_NOTHING = b"\0"
_MOST_BYTES = 1024
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FlightRecorder:
    """One item in a mapped file. If the file cannot be created, nothing is written and nothing was left."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._memory: mmap.mmap | None = None
        self._is_clear = False
        #: The item that the previous scheduler was handling when it was killed; None: nothing.
        self.left: Item | None = None
        with suppress(OSError, ValueError):  # ValueError: or what is not text
            fd = os.open(self._path, _FLAGS, 0o600)
            try:
                # All blocks are allocated now: on a full disk, a later write to the memory would raise
                # SIGBUS.
                os.posix_fallocate(fd, 0, _SIZE)
                self._memory = mmap.mmap(fd, _SIZE)
            finally:
                os.close(fd)
            self.left = self._read()
            self.clear()

    def write(self, item: Item | None) -> None:
        """Note the item that is handled next; None: one without a name."""
        if item is None:
            self.clear()
        else:
            self._write("\0".join(item).encode("utf-8", "surrogatepass")[:_MOST_BYTES])

    def write_attempt(self, key: str) -> None:
        """Do the same as `write`, faster, for the most frequent kind."""
        if self._memory is not None:
            text = b"attempt\0%b\0%b" % (key.encode(), _END)
            self._memory[: len(text)] = text
            self._is_clear = False

    def _write(self, text: bytes) -> None:
        if self._memory is not None:
            self._memory[: len(text) + 1] = text + _END
            self._is_clear = False

    def clear(self) -> None:
        """Note that nothing is being handled."""
        if not self._is_clear and self._memory is not None:
            self._memory[:1] = _NOTHING
            self._is_clear = True

    def close(self) -> None:
        """Remove the file."""
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
