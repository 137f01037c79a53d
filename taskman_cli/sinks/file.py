"""`file`: lines of JSON, or text, at the end of a file that others may rotate.

What is open is compared with what stands there before each line, so a file that was moved away is made anew.
A line that a crash or a full disk has cut short is ended first. As root, no other user may be able to choose
which file that is.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import PurePath
from typing import TYPE_CHECKING

from taskman_cli.core.model import Durability
from taskman_cli.errors import TaskmanError
from taskman_cli.sinks.base import NotReached
from taskman_cli.sinks.document import as_json, line_documents
from taskman_cli.sinks.patience import Deadline, Patience
from taskman_cli.sinks.words import plain_text

if TYPE_CHECKING:
    from taskman_cli.core.sinks import SinkDefinition
    from taskman_cli.sinks.base import Message
    from taskman_cli.sinks.secrets import Secrets
    from taskman_cli.sinks.surroundings import Surroundings

_OPEN = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: Of a file that we make: what jobs print is nobody else's business.
_MODE = 0o600


class File:
    """A sink that appends to a file."""

    def __init__(self, definition: SinkDefinition, surroundings: Surroundings) -> None:
        self._path = str(definition.settings["path"])
        durability = definition.settings.get("durability")
        self._is_durable = surroundings.is_durable if durability is None else durability == Durability.POWER
        self._trust = surroundings.trust
        self._is_text = definition.format == "text"
        self._patience = Patience()
        self._fd = -1

    def deliver(self, message: Message, timeout_s: float) -> str:
        """Append a line for each report."""
        if self._is_text:
            lines = [(plain_text(message) + "\n").encode("utf-8")]
        else:
            lines = [as_json(document) + b"\n" for document in line_documents(message)]
        try:
            return self._patience.run(lambda: self._append(b"".join(lines)), Deadline(timeout_s))
        except TimeoutError:
            raise NotReached(f"{self._path}: the file system does not answer") from None
        except OSError as error:
            # It may be another file at the next attempt.
            self.close()
            raise NotReached(f"{self._path}: {error.strerror or type(error).__name__}") from None
        except TaskmanError as error:
            self.close()
            raise NotReached(str(error)) from None
        except ValueError:
            raise NotReached(f"{self._path}: not a valid file name") from None

    def _append(self, data: bytes) -> str:
        if self._fd < 0 or not self._is_still_there():
            self.close()
            self._fd = self._open()
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            data = b"\n" + data
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            # Half a line is no use to anybody, unless somebody else has written after it.
            if os.fstat(self._fd).st_size == size + len(data) - len(rest):
                os.ftruncate(self._fd, size)
            raise
        if self._is_durable:
            os.fsync(self._fd)
        return f"{len(data):,} bytes appended"

    def _is_still_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._fd))  # noqa: PTH116 - as it is given
        except OSError:
            return False

    def _open(self) -> int:
        """Open the file in its directory, which is judged first, so that nobody can put a link in between."""
        path = PurePath(self._path)
        directory = self._trust.open(path.parent)
        try:
            if not stat.S_ISDIR(os.fstat(directory).st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            fd, is_new = self._open_in(directory, path.name)
            try:
                self._judge(fd)
                if is_new and self._is_durable:
                    os.fsync(directory)
            except BaseException:
                os.close(fd)
                raise
            return fd
        finally:
            os.close(directory)

    def _open_in(self, directory: int, name: str) -> tuple[int, bool]:
        # A link is followed only where nobody else could have made it.
        follow = 0 if self._trust.is_checked else os.O_NOFOLLOW
        flags = _OPEN & ~(os.O_NOFOLLOW & follow)
        for _ in range(3):
            try:
                return os.open(name, flags | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=directory), True
            except FileExistsError:
                pass
            with suppress(FileNotFoundError):  # it was moved away right then
                return os.open(name, flags, dir_fd=directory), False
        raise OSError(errno.EAGAIN, "it comes and goes")

    def _judge(self, fd: int) -> None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if self._trust.is_checked:
            if status.st_nlink > 1:
                raise OSError(errno.EMLINK, "it has another name, too: remove that link")
            self._trust.judge(status, os.path.realpath(f"/proc/self/fd/{fd}"))

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def make(definition: SinkDefinition, surroundings: Surroundings, _secrets: Secrets) -> File:
    """Make a sink of its definition."""
    return File(definition, surroundings)
