"""Whose files decide what we run: every component of a path is root's or ours, and nobody else can write it.

The rule of sshd (StrictModes) and sudo (sudoers). It is checked on open descriptors, one component after the
other, so that what was looked at is what is read: nothing can be swapped in between. Who runs taskman as an
ordinary user trusts whatever he names; only root is protected from others here.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: As many links as the kernel follows on the way to one file.
_MOST_LINKS = 40
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


class Untrusted(TaskmanError):
    """Say which component of a path somebody else could change, and what to do about it."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        #: That component.
        self.path = path


@dataclass(frozen=True, slots=True)
class Trust:
    """Who may decide what we run, besides root and who runs taskman."""

    #: False: everything is taken, as for an ordinary user.
    is_checked: bool = True
    #: Further users whose files are taken: `--trust UID`.
    uids: frozenset[int] = frozenset()
    #: Real paths of what is taken with all below it, whoever owns it or what leads there: `--trust PATH`.
    paths: frozenset[str] = frozenset()
    #: Who called sudo, and so is root already.
    caller: int | None = None
    #: In a container of our own: an owner without an account is whoever made the volume.
    has_no_strangers: bool = False
    #: What a group can write that has nobody in it is taken.
    takes_empty_groups: bool = False
    #: What was taken, and which user it belongs to, where that is not plain from what was asked for.
    used: dict[int, str] = field(default_factory=dict, compare=False)

    def and_user(self, uid: int) -> Trust:
        """Return a trust that takes one user's files too."""
        return self.and_those((uid,), ())

    def and_those(self, uids: Iterable[int], paths: Iterable[str]) -> Trust:
        """Return a trust that takes the files of further users, and what is at and below further paths."""
        real = frozenset(map(os.path.realpath, paths))
        return replace(self, uids=self.uids | frozenset(uids), paths=self.paths | real)

    def open(
        self, path: str | os.PathLike[str], *, refuse: Callable[[os.stat_result], None] | None = None
    ) -> int:
        """Open a file or directory for reading, without waiting; return its descriptor.

        `refuse` may raise something once it is known what the path leads to: a device must not be opened.
        Raises Untrusted, and OSError where it is not there or cannot be opened.
        """
        if not self.is_checked:
            if refuse is not None:
                refuse(os.stat(path))  # noqa: PTH116 - as it is given
            return os.open(path, _READ & ~os.O_NOFOLLOW)
        return _Walk(self, refuse).open(_absolute(path))

    def open_to_list(self, path: str | os.PathLike[str], *, is_spool: bool = False) -> int:
        """Open a directory whose files will all be taken: nobody else may put one there, sticky or not.

        `is_spool`: a group may, as Debian's `crontab` may, since each file there has to be of its own user.
        """
        fd = self.open(path)
        try:
            status = os.fstat(fd)
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(20, os.strerror(20), os.fspath(path))
            if self.is_checked:
                real = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - no path of anybody's
                self._judge_list(status, real, is_spool=is_spool)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def check(self, path: str | os.PathLike[str]) -> None:
        """Look at a path as `open` does; one that is not there, or not to be looked at, is no danger."""
        try:
            os.close(self.open(path, refuse=_never_open))
        except (OSError, _Found):
            return

    def judge(self, status: os.stat_result, here: str) -> None:
        """Raise Untrusted if somebody else decides what is at a real path, all above it being judged."""
        if self.has_path(here):
            return
        if not self.takes_owner(status.st_uid, here):
            raise Untrusted(
                f"{here} belongs to {_user(status.st_uid)}, who would decide what root runs: "
                f"chown root {here}, or --trust {status.st_uid}",
                here,
            )
        mode = status.st_mode
        if stat.S_ISLNK(mode) or not mode & (stat.S_IWGRP | stat.S_IWOTH):
            return
        if stat.S_ISDIR(mode) and mode & stat.S_ISVTX:
            return  # as /tmp: nobody can put another in the place of what is ours there
        self._judge_writers(status, here, f"can write {here}, and so decide what root runs")

    def _judge_list(self, status: os.stat_result, here: str, *, is_spool: bool) -> None:
        if self.has_path(here) or (is_spool and not status.st_mode & stat.S_IWOTH):
            return
        self._judge_writers(status, here, f"can put files into {here}, and so decide what root runs")

    def _judge_writers(self, status: os.stat_result, here: str, what: str) -> None:
        mode = status.st_mode
        if mode & stat.S_IWOTH:
            raise Untrusted(f"anybody {what}: chmod o-w {here}", here)
        if mode & stat.S_IWGRP and not self._is_own_group(status):
            raise Untrusted(f"the group {_group(status.st_gid)} {what}: chmod g-w {here}", here)

    def _is_own_group(self, status: os.stat_result) -> bool:
        """Tell if a group has nobody in it but the owner, who is trusted."""
        if status.st_gid == 0 or (self.takes_empty_groups and _is_empty(status.st_gid)):
            return True
        try:
            group = grp.getgrgid(status.st_gid)
            user = pwd.getpwuid(status.st_uid)
        except KeyError:
            # Of a group and owner that have no names in a container, nobody else is one here.
            return self.has_no_strangers and _has_no_name(status.st_gid)
        is_private = user.pw_gid == status.st_gid and group.gr_name == user.pw_name
        return status.st_uid != 0 and is_private and set(group.gr_mem) <= {user.pw_name}

    def has_path(self, here: str) -> bool:
        """Tell if a real path is at or below one that is trusted."""
        return any(here == path or here.startswith(f"{path.rstrip('/')}/") for path in self.paths)

    def leads_to_path(self, here: str) -> bool:
        """Tell if a trusted path is below this real one."""
        return any(path.startswith(f"{here.rstrip('/')}/") for path in self.paths)

    def takes_owner(self, uid: int, here: str = "") -> bool:
        """Tell if what a user owns is taken."""
        if uid in (0, os.geteuid()) or uid in self.uids:
            return True
        if uid == self.caller or (self.has_no_strangers and not _has_account(uid)):
            self.used.setdefault(uid, here)
            return True
        return False

    def notes(self) -> list[tuple[str, str]]:
        """Return what was taken though it belongs to neither root nor one who was named: path and reason."""
        return [
            (
                path,
                f"belongs to {_user(uid)}, "
                + ("who called sudo" if uid == self.caller else "who has no account in this container")
                + ": taken as root's",
            )
            for uid, path in self.used.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """Return it for another process of ours, as JSON has it."""
        return {
            "is_checked": self.is_checked,
            "uids": sorted(self.uids),
            "paths": sorted(self.paths),
            "caller": self.caller,
            "has_no_strangers": self.has_no_strangers,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Trust:
        """Read what `as_json` returned."""
        return cls(**values | {name: frozenset(values[name]) for name in ("uids", "paths")})


def standing_trust(
    environ: Mapping[str, str], *, is_init: bool | None = None, named: Iterable[str] = ()
) -> Trust:
    """Return whom this process trusts: root and itself, who called sudo, and what `--trust` names.

    `named` has numbers of users, and paths. `is_init`: taskman is the first process, as in a container; None:
    see for yourself.
    """
    if os.geteuid() != 0:
        return Trust(is_checked=False)
    caller = environ.get("SUDO_UID", "")
    is_number = caller.isascii() and caller.isdigit()
    trust = Trust(
        caller=int(caller) if is_number else None,
        has_no_strangers=_is_init() if is_init is None else is_init,
    )
    words = list(named)
    return trust.and_those(
        (int(word) for word in words if is_uid(word)), (word for word in words if not is_uid(word))
    )


def is_uid(word: str) -> bool:
    """Tell if a word of `--trust` is the number of a user, and no path."""
    return word.isascii() and word.isdigit()


def _is_init() -> bool:
    if os.getpid() == 1:
        return True
    try:
        return b"taskman_cli.supervisor" in Path("/proc/1/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _absolute(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path)
    return name if name.startswith("/") else f"{os.getcwd()}/{name}"  # noqa: PTH109


class _Found(Exception):
    """Ends a walk before anything is opened."""


def _never_open(_: os.stat_result) -> None:
    raise _Found


class _Walk:
    """Goes from the root directory to a file, and holds the directory that it has come to."""

    def __init__(self, trust: Trust, refuse: Callable[[os.stat_result], None] | None = None) -> None:
        self._trust = trust
        self._refuse = refuse
        self._links = 0
        #: The directory it has come to, and those above it, each open and by name.
        self._way: list[tuple[int, str]] = []
        #: What is wrong on the way to where a trusted path may be.
        self._pending: Untrusted | None = None

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
                if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                    self._end(status)  # that it is one says more than who can write to it
                self._judge(status, here)
                if stat.S_ISLNK(status.st_mode):
                    target = self._read_link(fd, here)
                elif stat.S_ISDIR(status.st_mode):
                    self._way.append((fd, here))
                    fd = -1
                    continue
                elif pending:
                    raise NotADirectoryError(20, os.strerror(20), here)
                else:
                    self._end(status)
                    return _reopened(name, directory, status)
            finally:
                if fd >= 0:
                    os.close(fd)
            if here.startswith("/proc/") and not target.startswith("/") and ":[" in target:
                return self._open_nameless(name, directory, here)
            if target.startswith("/"):
                self._begin()
            pending += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        directory, _ = self._way[-1]
        self._end(os.fstat(directory))
        return os.open(".", _READ | os.O_DIRECTORY, dir_fd=directory)

    def _open_nameless(self, name: str, directory: int, here: str) -> int:
        """Open what a process has open and what has no name, as the pipe of `<(...)`."""
        fd = os.open(name, _READ & ~os.O_NOFOLLOW, dir_fd=directory)
        try:
            self._judge(os.fstat(fd), here)
            self._end(os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _end(self, status: os.stat_result) -> None:
        if self._pending is not None:
            raise self._pending
        if self._refuse is not None:
            self._refuse(status)

    def _read_link(self, fd: int, here: str) -> str:
        self._links += 1
        if self._links > _MOST_LINKS:
            raise OSError(40, os.strerror(40), here)
        return os.readlink("", dir_fd=fd)

    def _judge(self, status: os.stat_result, here: str) -> None:
        """Raise Untrusted if somebody else decides what is here, unless a trusted path may follow."""
        try:
            self._trust.judge(status, here)
        except Untrusted as error:
            if not self._trust.leads_to_path(here):
                raise
            self._pending = self._pending or error
        else:
            if self._trust.has_path(here):
                self._pending = None  # whoever named the path has trusted what leads there


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


def user_name(uid: int) -> str:
    """Return the name of a user, or "uid 123" where there is no such account."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _user(uid: int) -> str:
    return f"user {user_name(uid)}" if _has_account(uid) else user_name(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _has_no_name(gid: int) -> bool:
    try:
        grp.getgrgid(gid)
    except KeyError:
        return True
    return False


def _is_empty(gid: int) -> bool:
    """Tell if a group has a name and nobody in it."""
    try:
        members = grp.getgrgid(gid).gr_mem
    except KeyError:
        return False
    return not members and all(user.pw_gid != gid for user in pwd.getpwall())
