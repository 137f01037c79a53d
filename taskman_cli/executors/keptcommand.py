"""One command that a keeper runs: in a session of its own, its output kept until that has arrived.

A command that prints more than is fetched waits, as at a pipe: nothing it prints is lost, and no more than a
little of it is ever held.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from taskman_cli.supervisor.numbers import TRANSIENT
from taskman_cli.supervisor.streams import memory_file, pipe

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Output that was not fetched yet; the command waits when there is more.
MOST_KEPT_BYTES = 256 << 10
_READ_BYTES = 64 << 10
#: What a command has written when it ends is in its pipe: so much is taken of that, whoever goes on writing.
_MOST_LAST_BYTES = 1 << 20
#: Signals that end nothing.
_HARMLESS = frozenset({signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
#: Variables that no command gets: they belong to the process that it comes from.
_PRIVATE = frozenset({b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID"})


class NotStarted(Exception):
    """Say why a command was not started."""

    def __init__(self, words: str, *, is_transient: bool = False) -> None:
        super().__init__(words)
        self.is_transient = is_transient


class KeptCommand:
    """One command, from its start until its end was fetched."""

    __slots__ = ("_base", "_output", "_was_told_to_end", "end", "is_at_end", "is_followed", "is_forgotten",
                 "leader_status", "orphaned", "owner", "pid", "pidfd", "pipe")  # fmt: skip

    def __init__(self, owner: str, spec: Mapping[str, Any]) -> None:
        """Start it. Raises NotStarted.

        `spec` has "argv", a list of bytes; "env", a list of pairs of bytes; "cwd", bytes or None; "stdin",
        bytes or None; "umask" or None; and "nice".
        """
        self.owner = owner
        #: Where its output comes; None: it is closed.
        self.pipe: int | None
        #: No more output comes: `pipe` can be closed, once nobody listens to it.
        self.is_at_end = False
        self.pid, self.pipe = _start(spec)
        self.pidfd = os.pidfd_open(self.pid)
        #: Its first process has ended like this.
        self.leader_status: tuple[int, float, int] | None = None
        #: How it ended, once all of its output is read.
        self.end: dict[str, Any] | None = None
        #: Why it was ended without anybody's order.
        self.orphaned = ""
        #: Somebody fetches its output.
        self.is_followed = True
        #: It is let go as soon as it has ended.
        self.is_forgotten = False
        self._output = bytearray()
        #: Where in all of its output the first byte of `_output` is.
        self._base = 0
        self._was_told_to_end = False

    @property
    def is_running(self) -> bool:
        """Tell if its first process has not ended."""
        return self.leader_status is None

    @property
    def is_full(self) -> bool:
        """Tell if it has to wait until its output is fetched."""
        return len(self._output) >= MOST_KEPT_BYTES

    @property
    def has_news(self) -> bool:
        """Tell if there is something to fetch."""
        return bool(self._output) or self.end is not None

    @property
    def kept_bytes(self) -> int:
        """Return how much output there is to fetch."""
        return len(self._output)

    def read(self) -> None:
        """Take what it has printed, as much as there is room for."""
        self._take(MOST_KEPT_BYTES)

    def read_rest(self) -> None:
        """Take what is in its pipe now, room or not: its first process has ended."""
        self._take(len(self._output) + _MOST_LAST_BYTES)

    def _take(self, most_bytes: int) -> None:
        while self.pipe is not None and not self.is_at_end and len(self._output) < most_bytes:
            try:
                data = os.read(self.pipe, _READ_BYTES)
            except BlockingIOError:
                return
            self.is_at_end = not data
            self._output += data

    def arrived(self, offset: int) -> None:
        """Let go of the output before an offset."""
        count = min(max(0, offset - self._base), len(self._output))
        del self._output[:count]
        self._base += count

    def piece(self, most_bytes: int) -> tuple[int, bytes]:
        """Return where the output begins that was not fetched, and so much of it."""
        return self._base, bytes(self._output[:most_bytes])

    def signal(self, number: int) -> None:
        """Send a signal to its process group, while its first process is there."""
        if self.leader_status is None:
            self._was_told_to_end |= number not in _HARMLESS
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def reap(self) -> None:
        """Take the end of its first process; if it was told to end, nothing of its group goes on."""
        if self._was_told_to_end:
            self.signal(signal.SIGKILL)  # before it is reaped: until then the number is nobody else's
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self.pidfd)
        # Linux counts in KiB.
        self.leader_status = status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10

    def conclude(self) -> None:
        """Note how it ended: its output is complete, or was held open for too long."""
        assert self.leader_status is not None
        status, cpu_s, peak_rss_bytes = self.leader_status
        is_signal = os.WIFSIGNALED(status)
        self.end = {
            "exit_code": None if is_signal else os.waitstatus_to_exitcode(status),
            "signal": os.WTERMSIG(status) if is_signal else None,
            "cpu_s": cpu_s,
            "peak_rss_bytes": peak_rss_bytes,
            "orphaned": self.orphaned,
        }

    def close_pipe(self) -> None:
        """Read no more of its output."""
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None


def _start(spec: Mapping[str, Any]) -> tuple[int, int]:
    """Start a command in a session of its own; return its pid, and where its output comes."""
    argv = [bytes(word) for word in spec["argv"]]
    if spec["nice"]:
        argv = [b"nice", b"-n", b"%d" % spec["nice"], *argv]
    environment = {name: value for name, value in os.environb.items() if name not in _PRIVATE}
    environment.update((bytes(name), bytes(value)) for name, value in spec["env"])
    opened: list[int] = []
    try:
        ours, theirs = pipe()
        opened += [ours, theirs]
        stdin = subprocess.DEVNULL
        if spec["stdin"] is not None:
            stdin = memory_file(spec["stdin"])
            opened.append(stdin)
        process = subprocess.Popen(
            argv, env=environment, cwd=spec["cwd"], stdin=stdin, stdout=theirs, stderr=theirs,
            start_new_session=True, close_fds=False, umask=-1 if spec["umask"] is None else spec["umask"],
        )  # fmt: skip
    except (OSError, ValueError) as error:
        with suppress(IndexError):
            os.close(opened[0])
        raise _in_words(error, spec) from None
    finally:
        for fd in opened[1:]:
            os.close(fd)
    process.returncode = 0  # it is reaped here, with its use of CPU and memory
    return process.pid, ours


def _in_words(error: OSError | ValueError, spec: Mapping[str, Any]) -> NotStarted:
    if isinstance(error, ValueError):
        return NotStarted(f"it cannot be passed to a program: {error}")
    why = (error.strerror or str(error)).lower()
    is_transient = error.errno in TRANSIENT
    if spec["cwd"] is not None and error.filename is not None and os.fsencode(error.filename) == spec["cwd"]:
        return NotStarted(f"its directory {_text(spec['cwd'])} cannot be entered: {why}")
    program = f": {_text(os.fsencode(error.filename))}" if error.filename else ""
    return NotStarted(f"cannot be started: {why}{program}", is_transient=is_transient)


def _text(path: bytes) -> str:
    """Return a path as text that can be sent: Dask's messages have no bytes in text that are no UTF-8."""
    return path.decode("utf-8", "backslashreplace")
