"""Job control: what Ctrl-Z, `bg` and `fg` do to the two processes, which must go on working.

Ctrl-Z gives the shell its prompt, and nothing else stops: the supervisor, which the shell waits for, is
stopped for a moment until the shell has noticed, and then goes on in the background. While taskman is not in
the foreground of its terminal, it writes log lines instead of the view.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.scheduler.logs.loggers import logger
from taskman_cli.scheduler.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.ui.live import LiveView

#: A shell with job control takes the terminal back sooner; without one, nothing stays stopped for longer.
_MOST_S = 1.0
_PAUSE_S = 0.005
_STDOUT = 1


class JobControl:
    """Shows the view only in the foreground, and gives the shell its prompt."""

    def __init__(self, view: LiveView | None, tell: Callable[[bool], None] = lambda _: None) -> None:
        """`tell` gets to know whether the view is on the terminal now."""
        self._view = view
        self._tell = tell
        #: The thread that waits until the shell takes the terminal.
        self._waiter: threading.Thread | None = None

    def look(self) -> None:
        """Show the view if taskman is in the foreground, else hide it."""
        if self._view is None or (self._waiter and self._waiter.is_alive()):
            return
        if is_in_front(_STDOUT, os.getppid()):
            if self._view.resume():
                self._tell(True)
        elif self._view.suspend():
            self._tell(False)

    def suspend(self) -> None:
        """Handle Ctrl-Z."""
        supervisor = os.getppid()
        try:
            terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:  # no terminal, so there is no prompt
            return
        if not is_in_front(terminal, supervisor):
            os.close(terminal)
            return
        # First the thread: a supervisor that is stopped and that nobody continues would stay so.
        is_stopped = threading.Event()
        self._waiter = start_thread(_go_on, name="Ctrl-Z", args=(supervisor, terminal, is_stopped))
        if self._waiter is None:
            os.close(terminal)
            logger.error("Ctrl-Z: not now, since no thread can be started")
            return
        try:
            if self._view is not None and self._view.suspend():
                self._tell(False)
            os.kill(supervisor, signal.SIGSTOP)
        finally:
            is_stopped.set()


def is_in_front(terminal: int, process: int) -> bool:
    """Tell if a process is in the foreground of its terminal, or this is not its terminal."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgid(process)
    except OSError:
        return True


def _go_on(supervisor: int, terminal: int, is_stopped: threading.Event) -> None:
    """Continue the supervisor, once it is stopped, as soon as a shell has taken the terminal back."""
    is_stopped.wait()
    for _ in range(round(_MOST_S / _PAUSE_S)):
        if not is_in_front(terminal, supervisor):
            break
        time.sleep(_PAUSE_S)
    os.close(terminal)
    with suppress(ProcessLookupError):
        os.kill(supervisor, signal.SIGCONT)


def has_terminal() -> bool:
    """Tell whether there is a terminal that was not closed."""
    return any(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr) if stream)
