"""Replaces a text file as a whole, in a directory that may be another user's, and removes it in the end.

The directory is opened once a write, and the file is made, written and renamed within it: whoever can change
the directory can change the file, but cannot lead a write to any other place.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.trust import Untrusted, user_name

if TYPE_CHECKING:
    from taskman_cli.trust import Trust

#: Between two writes.
WRITE_S = 15.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: The collector, which is another user, reads it.
_MODE = 0o644
#: Collectors do not read a file of this name.
_SUFFIX = ".new"

_Looks = tuple[int, int, int, int]


class TextFile:
    """One text file."""

    def __init__(self, path: str, trust: Trust) -> None:
        self._directory = Path(path).parent
        self._name = Path(path).name
        self._trust = trust
        #: What the file looks like that was written last.
        self._written: _Looks | None = None
        #: Whose the directory is, if it is somebody else's, in words.
        self.note = ""

    def write(self, data: bytes) -> None:
        """Replace the file. Raises OSError or Untrusted; the one before stays as it was then."""
        directory = self._open()
        new = self._name + _SUFFIX
        try:
            with suppress(FileNotFoundError):  # of a process that was killed
                os.unlink(new, dir_fd=directory)
            try:
                self._written = _write(new, directory, data)
                os.rename(new, self._name, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                with suppress(OSError):
                    os.unlink(new, dir_fd=directory)
                raise
        finally:
            os.close(directory)

    def remove(self) -> None:
        """Remove the file, if it is still the one that was written last: nobody keeps it up to date now."""
        if self._written is None:
            return
        with suppress(OSError, Untrusted):
            directory = self._open()
            try:
                status = os.stat(self._name, dir_fd=directory, follow_symlinks=False)
                if _looks(status) == self._written:
                    os.unlink(self._name, dir_fd=directory)
            finally:
                os.close(directory)

    def _open(self) -> int:
        fd, self.note = open_directory(self._directory, self._trust)
        return fd


def open_directory(path: Path, trust: Trust) -> tuple[int, str]:
    """Open a directory: one that others can change only if nobody but root decides which one that is.

    Return its descriptor, and a warning if others can change it, or "". Raises OSError or Untrusted.
    """
    try:
        return trust.open(path), ""
    except Untrusted:
        parent = trust.open(path.parent)
        try:
            fd = os.open(path.name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        finally:
            os.close(parent)
        owner = user_name(os.fstat(fd).st_uid)
        return fd, f"others than root can change the directory {path}, which belongs to {owner}"


def _write(name: str, directory: int, data: bytes) -> _Looks:
    fd = os.open(name, _NEW, _MODE, dir_fd=directory)
    try:
        os.fchmod(fd, _MODE)  # whatever the umask is
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
        status = os.fstat(fd)
    finally:
        os.close(fd)
    return _looks(status)


def _looks(status: os.stat_result) -> _Looks:
    """Tell files apart: the number alone may be that of one that was removed."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
