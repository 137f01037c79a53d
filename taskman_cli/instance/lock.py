"""The lock on a state directory: only one taskman at a time uses it.

It is an flock on the file `lock`, which contains the holder's pid. The supervisor and its scheduler both keep
the file open, so the lock is free once both have ended, for whatever reason. The pid is only for messages:
the kernel knows who holds the lock.
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
#: Pause between two attempts.
PAUSE_S = 0.02
#: The shortest patience: a process in `holder` may have the lock for an instant.
MIN_TRIES = 10

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW
_PID_BYTES = 32


def take_lock(directory: Path, *, patience_s: float = 3.0, pid: int | None = None) -> int:
    """Take the lock and return its descriptor, which has to stay open while the lock is held.

    `pid` is the supervisor's, if that is another process. Lock and pid survive exec if the descriptor is
    inheritable. If the supervisor named in the file is dead and its scheduler is still exiting, this tries
    again for `patience_s`.
    Raises TaskmanError if another taskman runs, or if the file cannot be opened.
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
    """Return the pid of the taskman that uses this directory, or None.

    If it was killed a moment ago and its scheduler is still exiting, no process has that pid.
    Raises TaskmanError if the lock cannot be examined.
    """
    path = directory / LOCK
    try:
        fd = os.open(path, os.O_RDONLY | _OPEN)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TaskmanError(f"cannot read {path}: {error.strerror}") from error
    try:
        for _ in range(50):
            if not _is_taken(fd):
                return None
            pid = _read_pid(fd)
            if pid is not None:
                return pid
            time.sleep(PAUSE_S)  # the lock was just taken, and the pid is about to be written
    finally:
        os.close(fd)
    raise TaskmanError(f"{path} is locked, but contains no pid")


def _take(fd: int, directory: Path, *, tries: int) -> None:
    pid = None
    for left in reversed(range(tries)):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A process in `holder` has the lock for an instant: no reason to give up.
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
        f"{who} is running with the state in {directory}: stop it first, or use another state directory "
        "(--state-dir, -i)"
    )


def _is_taken(fd: int) -> bool:
    """Tell if a taskman holds the lock; processes that only ask, as this one does, do not count."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def _read_pid(fd: int) -> int | None:
    """Return the pid in the file; None if it is empty."""
    line = os.pread(fd, _PID_BYTES, 0)
    return int(line) if line.endswith(b"\n") and line[:-1].isdigit() else None


def _is_alive(pid: int) -> bool:
    """Tell if a process runs. A zombie holds no lock."""
    try:
        return not read_stat(pid).is_dead
    except (FileNotFoundError, ProcessLookupError):
        return False
