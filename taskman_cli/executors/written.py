"""How much of an attempt's output was written, on disk: after a crash, none is lost or written twice."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from taskman_cli.executors.base import Work

_COUNT_BYTES = 20


class Written:
    """What was written of one attempt's output."""

    def __init__(self, work: Work, path: Path, *, count: int) -> None:
        """`path`: where the count is kept; `count`: how many bytes were written by an earlier process."""
        self._work = work
        self._path = path
        self._fd: int | None = None
        self.count = count

    def write(self, data: bytes) -> None:
        """Add to the output."""
        if not data:
            return
        self._work.write(data)
        self.count += len(data)
        with suppress(OSError):  # then it is written twice after a crash
            if self._fd is None:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.pwrite(self._fd, b"%*d" % (_COUNT_BYTES, self.count), 0)

    def close(self) -> None:
        """Let go of the file, which stays."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def written_so_far(path: Path) -> int:
    """Return how many bytes were written so far; 0 if that is not known."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        text = os.read(fd, _COUNT_BYTES).strip()
        return int(text) if text.isdigit() else 0
    except (OSError, ValueError):
        return 0
    finally:
        os.close(fd)
