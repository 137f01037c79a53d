"""Has another process serve the metrics and write them to a file, if `[metrics]` asks for that.

Without such settings there is no process and no thread. The process collects over the control socket, as
`taskman metrics` does; here it only gets its settings, and the word that something has changed.
"""

from __future__ import annotations

import json
import logging
import marshal
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.logsettings import LogPart
from taskman_cli.launch.locale import UTF8
from taskman_cli.scheduler.file_watcher import frame
from taskman_cli.scheduler.logs.loggers import NOTICE, logger_of, tell
from taskman_cli.scheduler.threads import SHORTAGES, start_thread

if TYPE_CHECKING:
    from taskman_cli.core.model import Settings
    from taskman_cli.trust import Trust

_log = logger_of(LogPart.METRICS)
_PROCESS = "taskman_cli.metrics.exporter"
#: The first pause before a process that ended is replaced, and the longest.
_AGAIN_S, _AGAIN_MAX_S = 1.0, 60.0
#: The pause before a thread is tried again.
_OWED_NS = 10 * SECOND_NS
#: How long to wait for the process to remove its file and end.
_END_S, _REAP_S = 1.5, 0.5
#: Words of the process that are not taken yet; of more, the latest are dropped.
_MOST_NEWS = 100
_READ_BYTES = 1 << 16
_LEVELS = {"info": NOTICE, "warning": logging.WARNING, "error": logging.ERROR}


