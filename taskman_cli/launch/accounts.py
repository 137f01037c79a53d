"""The users and groups of the machine: who commands run as, and who runs this.

To look one up can take long where they are on another machine (LDAP). So it is done when job files are read,
beside the clock's loop, and again only after the machine's own files of users have changed.
"""

from __future__ import annotations

import grp
import os
import pwd

from taskman_cli.core.model import Account, Group
from taskman_cli.errors import TaskmanError

#: Whoever adds or removes a user or changes its groups here changes one of these.
_FILES = ("/etc/passwd", "/etc/group")

Look = tuple[tuple[int, int, int] | None, ...]


class NoAccount(TaskmanError):
    """Say why commands cannot run as a user or with a group."""


class Accounts:
    """Users and groups by name, for commands to run as; each is looked up once."""

    def __init__(self, *, is_run_here: bool = True) -> None:
        """Take whether the commands are to be run by this process; else any name will do."""
        self.is_run_here = is_run_here
        self._known: dict[str, Account | None] = {}

    def user(self, name: str) -> Account:
        """Return a user; raises NoAccount if there is none of that name, or we cannot become him."""
        if name not in self._known:
            self._known[name] = find_account(name)
        found = self._known[name]
        if not self.is_run_here:
            return found or Account(name)
        if found is None:
            raise NoAccount(f"there is no user {name} on this machine")
        if os.geteuid() not in (0, found.uid):
            fix = "run taskman as root" + (f", or as {name}" if found.uid else "")
            raise NoAccount(f"only root can run commands as another user: {fix}")
        return found

    def group(self, name: str) -> Group:
        """Return a group; raises NoAccount if there is none of that name, or it is not for this process."""
        found = _group(name)
        if not self.is_run_here:
            return found or Group(name)
        if found is None:
            raise NoAccount(f"there is no group {name} on this machine")
        if os.geteuid() != 0 and os.getegid() != found.gid:
            raise NoAccount("only root can run commands with another group: run taskman as root")
        return found


class Runners:
    """Users as they were when the job files were read, or since the machine's files of users changed."""

    def __init__(self) -> None:
        self._look = _look()
        self._changed: dict[str, Account | None] | None = None

    def look_again(self) -> bool:
        """Tell if the files of users have changed since the last look."""
        look, before = _look(), self._look
        if look != before:
            self._look, self._changed = look, {}
        return look != before

    def current(self, account: Account) -> Account:
        """Return the user as he is by now; raises NoAccount if he is there no more."""
        if self._changed is None:
            return account
        if account.name not in self._changed:
            self._changed[account.name] = find_account(account.name)
        found = self._changed[account.name]
        if found is None:
            raise NoAccount(f"there is no user {account.name} any more")
        return found


def own_account() -> Account | None:
    """Return the user that this process runs as; None for a number that has no name."""
    try:
        return find_account(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        return None


def to_become(user: Account | None, group: Group | None) -> tuple[int, int, list[int]] | None:
    """Return the user, group and all groups that a command needs; None: those of this process."""
    uid = os.geteuid() if user is None else user.uid
    gid = group.gid if group is not None else os.getegid() if user is None else user.gid
    if (uid, gid) == (os.geteuid(), os.getegid()):
        return None
    groups = os.getgroups() if user is None else user.groups
    return uid, gid, [gid, *(one for one in groups if one != gid)]


def find_account(name: str) -> Account | None:
    """Return a user of the machine; None if there is none of that name."""
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError, UnicodeEncodeError):
        return None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    # As under cron: whose home is not there starts elsewhere, rather than not at all.
    directory = entry.pw_dir if os.path.isdir(entry.pw_dir) else "/"  # noqa: PTH112 - a string in, a string out
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, directory)


def _group(name: str) -> Group | None:
    try:
        return Group(name, grp.getgrnam(name).gr_gid)
    except (KeyError, ValueError, UnicodeEncodeError):
        return None


def _look() -> Look:
    """Return what tells one state of the files of users from another."""
    look: list[tuple[int, int, int] | None] = []
    for path in _FILES:
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path costs more than the call
        except OSError:
            look.append(None)
        else:
            look.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(look)
