"""What can be found out about a process that is not our child: if it is the one meant, and where it prints.

A number alone names nobody: the process may have ended, and another one got its number. A pidfd names one
process for good, so it is opened first, and everything read from /proc holds if that process still runs
afterwards.
"""

from __future__ import annotations

import os
import select
import signal

from taskman_cli.supervisor.process import say
from taskman_cli.supervisor.procstat import processes, read_proc, read_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: The kernel dates a start in clock ticks, rounded down, so it may seem to come before the spawn.
EARLY_NS = 50_000_000
#: On a busy machine, a start may come so long after the clock was read.
LATE_NS = 2_000_000_000

# The process or its descriptor is there no more.
_GONE = (FileNotFoundError, ProcessLookupError)


def open_process(pid: int, *, started_ns: int) -> int | None:
    """Return a pidfd of the process that a supervisor spawned right after `started_ns`, if it still runs.

    `started_ns` is of the clock since boot. What is spawned leads a session of its own, which no process
    can give up.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    except OSError as error:
        say(f"cannot watch process {pid}, which was left behind: {error.strerror}")
        return None
    is_it = False
    try:
        stat = read_stat(pid)
        is_it = (
            stat.group == stat.session == pid
            and -EARLY_NS <= stat.started_ns - started_ns <= LATE_NS
            and not is_over(pidfd)  # by the state in `stat`, so is one whose first thread alone has ended
        )
    except OSError:
        return None
    finally:
        if not is_it:
            os.close(pidfd)
    return pidfd if is_it else None


def open_output(leader: int) -> int | None:
    """Return a reading end of the pipe that a command's output was captured from, or None if nobody has it.

    The leader may have put something else in the place of its output (`exec >file`), or handed the pipe to
    a child (`exec > >(tee file)`); so all descriptors of all in its session are looked at, the leader's
    first. To read from a pipe between two of them would rob the reader. What tells the captured one is that
    it is open for reading and writing (spawn.py): the ends of pipe(2) are open for one of them only. A FIFO
    with a name may be open for both, and is left alone for that name.
    Raises OSError if the pipe was not found and there was no looking everywhere.
    """
    fd, trouble = _find_pipe(leader)
    if fd is None:
        for pid, stat in processes():
            if stat.session == leader != pid and fd is None:
                fd, error = _find_pipe(pid)
                trouble = trouble or error
    if fd is None and trouble is not None:
        raise trouble
    return fd


def has_living_members(group: int) -> bool:
    """Tell if a process group has a process in it that is no zombie."""
    return any(stat.group == group and not stat.is_dead for _, stat in processes())


def is_over(pidfd: int) -> bool:
    """Tell if a process has ended, reaped or not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def is_there(pidfd: int) -> bool:
    """Tell if a process still has its number: it runs, or has ended and was not reaped."""
    return finds(signal.pidfd_send_signal, pidfd)


def finds(send: Callable[[int, int], object], target: int) -> bool:
    """Tell if a signal would find a process, be it one that we may not signal."""
    try:
        send(target, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _find_pipe(pid: int) -> tuple[int | None, OSError | None]:
    """Return a reading end of the first such pipe that a process has open, and what kept us from looking."""
    trouble = None
    try:
        numbers = sorted(map(int, os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208 - pathlib is 3 MB
        for number in numbers:
            fd = _open_pipe(pid, number)
            if fd is not None:
                return fd, None
    except _GONE:
        pass
    except OSError as error:
        trouble = error
    return None, trouble


def _open_pipe(pid: int, number: int) -> int | None:
    path = f"/proc/{pid}/fd/{number}"
    try:
        name = os.readlink(path)  # noqa: PTH115 - pathlib is 3 MB
        if not name.startswith("pipe:[") or not _is_open_both_ways(pid, number):
            return None
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except _GONE:
        return None
    if name == f"pipe:[{os.fstat(fd).st_ino}]":
        return fd
    os.close(fd)  # it has put another one there since the look
    return None


def _is_open_both_ways(pid: int, number: int) -> bool:
    for line in read_proc(f"/proc/{pid}/fdinfo/{number}").splitlines():
        name, _, value = line.partition(b":")
        if name == b"flags":
            return int(value, 8) & os.O_ACCMODE == os.O_RDWR
    return False
