"""Whether the log that a killed scheduler left is complete.

SQLite reads a damaged log up to the damage: that is an earlier state, in which slots that have had their runs
are still to come. The index beside the log (`-shm`) says in two copies how long the log was. It can be
trusted only until the machine is started again, since it is not synced to the disk. If neither copy is as
SQLite wrote it, the length of the log is unknown.

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
    """What the index says of a log."""

    #: How many pages it has, and how many of them were copied into the file.
    frames: int
    copied: int
    is_long_enough: bool

    def is_whole(self, frames: int) -> bool:
        """Tell whether the log is complete if SQLite found this many pages in it."""
        return frames >= self.frames or (frames == 0 and self.copied >= self.frames)


def left_log(path: Path) -> Log | None:
    """Return what the index beside a ledger says, before it is opened; None: unknown."""
    index = b""
    with suppress(OSError), path.with_name(path.name + "-shm").open("rb") as file:
        index = file.read(_INDEX_BYTES)
    head, size = b"", 0
    with suppress(OSError), path.with_name(path.name + "-wal").open("rb") as file:
        head = file.read(_LOG_HEAD)
        size = file.seek(0, 2)
    if not index.strip(b"\0"):
        return None  # it does not exist, or was just made
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
    """Tell whether a copy of the header of the index has the right checksum."""
    if len(copy) < _COPY_BYTES:
        return False
    *words, expected_1, expected_2 = struct.unpack("=12I", copy)
    sum_1 = sum_2 = 0
    for one, two in zip(words[::2], words[1::2], strict=True):
        sum_1 = (sum_1 + one + sum_2) & 0xFFFF_FFFF
        sum_2 = (sum_2 + two + sum_1) & 0xFFFF_FFFF
    return (sum_1, sum_2) == (expected_1, expected_2)
