"""Writing to a terminal that may be slow, stopped with Ctrl-S, or gone.

It is never read from. While the view is on it, what people type is not shown, and dropped: the shell must not
get it afterwards. Should this process die meanwhile, the supervisor restores the terminal.
"""

from __future__ import annotations

import os
import select
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

#: The assumed size of a terminal that does not report one, such as a serial line.
_COLUMNS, _LINES = 80, 24
#: While the view closes, a terminal that accepts nothing for this long is given up.
_PATIENCE_MS = 200
#: Where the flags such as ECHO are in what tcgetattr returns.
_LOCAL = 3
#: The Linux console has no glyphs for boxes and check marks.
_WITHOUT_GLYPHS = frozenset({"linux", "dumb"})


class TerminalStuck(Exception):
    """Raised if the terminal accepts nothing while the view closes."""


def can_draw(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal whose cursor can be moved."""
    return _is_terminal(stream) and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


def has_glyphs(stream: TextIO) -> bool:
    """Return whether a stream can show more than ASCII."""
    encoding = (stream.encoding or "").lower().replace("-", "")
    return encoding == "utf8" and os.environ.get("TERM") not in _WITHOUT_GLYPHS


def _is_terminal(stream: TextIO | None) -> bool:
    if stream is None:  # Python's stream for a descriptor that was closed at the start
        return False
    try:
        return stream.isatty()
    except ValueError:  # it was closed
        return False


class Terminal:
    """Writes to a terminal. A blocked `write` returns when `closing_fd` becomes readable."""

    def __init__(self, stream: TextIO, *, closing_fd: int) -> None:
        self._encoding = stream.encoding or "utf-8"
        self._closing_fd = closing_fd
        self._fd = _own_descriptor(stream)
        #: Whether keys were shown before the view began to swallow them; None: it does not.
        self._had_echo: bool | None = None

    def size(self) -> tuple[int, int]:
        """Return the current number of columns and lines."""
        try:
            columns, lines = os.get_terminal_size(self._fd)
        except OSError:
            columns = lines = 0
        return columns or _COLUMNS, lines or _LINES

    def write(self, text: str) -> None:
        """Write all of a text, however long that takes, until the view closes.

        Raises OSError if the terminal is gone, and TerminalStuck if it would delay closing.
        """
        data = memoryview(text.encode(self._encoding, "replace"))
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                self._wait_for_room()

    def swallow_keys(self) -> None:
        """Show nothing of what is typed, and drop what was typed so far.

        Not if this process is in the background: the keys are the shell's then. Signals such as Ctrl-C work.
        """
        with suppress(OSError, termios.error):
            if not self._is_in_front():
                return
            modes = termios.tcgetattr(self._fd)
            if self._had_echo is None:
                self._had_echo = bool(modes[_LOCAL] & termios.ECHO)
            if modes[_LOCAL] & termios.ECHO:
                modes[_LOCAL] &= ~termios.ECHO
                termios.tcsetattr(self._fd, termios.TCSANOW, modes)
            termios.tcflush(self._fd, termios.TCIFLUSH)

    def give_back_keys(self) -> None:
        """Show again what is typed, as before; what was typed so far is dropped."""
        had_echo, self._had_echo = self._had_echo, None
        if had_echo is None:
            return
        with suppress(OSError, termios.error):
            if not self._is_in_front():
                return  # the shell has set the terminal as it wants it
            termios.tcflush(self._fd, termios.TCIFLUSH)
            modes = termios.tcgetattr(self._fd)
            if had_echo:
                modes[_LOCAL] |= termios.ECHO
                termios.tcsetattr(self._fd, termios.TCSANOW, modes)

    def _is_in_front(self) -> bool:
        # The scheduler has a process group of its own; the supervisor's is in the foreground.
        return os.tcgetpgrp(self._fd) in (os.getpgrp(), os.getpgid(os.getppid()))

    def _wait_for_room(self) -> None:
        room = select.poll()
        room.register(self._fd, select.POLLOUT)
        room_or_closing = select.poll()
        room_or_closing.register(self._fd, select.POLLOUT)
        room_or_closing.register(self._closing_fd, select.POLLIN)
        ready = {fd for fd, _ in room_or_closing.poll()}
        if self._fd not in ready and not room.poll(_PATIENCE_MS):
            raise TerminalStuck

    def close(self) -> None:
        """Restore and close the terminal."""
        self.give_back_keys()
        os.close(self._fd)


def _own_descriptor(stream: TextIO) -> int:
    """Open the terminal again: otherwise non-blocking mode would also apply to the shell and the jobs.

    If that is not allowed (after `su`, the terminal may belong to another user), writes can block.
    """
    fd = stream.fileno()
    if _is_terminal(stream):
        try:
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            pass
    return os.dup(fd)
