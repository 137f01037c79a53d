"""What a shell does before it starts a simple command, done without one: directory, variables, redirections.

The scheduler sends it as `direct` beside the shell's own argv (wire.py). Where a step fails, the shell runs
the whole command, so that it fails as it does in a shell. Until then nothing has happened that the shell
would not do again: opening a regular file twice is the same as once. A pipe that is closed in between would
end the work of who has its other end, so only the shell opens what is no regular file.

A spawn opens the files in the child, while this process waits for it. So it opens only those that no other
user can replace (`are_files_prompt`); all else is opened in a fork (asuser.py), which may wait.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeAlias

    from taskman_cli.supervisor.trusted import TrustedPaths

    _File: TypeAlias = tuple[int, str, str]
    _Action: TypeAlias = tuple[Any, ...]

NULL = "/dev/null"
#: How a shell opens a file, by the operator.
_FLAGS = {
    "<": os.O_RDONLY,
    ">": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    ">>": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}
_MODE = 0o666
#: Emptying a larger file takes a while.
_MOST_EMPTIED_BYTES = 16 << 20
_NOT_REGULAR = "not a regular file"
#: Rights of the owner, without which a file that was just made cannot be opened again.
_OWNERS = 0o600
#: The first descriptor that is no standard one.
_FIRST_FREE = 3


def are_files_prompt(spec: Mapping[str, Any], trusted: TrustedPaths) -> bool:
    """Tell if no other user can delay the redirections of `spec`; its other paths are trusted."""
    direct = spec["direct"]
    directory = entered(spec["cwd"], direct["cd"])
    for _, operator, target in direct["files"]:
        if operator == "&" or target == NULL:
            continue
        most_bytes = _MOST_EMPTIED_BYTES if operator == ">" else None
        if not trusted.is_file_prompt(directory, target, most_bytes=most_bytes):
            return False
    return True


def entered(cwd: str | None, directory: str | None) -> str | None:
    """Return where a command is after its `cd`; None: in the start directory."""
    if directory is None or cwd is None or directory.startswith("/"):
        return cwd if directory is None else directory
    return f"{cwd}/{directory}"


def enter(directory: str) -> None:
    """Enter a directory in the place of the program. Raises OSError where it cannot, or the shell has to."""
    os.chdir(directory)
    if os.stat(".").st_dev == os.stat("/proc").st_dev:  # noqa: PTH116 - pathlib is 3 MB
        raise OSError(0, "perhaps it is another directory for each process, as /proc/self is")


def file_actions(files: Iterable[_File], held: list[int]) -> list[_Action]:
    """Return the actions of a spawn in the current directory, which make the redirections in their order.

    Descriptors that they refer to are added to `held`, to be closed after the spawn. Raises OSError where the
    shell is needed.
    """
    actions: list[_Action] = []
    for number, operator, target in files:
        if operator == "&":
            actions.append((os.POSIX_SPAWN_DUP2, int(target), number))
        elif target == NULL:
            actions.append((os.POSIX_SPAWN_OPEN, number, NULL, _FLAGS[operator], _MODE))
        else:
            path, flags = _reachable(target, _FLAGS[operator], held)
            actions.append((os.POSIX_SPAWN_OPEN, number, path, flags, _MODE))
    return actions


def _reachable(target: str, flags: int, held: list[int]) -> tuple[str, int]:
    """Return path and flags by which the child opens the regular file that is there now, or makes it."""
    try:
        fd = os.open(target, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
        _check_can_be_made()
        return target, flags | os.O_EXCL
    held.append(fd)
    if fd < _FIRST_FREE or not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(0, _NOT_REGULAR)
    return f"/proc/self/fd/{fd}", flags & ~os.O_CREAT


def _check_can_be_made() -> None:
    """Raise OSError if the shell could not open a file that is made here."""
    umask = os.umask(0o077)
    os.umask(umask)
    if umask & _OWNERS:
        raise OSError(0, "the umask takes it away from its owner")


def _check_is_regular(target: str) -> None:
    """Raise OSError if something is there that only the shell may open."""
    if target == NULL:
        return
    try:
        mode = os.stat(target).st_mode  # noqa: PTH116 - pathlib is 3 MB
    except FileNotFoundError:  # it is made, or opening it fails
        _check_can_be_made()
        return
    if not stat.S_ISREG(mode):
        raise OSError(0, _NOT_REGULAR)


class Prepared:
    """This process, a fork, with the directory and the redirections of a command; `undo` takes them back."""

    def __init__(self) -> None:
        self._before: list[int] = []
        self._directory = -1

    def enter(self, direct: Mapping[str, Any]) -> None:
        """Do what the shell does, in its order. This may wait, as in the shell. Raises OSError."""
        self._before = [os.dup(number) for number in range(_FIRST_FREE)]
        if direct["cd"] is not None:
            self._directory = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            os.chdir(direct["cd"])
        for number, operator, target in direct["files"]:
            if operator == "&":
                os.dup2(int(target), number)
                continue
            _check_is_regular(target)
            fd = os.open(target, _FLAGS[operator] | os.O_CLOEXEC, _MODE)
            os.dup2(fd, number)
            os.close(fd)

    def undo(self) -> None:
        """Be as before `enter`. Raises OSError."""
        for number, before in enumerate(self._before):
            os.dup2(before, number)
        if self._directory >= 0:
            os.fchdir(self._directory)
