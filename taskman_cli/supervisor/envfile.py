"""Files of environment variables (`env_file`): opened without waiting, read, and never quoted.

Used by the scheduler, and by the process that becomes a command: there a file is read that another user may
have changed, or whose file system may hang, with the rights of the user that the command runs as.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Larger files are refused.
MAX_ENV_FILE_BYTES = 1 << 20
#: Opening a pipe with these flags does not wait.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: Blanks around names and values; the last one is from Windows line ends.
_BLANKS = " \t\r"


class EnvFileError(Exception):
    """Say what is wrong with a file, but not what is in it: that may be secret."""


class EnvFile:
    """A file that is open for as long as the `with` block lasts."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> EnvFile:
        try:
            self._fd = os.open(self._path, _READ)
        except OSError as error:
            raise self._unreadable(error.strerror) from None
        except ValueError:  # a NUL
            raise self._unreadable("not a valid file name") from None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def stamp(self) -> tuple[int, ...]:
        """Return what identifies this version of the file; time and size alone do not."""
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            raise self._unreadable("not a regular file")
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def check_owner(self) -> None:
        """Refuse a file that does not belong to us or root alone; for files whose path cannot be checked."""
        status = os.fstat(self._fd)
        if status.st_uid not in (0, os.geteuid()):
            raise self._unreadable(f"it belongs to uid {status.st_uid}")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise self._unreadable(f"others can write it: chmod go-w {self._path}")

    def values(self) -> dict[str, str]:
        """Return the variables that it has."""
        self.stamp()
        data = b""
        try:
            while piece := os.read(self._fd, MAX_ENV_FILE_BYTES + 1 - len(data)):
                data += piece
        except OSError as error:
            raise self._unreadable(error.strerror) from None
        if len(data) > MAX_ENV_FILE_BYTES:
            raise self._unreadable(f"larger than {MAX_ENV_FILE_BYTES} bytes")
        text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        return parse_env_file(text, self._path)

    def _unreadable(self, reason: Any) -> EnvFileError:
        return EnvFileError(f"cannot read env_file {self._path}: {reason}")


def parse_env_file(text: str, path: str) -> dict[str, str]:
    """Read lines `NAME=value`, much as systemd's EnvironmentFile= has them.

    Blank lines, lines that start with # or ; and `export ` before a name are skipped. A value may be in
    single or double quotes, and then cannot contain that quote. Unlike in systemd, $ and backslashes have no
    meaning, and a value cannot continue on the next line: a backslash at the end or an open quote is refused.
    Raises EnvFileError with the number of the line, but not its contents, which may be secret.
    """
    values = {}
    # Not splitlines(): it knows a dozen line ends, and a value may contain them.
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(_BLANKS)
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        name = name.strip(_BLANKS)
        if not equals or not (name.isascii() and name.isidentifier()) or "\0" in value:
            raise EnvFileError(f"env_file {path}, line {number}: not of the form NAME=value")
        try:
            values[name] = _unquoted(value.strip(_BLANKS))
        except ValueError as error:
            raise EnvFileError(f"env_file {path}, line {number}: {error}") from None
    return values


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote and quote in "'\"":
        if len(value) < 2 or value.find(quote, 1) != len(value) - 1:
            raise ValueError(
                f"a value that begins with {quote} must end with it on the same line and have none in between"
            )
        return value[1:-1]
    if quote and value[-1] == "\\":
        raise ValueError(
            "a backslash at the end: no value can continue on the next line"
            " (put a value that ends with a backslash in quotes)"
        )
    return value
