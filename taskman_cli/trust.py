"""Whose files decide what we run: every component of a path is root's or ours, and nobody else can write it.

The rule of sshd (StrictModes) and sudo (sudoers). It is checked on open descriptors, one component after the
other, so that what was looked at is what is read: nothing can be swapped in between. Who runs taskman as an
ordinary user trusts whatever he names; only root is protected from others here.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass, field
from pathlib import Path

from taskman_cli.errors import TaskmanError

#: As many links as the kernel follows on the way to one file.
_MOST_LINKS = 40
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


class Untrusted(TaskmanError):
    """Say which component of a path somebody else could change, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Who may decide what we run, besides root and who runs taskman."""

    #: False: everything is taken, as for an ordinary user.
    is_checked: bool = True
    #: Further users whose files are taken: who called sudo, and `--trust UID`.
    uids: frozenset[int] = frozenset()
    #: Real paths of what is taken with all below it, whoever owns it: `--trust PATH`.
    paths: frozenset[str] = frozenset()
    #: In a container of our own: an owner without an account is whoever made the volume.
    has_no_strangers: bool = False
    #: Users who were trusted for one of these reasons, to be said once.
    used: set[int] = field(default_factory=set, compare=False)

    def and_user(self, uid: int) -> Trust:
        """Return a trust that takes one user's files too."""
        return Trust(self.is_checked, self.uids | {uid}, self.paths, self.has_no_strangers, self.used)

    def open(self, path: str | os.PathLike[str]) -> int:
        """Open a file or directory for reading, without waiting; return its descriptor.

        Raises Untrusted, and OSError where it is not there or cannot be opened.
        """
        if not self.is_checked:
            return os.open(path, _READ & ~os.O_NOFOLLOW)
        name = os.fspath(path)
        return _Walk(self).open(name if name.startswith("/") else f"{Path.cwd()}/{name}")

    def check(self, path: str | os.PathLike[str]) -> None:
        """Look at a path as `open` does; one that is not there, or not to be looked at, is no danger."""
        try:
            os.close(self.open(path))
        except OSError:
            return

    def takes_owner(self, uid: int) -> bool:
        """Tell if what a user owns is taken."""
        if uid in (0, os.geteuid()):
            return True
        if uid in self.uids or (self.has_no_strangers and not _has_account(uid)):
            self.used.add(uid)
            return True
        return False


def standing_trust(
    environ: dict[str, str] | os._Environ[str], *, is_init: bool, uids: tuple[int, ...] = (),
    paths: tuple[str, ...] = (),
) -> Trust:  # fmt: skip
    """Return whom this process trusts: root and itself, who called sudo, and what `--trust` names.

    `is_init`: taskman is the first process, as in a container.
    """
    if os.geteuid() != 0:
        return Trust(is_checked=False)
    known = set(uids)
    caller = environ.get("SUDO_UID", "")
    if caller.isascii() and caller.isdigit():
        known.add(int(caller))
    return Trust(True, frozenset(known), frozenset(map(os.path.realpath, paths)), is_init)


class _Walk:
    """Goes from the root directory to a file, and holds the directory that it has come to."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._links = 0
        #: The directory it has come to, and those above it, each open and by name.
        self._way: list[tuple[int, str]] = []

    def open(self, path: str) -> int:
        try:
            self._begin()
            return self._follow(path.split("/"))
        finally:
            self._go_back(0)

    def _begin(self) -> None:
        self._go_back(0)
        self._way = [(os.open("/", _LOOK | os.O_DIRECTORY), "")]
        self._judge(os.fstat(self._way[0][0]), "/")

    def _go_back(self, length: int) -> None:
        while len(self._way) > length:
            os.close(self._way.pop()[0])

    def _follow(self, names: list[str]) -> int:
        """Follow the components of a path, links too; return the descriptor of what it leads to."""
        pending = [name for name in reversed(names) if name not in ("", ".")]
        while pending:
            name = pending.pop()
            if name == "..":
                self._go_back(max(1, len(self._way) - 1))
                continue
            directory, above = self._way[-1]
            here = f"{above}/{name}"
            fd = os.open(name, _LOOK, dir_fd=directory)
            try:
                status = os.fstat(fd)
                self._judge(status, here)
                if stat.S_ISLNK(status.st_mode):
                    target = self._read_link(fd, here)
                elif stat.S_ISDIR(status.st_mode):
                    self._way.append((os.dup(fd), here))
                    continue
                elif pending:
                    raise NotADirectoryError(20, os.strerror(20), here)
                else:
                    return _reopened(name, directory, status)
            finally:
                os.close(fd)
            if target.startswith("/"):
                self._begin()
            pending += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        directory, _ = self._way[-1]
        return os.open(".", _READ | os.O_DIRECTORY, dir_fd=directory)

    def _read_link(self, fd: int, here: str) -> str:
        self._links += 1
        if self._links > _MOST_LINKS:
            raise OSError(40, os.strerror(40), here)
        return os.readlink("", dir_fd=fd)

    def _judge(self, status: os.stat_result, here: str) -> None:
        """Raise Untrusted if somebody else decides what is here."""
        if any(here == path or here.startswith(f"{path}/") for path in self._trust.paths):
            return
        if not self._trust.takes_owner(status.st_uid):
            raise Untrusted(
                f"{here} belongs to {_user(status.st_uid)}, who would decide what root runs: "
                f"chown root {here}, or --trust {status.st_uid}"
            )
        mode = status.st_mode
        if stat.S_ISLNK(mode) or not mode & (stat.S_IWGRP | stat.S_IWOTH):
            return
        if stat.S_ISDIR(mode) and mode & stat.S_ISVTX:
            return  # as /tmp: nobody can put another in the place of what is ours there
        if mode & stat.S_IWOTH:
            raise Untrusted(f"anybody can write {here}, and so decide what root runs: chmod o-w {here}")
        if status.st_gid != 0:
            raise Untrusted(
                f"the group {status.st_gid} can write {here}, and so decide what root runs: chmod g-w {here}"
            )


def _reopened(name: str, directory: int, seen: os.stat_result) -> int:
    """Open what was looked at for reading; raises OSError if it is another by now."""
    fd = os.open(name, _READ, dir_fd=directory)
    if not os.path.samestat(os.fstat(fd), seen):
        os.close(fd)
        raise OSError(116, os.strerror(116), name)
    return fd


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"
