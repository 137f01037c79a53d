"""Two users for tests of attacks: accounts that are created for the session, or user ids without an account.

Only with `CI` set may tests change the machine: then root creates two accounts without home and shell, and
removes them afterwards with all processes that still run as them. Without, `named` returns existing accounts
for tests that need a name.
"""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import struct
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from process_table import is_alive, kill, pids, status_of
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = ("mallory", "alice")
#: No id, in an entry of an access control list.
_NOBODY = 0xFFFFFFFF
#: Their replacements: user ids without an account, others in each process of tests, since the attacks of one
#: would end what another's victims do; and two of the accounts that nobody uses, as far as they are there.
_NUMBERS = tuple(20_000 + 2 * (os.getpid() % 20_000) + number for number in range(2))
_OTHERS = ("news", "uucp", "irc", "list", "lp", "mail", "games", "daemon")
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the machine, with a private group."""

    uid: int
    gid: int
    #: "" for a number without an account.
    name: str = ""

    def __str__(self) -> str:
        """Return the user as in messages."""
        return f"user {self.name}" if self.name else f"uid {self.uid}"

    @property
    def group(self) -> str:
        """Return the group as in messages."""
        return self.name or str(self.gid)

    @property
    def spec(self) -> tuple[int, int, list[int]]:
        """Return the user in the form that the supervisor takes."""
        return self.uid, self.gid, [self.gid]

    def does(self, action: Callable[[], object]) -> None:
        """Call a function as this user, without root's rights."""
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                os.setgroups([])
                os.setresgid(self.gid, self.gid, self.gid)
                os.setresuid(self.uid, self.uid, self.uid)
                action()
                os._exit(0)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0, f"{self} could not"

    def owns(self, *paths: Path) -> None:
        """Make this user the owner of files or directories."""
        for path in paths:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def named(person: Person) -> Person:
    """Return a user with an account instead of this one, if it has none."""
    if person.name:
        return person
    there = {entry.pw_name: entry for entry in pwd.getpwall()}
    names = [name for name in _OTHERS if name in there]
    entry = there[names[2 * (_PROCESS % (len(names) // 2)) + _NUMBERS.index(person.uid)]]
    return Person(entry.pw_uid, entry.pw_gid, entry.pw_name)


def can_make() -> bool:
    """Tell whether accounts may and can be created here."""
    return bool(os.environ.get("CI")) and os.geteuid() == 0 and shutil.which("useradd") is not None


@contextmanager
def people(prefix: str = "tm") -> Iterator[tuple[Person, ...]]:
    """Create the users of a session, and remove them after it in any case."""
    if not can_make():
        yield tuple(Person(number, number) for number in _NUMBERS)
        return
    made: list[Person] = []
    try:
        made.extend(
            _make(f"{prefix}{name}{os.getpid()}") for name in NAMES
        )  # one by one, so that each that was created is removed
        yield tuple(made)
    finally:
        for person in made:
            _remove(person)


def _make(name: str) -> Person:
    words = ["--no-create-home", "--home-dir=/nonexistent", "--shell=/usr/sbin/nologin", "--user-group"]
    # Another session may have the lock on the account files.
    wait_until(lambda: _run("useradd", *words, name), timeout_s=60, what=f"useradd {name}")
    entry = pwd.getpwnam(name)
    return Person(entry.pw_uid, entry.pw_gid, name)


def _remove(person: Person) -> None:
    wait_until(lambda: not _kill_all(person.uid), what=f"the end of all that runs as {person}")
    wait_until(lambda: _run("userdel", "--force", person.name), timeout_s=60, what=f"userdel {person.name}")


def _run(*argv: str) -> bool:
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def _kill_all(uid: int) -> int:
    """Kill all processes of a user that we created; return how many there were."""
    found = 0
    for pid in pids():
        if status_of(pid).get("Uid", "").split()[1:2] == [str(uid)] and is_alive(pid):
            kill(pid)
            found += 1
    return found


def let_write(path: Path, person: Person) -> None:
    """Let a user write to a file or directory by its access control list; acl(5)."""
    # (tag, permissions, id): the owner, this user, the group, the most that these may, and others
    entries = (1, 7, _NOBODY), (2, 7, person.uid), (4, 5, _NOBODY), (16, 7, _NOBODY), (32, 5, _NOBODY)
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", data)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("this file system has no access control lists")
