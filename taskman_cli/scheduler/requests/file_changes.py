"""Learns from another process whether the job files have changed since they were read.

It polls them instead of using inotify(7), which misses changes by other machines (NFS), of the target of a
link and below directories that do not exist yet, and drops events that come too fast.
"""

from __future__ import annotations

import marshal
import os
import select
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.launch.locale import UTF8
from taskman_cli.scheduler.file_watcher import CHANGED, HANGS, IS_BACK, frame
from taskman_cli.scheduler.threads import SHORTAGES, start_thread

if TYPE_CHECKING:
    from taskman_cli.jobfile.fingerprint import Seen

#: Pause before a process that ended is replaced.
_AGAIN_S = 10.0
#: How long to wait for the end of a killed process, which may hang in a system call.
_REAP_S = 0.5

_FILE_WATCHER = "taskman_cli.scheduler.file_watcher"


class Watcher:
    """Watches files through another process; `fileno` is readable when there is news."""

    def __init__(self, *, start: str) -> None:
        """Relative paths begin at `start`."""
        self._start = start
        self._news_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wish_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        #: Guards what follows.
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._is_changed = False
        self._hangs = False
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is news."""
        return self._news_fd

    def watch(self, seen: Seen | None) -> bool:
        """Watch until the files no longer look like this; None: stop watching.

        False: they are not watched, since no thread can be started for now.
        """
        with self._lock:
            self._seen, self._is_changed = seen, False
            if seen is not None and self._thread is None:
                self._thread = start_thread(self._run, name="watch")
            is_done = seen is None or self._thread is not None
        os.eventfd_write(self._wish_fd, 1)
        return is_done

    def take(self) -> tuple[bool, bool]:
        """Return whether the files have changed, and whether a look at them hangs."""
        os.eventfd_read(self._news_fd)
        with self._lock:
            is_changed, self._is_changed = self._is_changed, False
            return is_changed, self._hangs

    def close(self) -> None:
        """End the process. If it hangs it is left behind, and the supervisor reaps it later."""
        with self._lock:
            self._closing.set()
            if self._process:
                self._process.kill()
        os.eventfd_write(self._wish_fd, 1)
        if self._thread:
            self._thread.join(2 * _REAP_S)
            if self._thread.is_alive():
                return
        os.close(self._news_fd)
        os.close(self._wish_fd)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with self._lock:
                    if self._closing.is_set():
                        return
                    self._process = process = subprocess.Popen(
                        [sys.executable, *UTF8, "-P", "-m", _FILE_WATCHER, str(os.getpid())],
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    )  # fmt: skip
            except SHORTAGES:
                self._closing.wait(_AGAIN_S)
                continue
            assert process.stdin
            assert process.stdout
            with suppress(*SHORTAGES):  # or it is gone
                self._talk(process.stdin.fileno(), process.stdout.fileno())
            self._end(process)
            self._closing.wait(_AGAIN_S)

    def _talk(self, told: int, heard: int) -> None:
        """Tell the process what to watch, and take its news, until it ends."""
        poll = select.poll()
        for fd in (heard, self._wish_fd):
            poll.register(fd, select.POLLIN)
        os.eventfd_write(self._wish_fd, 1)
        while not self._closing.is_set():
            ready = [fd for fd, _ in poll.poll()]
            if self._wish_fd in ready:
                os.eventfd_read(self._wish_fd)
                with self._lock:
                    seen = self._seen
                data = frame(marshal.dumps((self._start, seen)))
                while data:
                    data = data[os.write(told, data) :]
            if heard in ready:
                letters = os.read(heard, 64)
                if not letters:
                    return
                self._hear(letters)

    def _hear(self, letters: bytes) -> None:
        with self._lock:
            self._is_changed |= CHANGED in letters and self._seen is not None
            for letter in letters:
                if letter in HANGS + IS_BACK:
                    self._hangs = letter in HANGS
            if not self._closing.is_set():
                os.eventfd_write(self._news_fd, 1)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            assert pipe
            pipe.close()
        process.kill()
        try:
            process.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            return
