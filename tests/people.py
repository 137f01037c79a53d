"""Two users for tests that play attacks: accounts made for the session under CI, else numbers without a name.

`named` gives those that the machine has anyway to tests that need a name.

Only where `CI` is set may tests change the machine: there root gets two users of no home and no shell, who
are taken away again with whatever still runs as them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = ("mallory", "alice")
#: What stands in for them: numbers that no account has, and accounts that nobody uses.
_NUMBERS, _OTHERS = (54_321, 54_322), ("games", "daemon")


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the machine, with a group of his own."""

    uid: int
    gid: int
    #: "" for a number without an account.
    name: str = ""

    def __str__(self) -> str:
        """Return how messages call him."""
        return f"user {self.name}" if self.name else f"uid {self.uid}"

    @property
    def group(self) -> str:
        """Return how messages call his group."""
        return self.name or str(self.gid)

    @property
    def spec(self) -> tuple[int, int, list[int]]:
        """Return him as the supervisor is told of a user."""
        return self.uid, self.gid, [self.gid]

    def does(self, action: Callable[[], object]) -> None:
        """Do something as he would, with none of root's rights."""
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
        """Give him files or directories."""
        for path in paths:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def named(person: Person) -> Person:
    """Return somebody with an account in his place."""
    if person.name:
        return person
    entry = pwd.getpwnam(_OTHERS[_NUMBERS.index(person.uid)])
    return Person(entry.pw_uid, entry.pw_gid, entry.pw_name)


def can_make() -> bool:
    """Tell whether accounts may be made here, and can be."""
    return bool(os.environ.get("CI")) and os.geteuid() == 0 and shutil.which("useradd") is not None


@contextmanager
def people(prefix: str = "tm") -> Iterator[tuple[Person, ...]]:
    """Make the users of a session; they are gone after it, whatever happened in it."""
    if not can_make():
        yield tuple(Person(number, number) for number in _NUMBERS)
        return
    made: list[Person] = []
    try:
        made.extend(_make(f"{prefix}{name}{os.getpid()}") for name in NAMES)  # one by one: some may be made
        yield tuple(made)
    finally:
        for person in made:
            _remove(person)


def _make(name: str) -> Person:
    words = ["--no-create-home", "--home-dir=/nonexistent", "--shell=/usr/sbin/nologin", "--user-group"]
    # Of several sessions that want some at once, one has the lock on the accounts.
    wait_until(lambda: _run("useradd", *words, name), timeout_s=60, what=f"useradd {name}")
    entry = pwd.getpwnam(name)
    return Person(entry.pw_uid, entry.pw_gid, name)


def _remove(person: Person) -> None:
    wait_until(lambda: not _kill_all(person.uid), what=f"the end of all that runs as {person}")
    wait_until(lambda: _run("userdel", "--force", person.name), timeout_s=60, what=f"userdel {person.name}")


def _run(*argv: str) -> bool:
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def _kill_all(uid: int) -> int:
    """Kill what runs as a user that is ours alone; return how many there were."""
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            if process.stat().st_uid == uid and process.joinpath("stat").read_text().split(") ")[1][0] != "Z":
                os.kill(int(process.name), signal.SIGKILL)
                found += 1
    return found
