"""What was looked at to read the job files, and how it looked then: a later look tells what is different.

Removed, replaced, moved, made anew, a link that leads elsewhere: each is a difference like any other.
"""

from __future__ import annotations

import os
import re
import stat
from fnmatch import translate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What is looked at: a kind of look, a path, and for names in a directory the pattern that they match.
Place = tuple[str, str, str]
#: Plain tuples: this goes from process to process, and to the next version.
Seen = dict[Place, Any]

#: A pattern may look into so many directories; more are a mistake, and cost seconds at each look.
MOST_DIRECTORIES = 10_000
_MAGIC = re.compile(r"[*?[]")


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
            return find(path, pattern)
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError, TooManyDirectories):
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


class TooManyDirectories(Exception):
    """Says that a pattern would look into more than MOST_DIRECTORIES."""


def is_pattern(text: str) -> bool:
    """Tell if a text is a pattern, not the name of one file."""
    return _MAGIC.search(text) is not None


def find(directory: str, pattern: str, *, opened: Callable[[str], int] | None = None) -> tuple[str, ...]:
    """Return what a pattern matches in a directory, sorted, as glob(3) has it, and `**` for any directories.

    `**` looks into each directory once, whatever links lead there. `opened` opens each directory that is
    listed, and may raise something else than OSError to refuse it. Raises TooManyDirectories.
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
    """One search; counts the directories that it looks into."""

    def __init__(self, directory: str, opened: Callable[[str], int]) -> None:
        self._directory = directory
        self._opened = opened
        self._count = 0

    def directories(self, base: str, part: str) -> Iterator[str]:
        """Yield the directories that one part of a pattern matches, each with a slash at its end.

        `base` is where, likewise, or "".
        """
        if part == "**":
            yield from (here for here, _ in self._all_below(base))
        elif is_pattern(part):
            yield from (f"{base}{name}/" for name, is_dir in self._matching(base, part) if is_dir)
        else:
            yield f"{base}{part}/"

    def names(self, base: str, part: str) -> Iterator[str]:
        """Yield what the last part of a pattern matches."""
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
        """Yield a directory and all below that are not hidden, each once, with the names of files there."""
        visited: set[tuple[int, int]] = set()
        stack = [base]
        while stack:
            here = stack.pop()
            entries = [entry for entry in self._list(here, visited) if entry[0][0] != "."]
            yield here, [name for name, is_dir in entries if not is_dir]
            stack += [f"{here}{name}/" for name, is_dir in entries if is_dir]

    def _list(self, base: str, visited: set[tuple[int, int]]) -> list[tuple[str, bool]]:
        """Return the names in a directory, and which are directories; nothing where it was visited."""
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
    except OSError:  # a link that goes round in circles
        return False


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
