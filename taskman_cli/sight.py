"""What was looked at to read the job files, and how it looked then: a later look tells what is different.

Removed, replaced, moved, made anew, a link that leads elsewhere: each is a difference like any other.
"""

from __future__ import annotations

import os
import stat
from glob import glob
from typing import Any

#: What is looked at: a kind of look, a path, and for names in a directory the pattern that they match.
Place = tuple[str, str, str]
#: Plain tuples: this goes from process to process, and to the next version.
Seen = dict[Place, Any]


def file_at(path: str | os.PathLike[str]) -> Place:
    """Name a file, whatever links lead to it; a directory looks the same whatever is in it."""
    return "file", os.fspath(path), ""


def names_in(directory: str | os.PathLike[str], pattern: str) -> Place:
    """Name what a pattern matches in a directory."""
    return "names", os.fspath(directory), pattern


def mode_of(path: str | os.PathLike[str]) -> Place:
    """Name who owns a directory, and who may write in it."""
    return "mode", os.fspath(path), ""


def look(place: Place, *, start: str = "") -> Any:
    """Return how a place looks; None: it is not there. `start` is where relative paths begin."""
    kind, path, pattern = place
    path = os.path.join(start, path)  # noqa: PTH118 - a Path costs more than the look
    try:
        if kind == "names":
            return tuple(sorted(glob(pattern, root_dir=path, recursive=True)))  # noqa: PTH207
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if kind == "mode":
        return status.st_mode, status.st_uid, status.st_gid
    if stat.S_ISREG(status.st_mode):
        # The last: a file moved here may have any size and time, and even the number of the one before it.
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode)


def look_again(seen: Seen, *, start: str = "") -> Seen:
    """Look at the same places once more."""
    return {place: look(place, start=start) for place in seen}
