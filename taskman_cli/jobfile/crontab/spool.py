"""The directory of user crontabs: a file in it runs as the user it is named after.

Debian and busybox have it in /var/spool/cron/crontabs, cronie in /var/spool/cron, SUSE in
/var/spool/cron/tabs, Alpine in /etc/crontabs, BSD in /var/cron/tabs; a copy is treated the same way.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from errno import ELOOP
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.problems import JobFileError, Problem
from taskman_cli.jobfile.source import NotTrusted, read_open
from taskman_cli.launch.accounts import NoAccount
from taskman_cli.trust import Untrusted, user_name

if TYPE_CHECKING:
    from taskman_cli.launch.accounts import Accounts
    from taskman_cli.trust import Trust

_NAMES = ("crontabs", "tabs", "cron")
#: Parent and directory, for paths without "spool".
_ELSEWHERE = (("etc", "crontabs"), ("cron", "tabs"))
#: Subdirectories of a spool directory that has no crontabs itself.
_BELOW = ("crontabs", "tabs")


class CrontabRefused(JobFileError):
    """A crontab in a spool directory must not be run as its user."""


def is_spool(directory: Path) -> bool:
    """Tell from its path, as given or resolved, whether a directory is a spool directory."""
    return any(
        (parts[-1] in _NAMES and "spool" in parts[:-1]) or parts[-2:] in _ELSEWHERE
        for parts in (directory.absolute().parts, _real(directory).parts)
    )


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A crontab in a spool directory."""

    #: The path as given, for messages.
    path: Path
    #: The path with links to its directory resolved.
    place: Path

    @classmethod
    def at(cls, path: Path) -> SpoolFile | None:
        """Return the crontab at a path; None if it is not in a spool directory."""
        parent = path.absolute().parent
        if is_spool(parent) and path.name != "..":
            return cls(path, _real(parent) / path.name)
        place = _real(path)
        return cls(path, place) if is_spool(place.parent) else None

    @property
    def user(self) -> str:
        """Return the name of the user that it runs as."""
        return self.place.name

    def read(self, accounts: Accounts, trust: Trust) -> bytes:
        """Return its contents, or raise JobFileError if cron would not run it as this user."""
        try:
            fd = self._open(trust)
        except Untrusted as error:
            raise NotTrusted(self.path, error) from None
        except OSError as error:
            if error.errno == ELOOP:
                reason = "a symbolic link, which cron does not follow here: replace it with the file itself"
                raise self._refused(reason) from None
            raise self._refused(f"cannot be read: {(error.strerror or str(error)).lower()}") from None
        except ValueError as error:  # an invalid file name
            raise self._refused(f"cannot be read: {error}") from None
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
            if not stat.S_ISREG(status.st_mode):
                raise self._refused("cannot be read: not a regular file")
            self._check(status, accounts)
            return read_open(file, self.path)

    def _open(self, trust: Trust) -> int:
        """Open it in its directory, which must be root's if root reads it."""
        if self.path.absolute() != self.place:
            trust.check(self.path.parent)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        directory = trust.open_to_list(self.place.parent, is_spool=True)
        try:
            # The open file is checked, so it cannot be exchanged before it is read.
            return os.open(self.place.name, flags, dir_fd=directory)
        finally:
            os.close(directory)

    def _check(self, status: os.stat_result, accounts: Accounts) -> None:
        """Reject a file of no user, or one that others than root and the user may have written."""
        try:
            account = accounts.user(self.user)
        except NoAccount as error:
            reason = f"its lines run as {quoted(self.user)}, the user it is named after: {error}"
            raise self._refused(reason) from None
        if not accounts.is_run_here:
            return
        if status.st_uid not in (0, account.uid):
            reason = (
                f"owned by {user_name(status.st_uid)}, and its lines would run as {self.user}: "
                f"check what is in it, then chown {self.user} {self.path}"
            )
            raise self._refused(reason)
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            reason = (
                f"writable by others, and its lines would run as {self.user}: "
                f"check what is in it, then chmod go-w {self.path}"
            )
            raise self._refused(reason)

    def _refused(self, reason: str) -> CrontabRefused:
        return CrontabRefused([Problem(str(self.path), 1, 1, "", reason)])


def crontabs_of_users(directory: Path) -> list[Path]:
    """Return the files of a spool directory that are not hidden, or those of its subdirectory."""
    entries = sorted(path for path in directory.iterdir() if path.name[0] != ".")
    found = [path for path in entries if path.is_symlink() or not path.is_dir()]
    return found or [path for path in entries if path.name in _BELOW]


def _real(path: Path) -> Path:
    """Return the resolved path, or an invalid one unchanged."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path.absolute()