class Exporter:
    """The process, through a thread that starts it and talks to it; `fileno` is readable when it has news."""

    def __init__(self, state_directory: str, trust: Trust) -> None:
        self._directory = state_directory
        self._trust = trust.as_json()
        self._news_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wish_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        #: Guards what follows.
        self._lock = threading.Lock()
        self._settings: dict[str, Any] | None = None
        self._has_new_settings = self._has_changed = False
        self._news: list[tuple[int, str]] = []
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        #: There was no thread for it; whether that was logged; when it is tried again (elapsed clock).
        self._is_owed = self._is_complained = False
        self._again_ns: int | None = None
        #: The engine's step after which the process wants to hear of a change; None: it does not now.
        self._since: int | None = None

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is news."""
        return self._news_fd

    def configure(self, settings: Settings) -> None:
        """Serve and write as these settings say, from now on."""
        wanted = {
            "listen": settings.metrics_listen,
            "textfile": settings.metrics_textfile,
            "jobs": settings.metrics_jobs,
            "directory": self._directory,
            "trust": self._trust,
        }
        is_wanted = bool(settings.metrics_listen or settings.metrics_textfile)
        with self._lock:
            new = wanted if is_wanted else None
            if new == self._settings:
                return
            self._settings, self._has_new_settings = new, True
            if not is_wanted:
                self._is_owed, self._again_ns = False, None
            elif self._thread is None:
                self._begin()
        os.eventfd_write(self._wish_fd, 1)

    def _begin(self) -> None:
        self._thread = start_thread(self._run, name="metrics")
        self._is_owed = self._thread is None
        if self._thread is None and not self._is_complained:
            words = "metrics: not served: no thread can be started; it is tried again"
            tell(_log, logging.ERROR, words, {})
        self._is_complained = self._thread is None

    def next_timer(self) -> int | None:
        """Return when a turn is wanted at the latest, on the elapsed clock, or None."""
        return self._again_ns

    def look(self, step: int, elapsed_ns: int) -> None:
        """Tell the process that something has changed, if it waits for that; and start what could not be."""
        if self._again_ns is not None and elapsed_ns >= self._again_ns:
            self._again_ns = None
            self._begin()
        if self._is_owed and self._again_ns is None:
            self._again_ns = elapsed_ns + _OWED_NS
        if self._since is not None and step != self._since:
            self._since = None
            with self._lock:
                self._has_changed = True
            os.eventfd_write(self._wish_fd, 1)

    def take(self) -> None:
        """Log what the process has to say."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._news_fd)
        with self._lock:
            news, self._news = self._news, []
        for level, text in news:
            tell(_log, level, f"metrics: {text}", {})

    def close(self) -> None:
        """End the process; one that hangs is killed, and one that the kernel holds is left behind."""
        self._closing.set()
        os.eventfd_write(self._wish_fd, 1)
        if self._thread:
            self._thread.join(_END_S + 2 * _REAP_S)
            if self._thread.is_alive():
                return
        os.close(self._news_fd)
        os.close(self._wish_fd)

    # --- in the thread ---

    def _run(self) -> None:
        pause_s = _AGAIN_S
        while not self._closing.is_set():
            if not self._is_wanted():
                self._wait_for_wish()
                continue
            try:
                process = subprocess.Popen(
                    [sys.executable, *UTF8, "-P", "-m", _PROCESS],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )  # fmt: skip
            except SHORTAGES as error:
                why = getattr(error, "strerror", None) or type(error).__name__
                self._add_news(logging.WARNING, f"the process for them cannot be started: {why}")
            else:
                with self._lock:
                    self._has_new_settings = True
                with suppress(*SHORTAGES):  # or it is gone
                    self._talk(process)
                code = _end(process)
                if self._closing.is_set():
                    return
                if not self._is_wanted():
                    pause_s = _AGAIN_S
                    continue
                self._add_news(
                    logging.WARNING, f"the process for them {_ended(code)}; another one in {pause_s:g} s"
                )
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, _AGAIN_MAX_S)

    def _is_wanted(self) -> bool:
        with self._lock:
            return self._settings is not None

    def _wait_for_wish(self) -> None:
        poll = select.poll()
        poll.register(self._wish_fd, select.POLLIN)
        poll.poll()
        os.eventfd_read(self._wish_fd)

    def _talk(self, process: subprocess.Popen[bytes]) -> None:
        """Pass on settings and changes, and take its news, until it ends or is not wanted any more."""
        assert process.stdin
        assert process.stdout
        told, heard = process.stdin.fileno(), process.stdout.fileno()
        poll = select.poll()
        for fd in (heard, self._wish_fd):
            poll.register(fd, select.POLLIN)
        os.eventfd_write(self._wish_fd, 1)
        line = b""
        while not self._closing.is_set():
            ready = [fd for fd, _ in poll.poll()]
            if self._wish_fd in ready:
                os.eventfd_read(self._wish_fd)
                with self._lock:
                    settings, is_new = self._settings, self._has_new_settings
                    has_changed = self._has_changed
                    self._has_new_settings = self._has_changed = False
                if settings is None:
                    return
                data = frame(marshal.dumps(settings)) if is_new else b""
                data += frame(marshal.dumps(None)) if has_changed else b""
                while data:
                    data = data[os.write(told, data) :]
            if heard in ready:
                words = os.read(heard, _READ_BYTES)
                if not words:
                    return
                *lines, line = (line + words).split(b"\n")
                for one in lines:
                    self._hear(one)

    def _hear(self, line: bytes) -> None:
        try:
            told = json.loads(line)
            if "since" in told:
                self._since = int(told["since"])
                os.eventfd_write(self._news_fd, 1)
            else:
                self._add_news(_LEVELS[told["level"]], str(told["text"]))
        except (ValueError, LookupError, TypeError):  # part of a line: it was not all written
            return

    def _add_news(self, level: int, text: str) -> None:
        with self._lock:
            if len(self._news) < _MOST_NEWS:
                self._news.append((level, text))
        if not self._closing.is_set():
            os.eventfd_write(self._news_fd, 1)


def _end(process: subprocess.Popen[bytes]) -> int | None:
    """End the process, which removes its file first; return its exit code if it has one."""
    for pipe in (process.stdin, process.stdout):
        assert pipe
        with suppress(OSError):
            pipe.close()
    for wait_s in (_END_S, _REAP_S):
        try:
            return process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
    return None


def _ended(code: int | None) -> str:
    if code is None:
        return "hangs"
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
