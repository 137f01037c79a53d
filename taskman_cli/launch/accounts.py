"""The users and groups of the machine: which ones commands run as, and which one runs this process.

A lookup can take long if accounts are on another machine (LDAP). So they are looked up when job files are
read, outside the loop, and again only after the local account files have changed.
"""

from __future__ import annotations

import grp
import os
import pwd

from taskman_cli.core.model import Account, Group
from taskman_cli.errors import TaskmanError

#: One of these files changes when a local user or its groups change.
_FILES = ("/etc/passwd", "/etc/group")

Look = tuple[tuple[int, int, int] | None, ...]


class NoAccount(TaskmanError):
    """Raised if commands cannot run as a user or with a group."""


class Accounts:
    """Users and groups by name; each is looked up once."""

    def __init__(self, *, is_run_here: bool = True) -> None:
        """Take whether this process will run the commands; if not, names are not checked."""
        self.is_run_here = is_run_here
        self._known: dict[str, Account | None] = {}

    def user(self, name: str) -> Account:
        """Return a user. Raises NoAccount if there is none, or this process cannot become that user."""
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
        """Return a group. Raises NoAccount if there is none, or this process cannot use it."""
        found = _group(name)
        if not self.is_run_here:
            return found or Group(name)
        if found is None:
            raise NoAccount(f"there is no group {name} on this machine")
        if os.geteuid() != 0 and os.getegid() != found.gid:
            raise NoAccount("only root can run commands with another group: run taskman as root")
        return found


class Runners:
    """Users as of the last reading of the job files, or the last change of the account files."""

    def __init__(self) -> None:
        self._look = _look()
        self._changed: dict[str, Account | None] | None = None

    def look_again(self) -> bool:
        """Tell if the account files have changed since the last call."""
        look, before = _look(), self._look
        if look != before:
            self._look, self._changed = look, {}
        return look != before

    def current(self, account: Account) -> Account:
        """Return the user as of now. Raises NoAccount if the account was removed."""
        if self._changed is None:
            return account
        if account.name not in self._changed:
            self._changed[account.name] = find_account(account.name)
        found = self._changed[account.name]
        if found is None:
            raise NoAccount(f"there is no user {account.name} any more")
        return found


def own_account() -> Account | None:
    """Return the user that this process runs as; None if it has no account."""
    try:
        return find_account(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        return None


def to_become(user: Account | None, group: Group | None) -> tuple[int, int, list[int]] | None:
    """Return user id, group id and all groups for a command; None: those of this process."""
    if user is None and group is None:
        return None
    uid = os.geteuid() if user is None else user.uid
    gid = group.gid if group is not None else os.getegid() if user is None else user.gid
    if (uid, gid) == (os.geteuid(), os.getegid()):
        return None
    groups = os.getgroups() if user is None else user.groups
    return uid, gid, [gid, *(one for one in groups if one != gid)]


def find_account(name: str) -> Account | None:
    """Return a user of the machine; None if there is none."""
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError, UnicodeEncodeError):
        return None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    # As in cron: if the home directory is missing, commands start elsewhere instead of failing.
    directory = entry.pw_dir if os.path.isdir(entry.pw_dir) else "/"  # noqa: PTH112 - a string in, a string out
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, directory)


def _group(name: str) -> Group | None:
    try:
        return Group(name, grp.getgrnam(name).gr_gid)
    except (KeyError, ValueError, UnicodeEncodeError):
        return None


def _look() -> Look:
    """Return a fingerprint of the account files."""
    look: list[tuple[int, int, int] | None] = []
    for path in _FILES:
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path costs more than the call
        except OSError:
            look.append(None)
        else:
            look.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(look)
