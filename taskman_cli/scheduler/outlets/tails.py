"""The last lines of what an attempt printed, for the report of how it ended.

They are read by the loop, when the record of the end is written: the supervisor has just written the file, in
the directory of the ledger. What is not in the page cache is not waited for.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from taskman_cli.core.engine.runs import attempt_key
from taskman_cli.core.sinks import ALL_OUTPUT
from taskman_cli.supervisor.ring import TRAILER_BYTES, split, total_in

if TYPE_CHECKING:
    from collections.abc import Callable

#: How much is read at most.
MOST_BYTES = 16 << 10
#: The same for who wants all that was captured: what `max_output` is if nobody sets it.
ALL_BYTES = 1 << 20
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY


class OutputTails:
    """Reads the last lines of attempts."""

    def __init__(self, path: Callable[[str, str], str]) -> None:
        """`path` returns where the output of an attempt is: from its job and its key."""
        self._path = path

    def read(self, job: str, run: str, task: str, number: int, lines: int) -> tuple[list[str], bool]:
        """Return the last lines, and whether there were more; nothing if they cannot be read at once."""
        try:
            fd = os.open(self._path(job, attempt_key(run, task, number)), _FLAGS)
        except (OSError, ValueError):
            return [], False
        try:
            data, is_cut = _last_bytes(fd, MOST_BYTES if lines < ALL_OUTPUT else ALL_BYTES)
        except OSError:
            return [], False
        finally:
            os.close(fd)
        found = data.decode("utf-8", "surrogateescape").split("\n")
        if is_cut and len(found) > 1:
            del found[0]  # the rest of a line
        if found and not found[-1]:
            del found[-1]
        return found[-lines:], is_cut or len(found) > lines


def _last_bytes(fd: int, most: int) -> tuple[bytes, bool]:
    """Return the end of a file, and whether there is more before it."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return b"", False
    size = status.st_size
    bound = size - TRAILER_BYTES
    total = total_in(_read(fd, bound, size)) if bound >= 0 else None
    if total is None or total <= bound:
        begin = max(0, size - most)
        return _read(fd, begin, size), begin > 0
    # A ring that was not settled yet: its oldest byte is at the seam.
    head = split(bound)
    seam = head + (total - bound) % (bound - head) if bound > head else head
    newest = _read(fd, max(head, seam - most), seam)
    left = most - len(newest)
    return (_read(fd, max(seam, bound - left), bound) if left else b"") + newest, True


def _read(fd: int, begin: int, end: int) -> bytes:
    """Read a stretch, if it is in memory."""
    buffer = bytearray(max(0, end - begin))
    if not buffer:
        return b""
    try:
        count = os.preadv(fd, [buffer], begin, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        count = os.preadv(fd, [buffer], begin)  # a file system that is all in memory, such as tmpfs
    return bytes(buffer[:count])
