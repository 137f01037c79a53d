"""Fingerprints of everything that was looked at to read the job files, to find out later what has changed.

Removed, replaced, moved or recreated files and links that lead elsewhere all count as changes.
"""

from __future__ import annotations

import os
import re
import stat
from fnmatch import translate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What is looked at: the kind, a path, and the pattern for names in a directory.
Place = tuple[str, str, str]
#: Plain tuples, since other processes and the next version read them.
Seen = dict[Place, Any]

#: The most directories that a pattern may search; more are a mistake and cost seconds each time.
MOST_DIRECTORIES = 10_000
_MAGIC = re.compile(r"[*?[]")


def file_at(path: str | os.PathLike[str]) -> Place:
    """Name a file, following links; the contents of a directory do not count."""
    return "file", os.fspath(path), ""


def names_in(directory: str | os.PathLike[str], pattern: str) -> Place:
    """Name the matches of a pattern in a directory."""
    return "names", os.fspath(directory), pattern


def mode_of(path: str | os.PathLike[str]) -> Place:
    """Name the owner and permissions of a directory."""
    return "mode", os.fspath(path), ""


def look(place: Place, *, start: str = "") -> Any:
    """Return the fingerprint of a place; None: it does not exist. Relative paths start at `start`."""
    kind, path, pattern = place
    path = os.path.join(start, path)  # noqa: PTH118 - a Path costs more than the stat
    try:
        if kind == "names":
            return find(path, pattern)
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError, TooManyDirectories):
        return None
    if kind == "mode":
        return status.st_mode, status.st_uid, status.st_gid
    if stat.S_ISREG(status.st_mode):
        # ctime, too: a file moved here may have the same size, mtime and even inode as its predecessor.
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode)


def look_again(seen: Seen, *, start: str = "") -> Seen:
    """Take new fingerprints of the same places."""
    return {place: look(place, start=start) for place in seen}


class TooManyDirectories(Exception):
    """A pattern would search more than MOST_DIRECTORIES."""


def is_pattern(text: str) -> bool:
    """Tell whether a text is a pattern rather than a file name."""
    return _MAGIC.search(text) is not None


def find(directory: str, pattern: str, *, opened: Callable[[str], int] | None = None) -> tuple[str, ...]:
    """Return the sorted matches of a pattern in a directory, as in glob(3), with `**` for any directories.

    `**` searches each directory once, whatever links lead there. `opened` opens each directory that is
    listed, and may refuse it with an exception other than OSError. Raises TooManyDirectories.
    """
    search = _Search(directory, opened or _open)
    found = ["/" if pattern.startswith("/") else ""]
    *parts, last = pattern.split("/")
    for part in parts:
        if part:
            found = [name for base in found for name in search.directories(base, part)]
    if last:
        found = [name for base in found for name in search.names(base, last)]
    if not is_pattern(last):
        found = [name for name in found if os.path.lexists(os.path.join(directory, name))]  # noqa: PTH118
    return tuple(sorted(set(found)))


class _Search:
    """One search, which counts the directories that it reads."""

    def __init__(self, directory: str, opened: Callable[[str], int]) -> None:
        self._directory = directory
        self._opened = opened
        self._count = 0

    def directories(self, base: str, part: str) -> Iterator[str]:
        """Yield the directories that one part of a pattern matches, each with a trailing slash.

        `base` is the directory to search, likewise with a slash, or "".
        """
        if part == "**":
            yield from (here for here, _ in self._all_below(base))
        elif is_pattern(part):
            yield from (f"{base}{name}/" for name, is_dir in self._matching(base, part) if is_dir)
        else:
            yield f"{base}{part}/"

    def names(self, base: str, part: str) -> Iterator[str]:
        """Yield the names that the last part of a pattern matches."""
        if part == "**":
            yield from (here + name for here, names in self._all_below(base) for name in names)
        elif is_pattern(part):
            yield from (base + name for name, _ in self._matching(base, part))
        else:
            yield base + part

    def _matching(self, base: str, part: str) -> Iterator[tuple[str, bool]]:
        matches = re.compile(translate(part)).match
        for name, is_dir in self._list(base, set()):
            if matches(name) and (name[0] != "." or part[0] == "."):
                yield name, is_dir

    def _all_below(self, base: str) -> Iterator[tuple[str, list[str]]]:
        """Yield a directory and all non-hidden ones below it, each once, with its file names."""
        visited: set[tuple[int, int]] = set()
        stack = [base]
        while stack:
            here = stack.pop()
            entries = [entry for entry in self._list(here, visited) if entry[0][0] != "."]
            yield here, [name for name, is_dir in entries if not is_dir]
            stack += [f"{here}{name}/" for name, is_dir in entries if is_dir]

    def _list(self, base: str, visited: set[tuple[int, int]]) -> list[tuple[str, bool]]:
        """Return the names in a directory and whether each is a directory; nothing if already visited."""
        try:
            fd = self._opened(os.path.join(self._directory, base) or ".")  # noqa: PTH118
        except (OSError, ValueError):
            return []
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) in visited:
                return []
            visited.add((status.st_dev, status.st_ino))
            self._count += 1
            if self._count > MOST_DIRECTORIES:
                raise TooManyDirectories
            with os.scandir(fd) as entries:
                return sorted((entry.name, _is_directory(entry)) for entry in entries)
        except OSError:
            return []
        finally:
            os.close(fd)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circular link
        return False


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
