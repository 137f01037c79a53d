"""Whether the log that a killed scheduler left is whole.

SQLite takes of a damaged log what comes before the damage: an earlier state, in which slots that had their
runs since are still to come. The index beside the log (`-shm`) says in two copies how long the log was. It is
only to be believed as long as the machine has not been started again: nobody waits for it to reach the disk.
Where neither copy is as SQLite wrote it, nobody can tell how long the log was.

https://www.sqlite.org/walformat.html has both formats.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_INDEX_BYTES, _COPY_BYTES, _VERSION = 100, 48, 3_007_000
#: More pages than any log has.
_UNKNOWN = 2**62
_LOG_HEAD, _FRAME_HEAD = 32, 24


class Log(NamedTuple):
    """A log as its index has it."""

    #: How many pages it has, and how many of them are in the file already.
    frames: int
    copied: int
    is_long_enough: bool

    def is_whole(self, frames: int) -> bool:
        """Tell whether what happened last is known, where SQLite found so many pages in the log."""
        return frames >= self.frames or (frames == 0 and self.copied >= self.frames)


def left_log(path: Path) -> Log | None:
    """Return what was left beside a ledger, while nobody here has it open; None: nothing is known."""
    index = b""
    with suppress(OSError), path.with_name(path.name + "-shm").open("rb") as file:
        index = file.read(_INDEX_BYTES)
    head, size = b"", 0
    with suppress(OSError), path.with_name(path.name + "-wal").open("rb") as file:
        head = file.read(_LOG_HEAD)
        size = file.seek(0, 2)
    if not index.strip(b"\0"):
        return None  # it is not there, or was just made
    # SQLite writes the second copy first, and may have been killed in between.
    copy = next((copy for copy in (index[48:96], index[:48]) if _is_right(copy)), None)
    if copy is None or len(index) < _INDEX_BYTES:
        return Log(_UNKNOWN, 0, is_long_enough=False) if size > _LOG_HEAD else None
    version, _, _, is_set, _, page_bytes = struct.unpack_from("=IIIBBH", copy)
    frames, _, *_, salt_1, salt_2 = struct.unpack_from("=IIIIII", copy, 16)
    (copied,) = struct.unpack_from("=I", index, 96)
    if version != _VERSION or not is_set or not frames:
        return None
    page_bytes = 65_536 if page_bytes == 1 else page_bytes
    is_same = head[16:24] == struct.pack("=II", salt_1, salt_2)
    is_long_enough = is_same and size >= _LOG_HEAD + frames * (_FRAME_HEAD + page_bytes)
    return Log(frames, copied, is_long_enough)


def _is_right(copy: bytes) -> bool:
    """Tell whether a copy of the head of the index has the checksum that SQLite gave it."""
    if len(copy) < _COPY_BYTES:
        return False
    *words, expected_1, expected_2 = struct.unpack("=12I", copy)
    sum_1 = sum_2 = 0
    for one, two in zip(words[::2], words[1::2], strict=True):
        sum_1 = (sum_1 + one + sum_2) & 0xFFFF_FFFF
        sum_2 = (sum_2 + two + sum_1) & 0xFFFF_FFFF
    return (sum_1, sum_2) == (expected_1, expected_2)
