"""The lock on a state directory: one taskman at a time works with what is in it.

It is an flock on the file `lock`, which holds the pid of the one that has it. The supervisor and its
scheduler both keep the open file, so it is free when both are gone, however they ended. The pid is only
words: who holds the lock is for the kernel to say.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from taskman_cli.errors import TaskmanError
from taskman_cli.supervisor.procstat import read_stat

#: The file that is locked, in the state directory.
LOCK = "lock"
#: Between two tries.
PAUSE_S = 0.02
#: However little patience there is: somebody who only asks may be in the way.
MIN_TRIES = 10

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW
_PID_BYTES = 32


def take_lock(directory: Path, *, patience_s: float = 3.0, pid: int | None = None) -> int:
    """Take the lock and return its descriptor, which must stay open as long as the lock shall be held.

    `pid` is the supervisor's, where that is another process. The lock survives exec, if the descriptor is
    made inheritable; so does the pid. While the supervisor named by the file is dead and only its scheduler
    is left to leave, it is tried again for `patience_s`.
    Raises TaskmanError if another taskman runs, or if the file cannot be had.
    """
    try:
        fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | _OPEN, 0o600)
        try:
            _take(fd, directory, tries=MIN_TRIES + round(patience_s / PAUSE_S))
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % (pid or os.getpid()), 0)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        raise TaskmanError(f"cannot lock {directory / LOCK}: {error.strerror}") from error
    return fd


def holder(directory: Path) -> int | None:
    """Return the pid of the taskman that runs in this directory, or None if none does.

    It may have been killed a moment ago, and its scheduler is still leaving; then nobody has that pid.
    Raises TaskmanError if that cannot be found out.
    """
    path = directory / LOCK
    try:
        fd = os.open(path, os.O_RDONLY | _OPEN)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TaskmanError(f"cannot look at {path}: {error.strerror}") from error
    try:
        for _ in range(50):
            if not _is_taken(fd):
                return None
            pid = _read_pid(fd)
            if pid is not None:
                return pid
            time.sleep(PAUSE_S)  # it was taken just now, and the pid is on its way
    finally:
        os.close(fd)
    raise TaskmanError(f"{path} is locked, but does not say by whom")


def _take(fd: int, directory: Path, *, tries: int) -> None:
    pid = None
    for left in reversed(range(tries)):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Somebody who only asks (`holder`) is in the way for an instant: no reason to give up.
            if _is_taken(fd):
                pid = _read_pid(fd)
                if pid is not None and _is_alive(pid):
                    break
            if left:
                time.sleep(PAUSE_S)
        else:
            return
    who = "another taskman" if pid is None else f"another taskman (process {pid})"
    raise TaskmanError(
        f"{who} is running with the state in {directory}: stop it first, or give this one a state directory "
        "of its own (--state-dir, -i)"
    )


def _is_taken(fd: int) -> bool:
    """Tell if somebody works with the directory; those who only ask, as this does, do not count."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def _read_pid(fd: int) -> int | None:
    """Return what the file says; None while it says nothing."""
    line = os.pread(fd, _PID_BYTES, 0)
    return int(line) if line.endswith(b"\n") and line[:-1].isdigit() else None


def _is_alive(pid: int) -> bool:
    """Tell if a process runs; one that has ended and was not reaped holds no lock."""
    try:
        return not read_stat(pid).is_dead
    except (FileNotFoundError, ProcessLookupError):
        return False
