"""Starts the process of the sinks, and starts it again if it dies; a thread waits for it."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading

from taskman_cli.launch.locale import UTF8
from taskman_cli.scheduler.threads import SHORTAGES, start_thread

#: Pauses before a process that died is replaced; it doubles up to the longest.
_FIRST_S, _LONGEST_S = 0.2, 30.0
#: One that has lived so long lives well.
_WELL_S = 60.0
#: How long to wait for the end of a killed process, which may hang in a system call.
_REAP_S = 0.5
_MODULE = "taskman_cli.sinks.process"


class SinkProcess:
    """The process, as the loop sees it: `fileno` is readable when there is a new socket to it."""

    def __init__(self) -> None:
        """Raises OSError if there is no descriptor or thread for it now."""
        self._news_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closing = threading.Event()
        #: Guards what follows.
        self._lock = threading.Lock()
        self._fresh: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        thread = start_thread(self._run, name="sinks")
        if thread is None:
            os.close(self._news_fd)
            raise BlockingIOError(errno.EAGAIN, "no thread can be started")
        self._thread = thread

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is a new process."""
        return self._news_fd

    def take(self) -> socket.socket | None:
        """Return the socket to a new process; None: there is none."""
        try:
            os.eventfd_read(self._news_fd)
        except BlockingIOError:
            return None
        with self._lock:
            fresh, self._fresh = self._fresh, None
            return fresh

    def kill(self) -> None:
        """Let another process take the place of this one."""
        with self._lock:
            if self._process:
                self._process.kill()

    def close(self) -> None:
        """End the process. If it hangs it is left behind, and the supervisor reaps it later."""
        with self._lock:
            self._closing.set()
            if self._process:
                self._process.kill()
            if self._fresh:
                self._fresh.close()
        self._thread.join(2 * _REAP_S)
        if not self._thread.is_alive():
            os.close(self._news_fd)

    def _run(self) -> None:
        pause_s = _FIRST_S
        while not self._closing.is_set():
            try:
                process = self._begin()
            except SHORTAGES:
                self._closing.wait(_LONGEST_S)
                continue
            if process is None:
                return
            os.eventfd_write(self._news_fd, 1)
            pause_s = self._wait(process, pause_s)
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_S)

    def _begin(self) -> subprocess.Popen[bytes] | None:
        """Start a process; None: it is not wanted any more."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            if self._closing.is_set():
                ours.close()
                return None
            try:
                # PR_SET_PDEATHSIG counts for this thread: it has to live as long as the process.
                self._process = process = subprocess.Popen(
                    [sys.executable, *UTF8, "-P", "-m", _MODULE, str(os.getpid())],
                    stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            except BaseException:
                ours.close()
                raise
            self._fresh = ours
            return process

    def _wait(self, process: subprocess.Popen[bytes], pause_s: float) -> float:
        """Wait for the end of the process, and return the pause that follows."""
        try:
            process.wait(_WELL_S)
        except subprocess.TimeoutExpired:
            process.wait()
            return _FIRST_S
        return pause_s
