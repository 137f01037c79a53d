"""Job control: what Ctrl-Z, `bg` and `fg` mean for two processes that have more to do than to be looked at.

Ctrl-Z gives the shell its prompt, and nothing else stops: the supervisor, which the shell waits for, is
stopped until the shell has seen it, a moment, and goes on in the background. While taskman is not in the
foreground of its terminal, log lines go on in the place of the view.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.scheduler.log import logger

if TYPE_CHECKING:
    from taskman_cli.ui.live import LiveView

#: A shell with job control has the terminal back long before; where none is, nothing is stopped for longer.
_MOST_S = 1.0
_PAUSE_S = 0.005
_STDOUT = 1


class JobControl:
    """Keeps the view in the foreground, and lets the shell have its prompt."""

    def __init__(self, view: LiveView | None) -> None:
        self._view = view
        #: What is logged beside the view.
        self._level = logger.level
        #: Waits for the shell to take the terminal.
        self._waiter: threading.Thread | None = None

    def look(self) -> None:
        """Put the view away, or show it again, as taskman is in the foreground or not."""
        if self._view is None or (self._waiter and self._waiter.is_alive()):
            return
        if is_in_front(_STDOUT, os.getppid()):
            if self._view.resume():
                logger.setLevel(self._level)
        elif self._view.suspend():
            logger.setLevel(min(self._level, logging.INFO))

    def suspend(self) -> None:
        """Do what Ctrl-Z asks for."""
        supervisor = os.getppid()
        try:
            terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:  # no terminal: nobody has a prompt there
            return
        if not is_in_front(terminal, supervisor):
            os.close(terminal)
            return
        if self._view is not None and self._view.suspend():
            logger.setLevel(min(self._level, logging.INFO))
        os.kill(supervisor, signal.SIGSTOP)
        self._waiter = threading.Thread(
            target=_go_on, args=(supervisor, terminal), name="Ctrl-Z", daemon=True
        )
        self._waiter.start()


def is_in_front(terminal: int, process: int) -> bool:
    """Tell if a process is in the foreground of its terminal; of what is none, or not its own, it is."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgid(process)
    except OSError:
        return True


def _go_on(supervisor: int, terminal: int) -> None:
    """Let the supervisor go on as soon as a shell has taken the terminal back."""
    for _ in range(round(_MOST_S / _PAUSE_S)):
        if not is_in_front(terminal, supervisor):
            break
        time.sleep(_PAUSE_S)
    os.close(terminal)
    with suppress(ProcessLookupError):
        os.kill(supervisor, signal.SIGCONT)
