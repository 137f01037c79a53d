"""Whose files decide what we run: each component of a path is root's or ours, and nobody else can write it.

This is the rule of sshd (StrictModes) and sudo (sudoers). It is checked on open descriptors, component by
component, so that nothing can be replaced between check and use. Only root is protected: an ordinary user
trusts every file that he names.
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

#: The kernel's limit of symbolic links in one path.
_MOST_LINKS = 40
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


class Untrusted(TaskmanError):
    """Raised for a path with a component that another user could change; names it and the fix."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        #: The component.
        self.path = path


@dataclass(frozen=True, slots=True)
class Trust:
    """The users and paths that may decide what we run, besides root and the user who runs taskman."""

    #: False: everything is accepted, as for an ordinary user.
    is_checked: bool = True
    #: Other users whose files are accepted: `--trust UID`.
    uids: frozenset[int] = frozenset()
    #: Real paths that are accepted with everything below them, whoever owns them: `--trust PATH`.
    paths: frozenset[str] = frozenset()
    #: The user who called sudo, and so has root's rights already.
    caller: int | None = None
    #: In our own container, an owner without an account is the user who made the volume.
    has_no_strangers: bool = False
    #: Who will run it; None: the user of this process.
    runner: int | None = None
    #: Accept what a group without members can write.
    takes_empty_groups: bool = False
    #: Paths that were accepted because of `caller` or `has_no_strangers`, by owner.
    used: dict[int, str] = field(default_factory=dict, compare=False)

    def and_user(self, uid: int) -> Trust:
        """Return a trust that also accepts the files of one user."""
        return self.and_those((uid,), ())

    def and_those(self, uids: Iterable[int], paths: Iterable[str]) -> Trust:
        """Return a trust that also accepts files of these users, and all at and below these paths."""
        real = frozenset(map(os.path.realpath, paths))
        return replace(self, uids=self.uids | frozenset(uids), paths=self.paths | real)

    def open(
        self, path: str | os.PathLike[str], *, refuse: Callable[[os.stat_result], None] | None = None
    ) -> int:
        """Open a file or directory for reading, without blocking; return its descriptor.

        `refuse` is called with the status before the file is opened, and may raise, as for a device.
        Raises Untrusted, or OSError if the file does not exist or cannot be opened.
        """
        if not self.is_checked:
            if refuse is not None:
                refuse(os.stat(path))  # noqa: PTH116 - as it is given
            return os.open(path, _READ & ~os.O_NOFOLLOW)
        return _Walk(self, refuse).open(_absolute(path))

    def open_to_list(self, path: str | os.PathLike[str], *, is_spool: bool = False) -> int:
        """Open a directory whose files are all read: nobody else may create one there, even if it is sticky.

        `is_spool`: a group may create files, as Debian's `crontab` does; the owner of each file is checked.
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
        """Check a path as `open` does. A path that does not exist or cannot be read is harmless."""
        try:
            os.close(self.open(path, refuse=_never_open))
        except (OSError, _Found):
            return

    def judge(self, status: os.stat_result, here: str) -> None:
        """Raise Untrusted if another user controls what is at a real path. Its parents have been checked."""
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
            return  # like /tmp: others cannot replace our files there
        self._judge_writers(status, here, f"can write {here}, and so decide what root runs")

    def _judge_list(self, status: os.stat_result, here: str, *, is_spool: bool) -> None:
        if self.has_path(here) or (is_spool and not status.st_mode & stat.S_IWOTH):
            return
        self._judge_writers(status, here, f"can put files into {here}, and so decide what root runs")

    def _judge_writers(self, status: os.stat_result, here: str, what: str) -> None:
        mode = status.st_mode
        if mode & stat.S_IWOTH:
            raise Untrusted(f"anybody {what}: chmod o-w {here}", here)
        if mode & stat.S_IWGRP and _has_access_list(here):
            raise Untrusted(f"who is in its access control list {what}: chmod g-w {here}", here)
        if mode & stat.S_IWGRP and not self._is_own_group(status):
            raise Untrusted(f"the group {_group(status.st_gid)} {what}: chmod g-w {here}", here)

    def _is_own_group(self, status: os.stat_result) -> bool:
        """Tell if the group's only member is the owner, who is trusted."""
        if status.st_gid == 0 or (self.takes_empty_groups and _is_empty(status.st_gid)):
            return True
        try:
            group = grp.getgrgid(status.st_gid)
        except KeyError:
            # A group without a name in our own container has no other members here.
            return self.has_no_strangers
        try:
            user = pwd.getpwuid(status.st_uid)
        except KeyError:
            return False
        is_private = user.pw_gid == status.st_gid and group.gr_name == user.pw_name
        return status.st_uid != 0 and is_private and set(group.gr_mem) <= {user.pw_name}

    def has_path(self, here: str) -> bool:
        """Tell if a real path is at or below a trusted one."""
        return any(here == path or here.startswith(f"{path.rstrip('/')}/") for path in self.paths)

    def leads_to_path(self, here: str) -> bool:
        """Tell if a trusted path is below this real one."""
        return any(path.startswith(f"{here.rstrip('/')}/") for path in self.paths)

    def takes_owner(self, uid: int, here: str = "") -> bool:
        """Tell if a user's files are accepted."""
        if uid in (0, os.geteuid() if self.runner is None else self.runner) or uid in self.uids:
            return True
        if uid == self.caller or (self.has_no_strangers and not _has_account(uid)):
            self.used.setdefault(uid, here)
            return True
        return False

    def notes(self) -> list[tuple[str, str]]:
        """Return the paths that were accepted though their owner was not named, each with the reason."""
        return [
            (
                path,
                f"belongs to {_user(uid)}, "
                + ("who called sudo" if uid == self.caller else "who has no account in this container")
                + ": trusted like root",
            )
            for uid, path in self.used.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, for another process of ours."""
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
    environ: Mapping[str, str],
    *,
    is_init: bool | None = None,
    named: Iterable[str] = (),
    is_at_boot: bool = False,
) -> Trust:
    """Return what this process trusts: root, itself, the user who called sudo, and what `--trust` names.

    `named` has user ids and paths. `is_init`: taskman is process 1, as in a container; None: find out.
    `is_at_boot`: what it would trust as root, called by nobody.
    """
    if os.geteuid() != 0 and not is_at_boot:
        return Trust(is_checked=False)
    caller = "" if is_at_boot else environ.get("SUDO_UID", "")
    is_number = caller.isascii() and caller.isdigit()
    trust = Trust(
        caller=int(caller) if is_number else None,
        has_no_strangers=_is_init() if is_init is None else is_init,
        runner=0 if is_at_boot else None,
    )
    words = list(named)
    return trust.and_those(map(int, filter(is_uid, words)), (word for word in words if not is_uid(word)))


def is_uid(word: str) -> bool:
    """Tell if a value of `--trust` is a user id and not a path."""
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
    """Ends a walk before the file is opened."""


def _never_open(_: os.stat_result) -> None:
    raise _Found


class _Walk:
    """Walks from the root directory to a file, component by component."""

    def __init__(self, trust: Trust, refuse: Callable[[os.stat_result], None] | None = None) -> None:
        self._trust = trust
        self._refuse = refuse
        self._links = 0
        #: The current directory and its parents: descriptor and path.
        self._way: list[tuple[int, str]] = []
        #: An error on the way to a path that may turn out to be trusted.
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
        """Follow the components of a path and its links; return the descriptor of the target."""
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
                    self._end(status)  # "it is a device" helps more than who can write to it
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
        """Open a file without a name that a process has open, such as the pipe of `<(...)`."""
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
        """Raise Untrusted if another user controls what is here, unless a trusted path may follow."""
        try:
            self._trust.judge(status, here)
        except Untrusted as error:
            if not self._trust.leads_to_path(here):
                raise
            self._pending = self._pending or error
        else:
            if self._trust.has_path(here):
                self._pending = None  # trusting a path includes trusting what leads to it


def _reopened(name: str, directory: int, seen: os.stat_result) -> int:
    """Open the file that was checked. Raises OSError if it was replaced since."""
    fd = os.open(name, _READ, dir_fd=directory)
    if not os.path.samestat(os.fstat(fd), seen):
        os.close(fd)
        raise OSError(116, os.strerror(116), name)
    return fd


def _has_account(uid: int) -> bool:
    return user_name(uid) != f"uid {uid}"


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


def _has_access_list(path: str) -> bool:
    """Tell if a file names further users and groups; then the mode of its group is the most they may."""
    try:
        return bool(os.getxattr(path, "system.posix_acl_access", follow_symlinks=False))
    except OSError:
        return False


def _is_empty(gid: int) -> bool:
    """Tell if a group has a name and no members."""
    try:
        members = grp.getgrgid(gid).gr_mem
    except KeyError:
        return False
    return not members and all(user.pw_gid != gid for user in pwd.getpwall())
