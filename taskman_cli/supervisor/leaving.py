"""Processes of executors that were given up: each has a while to end what it holds, and itself."""

from __future__ import annotations

import os
import select
import signal
import time

from taskman_cli.supervisor import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Leaving:
    """Those that are not reaped yet."""

    def __init__(self, after: Callable[[int, Callable[[], None]], None]) -> None:
        self._after = after
        self.pids: set[int] = set()

    def add(self, pid: int) -> None:
        """Kill a process that does not end by itself in a while."""
        self.pids.add(pid)
        self._after(int(limits.LEAVE_S * 1e9), lambda: self._end_late(pid))

    def _end_late(self, pid: int) -> None:
        if pid in self.pids:
            os.kill(pid, signal.SIGKILL)

    def reaped(self, pid: int) -> bool:
        """Note the end of a process; return False if it is not one of these."""
        if pid not in self.pids:
            return False
        self.pids.remove(pid)
        return True


def wait_for_all(pids: Iterable[int]) -> None:
    """Wait until processes have ended, at the end of the program; kill those that take too long."""
    until_s = time.monotonic() + limits.LEAVE_S
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(max(0.0, until_s - time.monotonic()) * 1000):
            os.kill(pid, signal.SIGKILL)
        os.close(pidfd)
