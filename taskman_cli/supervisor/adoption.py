"""What can be found out about a process that is not our child: whether it is the right one, and its output.

A pid alone does not identify a process: it may have ended, and another one may have its number. A pidfd
always means the same process, so it is opened first; what is read from /proc is valid if that process still
runs afterwards.
"""

from __future__ import annotations

import os
import select
import signal

from taskman_cli.supervisor.procstat import processes, read_proc, read_stat
from taskman_cli.supervisor.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: The kernel rounds a start time down to clock ticks, so it may seem to be before the spawn.
EARLY_NS = 50_000_000
#: On a busy machine, a process may start this long after the clock was read.
LATE_NS = 2_000_000_000

# The process or its descriptor does not exist any more.
_GONE = (FileNotFoundError, ProcessLookupError)


def open_process(pid: int, *, started_ns: int) -> int | None:
    """Return a pidfd of the process that a supervisor spawned right after `started_ns`, if it still runs.

    `started_ns` is on the clock since boot. A spawned process leads its own session, and cannot give that up.
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
            and not is_over(pidfd)  # in `stat`, it looks dead when only its first thread has ended
        )
    except OSError:
        return None
    finally:
        if not is_it:
            os.close(pidfd)
    return pidfd if is_it else None


def open_output(leader: int) -> int | None:
    """Return a reading end of the pipe that a command's output was captured from, or None if nobody has it.

    The leader may have redirected its output (`exec >file`), or passed the pipe to a child
    (`exec > >(tee file)`); so all descriptors of its session are searched, the leader's first. Reading from
    a pipe between two of these processes would steal its data. The captured pipe can be told by being open
    for reading and writing (spawn.py), while the ends of pipe(2) are open for one of them only. A named FIFO
    may be open for both, and is skipped because of its name.
    Raises OSError if the pipe was not found and some descriptors could not be looked at.
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
    """Tell if a process group has a process that is not a zombie."""
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
    """Return a reading end of the first such pipe that a process has open; or the error that prevented it."""
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
    os.close(fd)  # the descriptor was replaced in between
    return None


def _is_open_both_ways(pid: int, number: int) -> bool:
    for line in read_proc(f"/proc/{pid}/fdinfo/{number}").splitlines():
        name, _, value = line.partition(b":")
        if name == b"flags":
            return int(value, 8) & os.O_ACCMODE == os.O_RDWR
    return False
