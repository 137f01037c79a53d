"""The live view on a terminal: one thread draws, and no other thread ever waits for it."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING

from taskman_cli.ui.canvas import Canvas
from taskman_cli.ui.terminal import Terminal, TerminalStuck, can_draw, has_glyphs

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import TextIO

    from taskman_cli.core.engine.view import Snapshot

#: How many lines a terminal is thought to have before it was looked at.
_LINES = 50
#: Log lines that wait to be drawn; more than this are only counted.
LOG_LINES_MOST = 1_000
#: A longer log line is cut.
_LOG_LINE_LENGTH_MOST = 4_096
#: After log lines were drawn, more are gathered for this long.
_GATHER_S = 0.05
#: How long `close` waits for the last frame to be drawn.
_CLOSE_S = 1.0

# Faults concern the thread that causes them; all other signals are for the main thread. Blocking SIGTTOU
# also lets a background process write to a terminal that stops such writers.
_FAULTS = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGABRT,
    signal.SIGSYS,
    signal.SIGTRAP,
}


class LiveView:
    """Show the latest snapshot on a terminal, and log lines above it.

    If the cursor cannot be moved, log lines are written as they come, and the view once at the end.
    """

    def __init__(self, *, stream: TextIO, timezone: tzinfo) -> None:
        self._stream = stream
        self._canvas = Canvas(timezone=timezone, can_move=can_draw(stream), is_ascii=not has_glyphs(stream))
        #: How many lines the terminal has: snapshots need not have more rows. Written by the thread.
        self.lines = _LINES
        self._thread: threading.Thread | None = None
        self._closing_fd = -1
        #: Guards the attributes below; never held while drawing.
        self._changed = threading.Condition()
        self._snapshot: Snapshot | None = None
        self._log: deque[str] = deque()
        self._left_out = 0
        self._is_closing = False
        #: Whether only log lines are to be shown, and whether the thread has noticed.
        self._is_away = self._has_left = False

    def start(self) -> None:
        """Start to draw as soon as there is a snapshot. Raises RuntimeError if no thread can be started."""
        self._closing_fd = os.eventfd(0)
        terminal = Terminal(self._stream, closing_fd=self._closing_fd)
        thread = threading.Thread(target=self._run, args=(terminal,), name="live view", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            terminal.close()
            os.close(self._closing_fd)
            raise
        self._thread = thread
        atexit.register(self.close)

    def update(self, snapshot: Snapshot) -> None:
        """Show this snapshot; an earlier one that is not drawn yet is dropped."""
        with self._changed:
            self._snapshot = snapshot
            self._changed.notify()

    def print(self, line: str) -> None:
        """Show a log line above the view; it is only counted if too many wait."""
        with self._changed:
            if len(self._log) < LOG_LINES_MOST:
                self._log.append(line[:_LOG_LINE_LENGTH_MOST])
            else:
                self._left_out += 1
            self._changed.notify()

    def suspend(self) -> bool:
        """Leave the last frame and show only log lines from now on; tell if that is a change.

        This waits a moment for the terminal, so that the output of others comes below the frame.
        """
        with self._changed:
            if self._is_away or self._thread is None:
                return False
            self._is_away = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._has_left, _CLOSE_S)
        return True

    def resume(self) -> bool:
        """Show the view again from the next snapshot on; tell if that is a change."""
        with self._changed:
            was_away, self._is_away = self._is_away, False
            self._changed.notify_all()
        return was_away

    def close(self) -> None:
        """Draw what is left, restore the cursor and end; return soon even if the terminal is stuck."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        atexit.unregister(self.close)
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        os.eventfd_write(self._closing_fd, 1)
        thread.join(_CLOSE_S)
        # A thread that hangs in a blocking write may still use it later.
        if not thread.is_alive():
            os.close(self._closing_fd)

    def _run(self, terminal: Terminal) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
        try:
            self._draw_until_closed(terminal)
        except (OSError, TerminalStuck):
            pass  # the terminal is gone; the jobs go on
        finally:
            terminal.close()

    def _draw_until_closed(self, terminal: Terminal) -> None:
        is_closing, log = False, deque[str]()
        try:
            while not is_closing:
                if log:
                    self._gather()
                snapshot, log, is_closing = self._wait_for_news()
                if self._canvas.is_on_screen:
                    terminal.swallow_keys()
                size = terminal.size()
                self.lines = size[1]
                terminal.write(self._canvas.draw(snapshot, log, size=size))
                self._follow(terminal)
        finally:
            terminal.write(self._canvas.end())

    def _follow(self, terminal: Terminal) -> None:
        """Hide or show the view as requested."""
        with self._changed:
            is_away, had_left = self._is_away, self._has_left
        if is_away and not had_left:
            terminal.give_back_keys()
            terminal.write(self._canvas.leave())
        elif had_left and not is_away:
            self._canvas.come_back()
        with self._changed:
            self._has_left = is_away
            self._changed.notify_all()

    def _gather(self) -> None:
        """Let log lines come together: a hundred a second are not a hundred frames."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing or self._is_away != self._has_left, _GATHER_S)

    def _wait_for_news(self) -> tuple[Snapshot | None, deque[str], bool]:
        """Wait for something to draw and return it; the last item is True at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._snapshot or self._log or self._is_closing or self._is_away != self._has_left
            )
            snapshot, self._snapshot = self._snapshot, None
            log, self._log = self._log, deque()
            if self._left_out:
                log.append(f"… {self._left_out:,} log lines left out")
                self._left_out = 0
            return snapshot, log, self._is_closing
