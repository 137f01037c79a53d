"""What this process arranges for itself before it starts anything."""

from __future__ import annotations

import ctypes
import os
import signal

#: Passed on to the scheduler.
FORWARDED = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

_PR_SET_CHILD_SUBREAPER = 36


def watch_signals() -> int:
    """Turn signals into bytes, one a signal; return the descriptor they come from.

    SIGHUP stays ignored if it is: that is nohup(1).
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (*FORWARDED, signal.SIGCHLD, signal.SIGTSTP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # The scheduler inherits this: it draws on a terminal whose foreground group is ours.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    return read_end


def become_reaper() -> None:
    """Adopt the orphans of all that we start, so that they are reaped. PID 1 does so anyway."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def tidy_files() -> None:
    """Fill standard descriptors that are closed, and keep all others from what we start."""
    while (fd := os.open("/dev/null", os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    try:
        names = os.listdir("/proc/self/fd")  # noqa: PTH208 - pathlib is 3 MB
    except OSError:
        return
    for fd in map(int, names):
        if fd > 2:
            try:
                os.set_inheritable(fd, False)
            except OSError:  # the one that listed the directory
                continue


def say(words: str) -> None:
    """Write one line to standard error, which may be closed."""
    try:
        os.write(2, f"taskman: {words}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return
