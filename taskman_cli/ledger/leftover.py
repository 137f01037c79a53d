"""Whether the log that a killed scheduler left is whole.

SQLite takes of a damaged log what comes before the damage: an earlier state, in which slots that had their
runs since are still to come. The index beside the log (`-shm`) says how long the log was. It is only to be
believed as long as the machine has not been started again: nobody waits for it to reach the disk.

https://www.sqlite.org/walformat.html has both formats.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_INDEX_BYTES, _VERSION = 100, 3_007_000
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
    if len(index) < _INDEX_BYTES or index[:48] != index[48:96]:
        return None
    version, _, _, is_set, _, page_bytes = struct.unpack_from("=IIIBBH", index)
    frames, _, *_, salt_1, salt_2, _, _ = struct.unpack_from("=IIIIIIII", index, 16)
    (copied,) = struct.unpack_from("=I", index, 96)
    if version != _VERSION or not is_set or not frames:
        return None
    page_bytes = 65_536 if page_bytes == 1 else page_bytes
    head, size = b"", 0
    with suppress(OSError), path.with_name(path.name + "-wal").open("rb") as file:
        head = file.read(_LOG_HEAD)
        size = file.seek(0, 2)
    is_same = head[16:24] == struct.pack("=II", salt_1, salt_2)
    is_long_enough = is_same and size >= _LOG_HEAD + frames * (_FRAME_HEAD + page_bytes)
    return Log(frames, copied, is_long_enough)
