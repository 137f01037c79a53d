"""What the supervisor sets up for its own process: signals, descriptors, the lock, the terminal."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys

#: Passed on to the scheduler.
FORWARDED = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
#: Asks for a restart of the scheduler.
RESTART = signal.SIGUSR1
#: Signals that must not leave all commands without a parent.
IGNORED = (signal.SIGPIPE, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF)

_PR_SET_CHILD_SUBREAPER = 36
# Where the flags such as ECHO are in what tcgetattr returns.
_LOCAL = 3
# Above all descriptors that a child gets by number.
_FIRST_HIGH_FD = 10
_SIGSET_BYTES = 128
# What a signalfd gives for each signal begins with its number, in four bytes.
_SIGINFO_BYTES = 128
_NUMBER_BYTE = 0 if sys.byteorder == "little" else 3


def watch_signals() -> int:
    """Block signals and return the descriptor that `read_signals` reads them from.

    The dispositions that this process was started with are replaced: with SIGCHLD ignored, children would be
    reaped unseen. Only SIGHUP stays ignored if it is (nohup(1)), and SIGTSTP, if no shell would continue us.
    A signalfd needs no handler, which would be a tenth of what this process does for a short command.
    """
    watched = FORWARDED | {RESTART, signal.SIGCHLD, signal.SIGTSTP}
    for number in (signal.SIGHUP, signal.SIGTSTP):
        if signal.getsignal(number) is signal.SIG_IGN:
            watched -= {number}
    signal.pthread_sigmask(signal.SIG_SETMASK, watched)
    for number in watched:
        signal.signal(number, signal.SIG_DFL)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    # The scheduler inherits this: it draws on a terminal whose foreground group is ours.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    mask = sum(1 << (number - 1) for number in watched).to_bytes(8, sys.byteorder).ljust(_SIGSET_BYTES, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.signalfd(-1, mask, os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "signalfd")
    return fd


def read_signals(fd: int) -> bytes:
    """Return the numbers of the signals received; several of a kind count once."""
    return os.read(fd, 32 * _SIGINFO_BYTES)[_NUMBER_BYTE::_SIGINFO_BYTES]


def lock_path(fd: int | None) -> str:
    """Return the path of the lock; "" if there is none, or no /proc."""
    try:
        return "" if fd is None else os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - pathlib is 3 MB
    except OSError:
        return ""


def renewed_lock(fd: int, path: str) -> int:
    """Return the lock of the state directory as it is now.

    If the directory was removed, a scheduler has created it again, and held the new lock until it ended.
    """
    try:
        other = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return fd
    try:
        if not os.path.sameopenfile(other, fd):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fd, other = other, fd
    except OSError:  # another program holds it: the next scheduler will say so
        pass
    os.close(other)
    return fd


def become_reaper() -> None:
    """Adopt the orphans of all that we start, so that they are reaped. PID 1 does so anyway."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def tidy_files() -> None:
    """Open closed standard descriptors as /dev/null, and make all others close-on-exec."""
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


def keep_lock(fd: int) -> int:
    """Move the lock's descriptor above those that a child gets, closed in commands; return the new one.

    The lock is on the open file, so it stays as long as any descriptor of it does. Raises OSError.
    """
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_HIGH_FD)
    os.close(fd)
    return moved


def remove_own(directory: str) -> None:
    """Remove a directory that is ours with all that is in it, as far as possible."""
    import shutil  # only here: it is large

    try:
        if os.lstat(directory).st_uid == os.geteuid():
            shutil.rmtree(directory, ignore_errors=True)
    except OSError:
        return


def shows_keys() -> bool:
    """Tell if the terminal, if there is one, shows what is typed; in the background, it should."""
    if not os.isatty(1):
        return False
    import termios  # only on a terminal

    try:
        return os.tcgetpgrp(1) != os.getpgrp() or bool(termios.tcgetattr(1)[_LOCAL] & termios.ECHO)
    except (OSError, termios.error):
        return False


def restore_keys(*, was_shown: bool) -> None:
    """Show what is typed again, if it was and a dead scheduler has left it hidden; drop what was typed."""
    if not was_shown:
        return
    import termios

    try:
        modes = termios.tcgetattr(1)
        if os.tcgetpgrp(1) == os.getpgrp() and not modes[_LOCAL] & termios.ECHO:
            termios.tcflush(1, termios.TCIFLUSH)
            modes[_LOCAL] |= termios.ECHO
            termios.tcsetattr(1, termios.TCSANOW, modes)
    except (OSError, termios.error):
        return


def leave_view() -> None:
    """Move the terminal's cursor below the live view, and show it: the shell's prompt comes next."""
    if os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb":
        try:
            os.write(1, b"\x1b[?25h\x1b[999;1H\r\n")
        except OSError:
            return
