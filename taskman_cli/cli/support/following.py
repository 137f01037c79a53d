"""Waiting for more to print, without a poll that keeps the machine busy or a pipe that nobody reads."""

from __future__ import annotations

import io
import select
import sys
from contextlib import suppress


class Pause:
    """A moment between two looks. It ends early, as an error, when the reader of standard output leaves.

    Nothing else would tell before the next line is written, which may be tomorrow.
    """

    def __init__(self, seconds: float) -> None:
        self._milliseconds = seconds * 1_000
        self._poll = select.poll()
        with suppress(io.UnsupportedOperation):  # not a file at all: there is nobody to leave
            self._poll.register(sys.stdout.fileno(), 0)  # 0: errors and hang-ups, which always count

    def take(self) -> None:
        """Wait; raises BrokenPipeError if there is nobody to wait for."""
        found = self._poll.poll(self._milliseconds)
        if any(events & (select.POLLERR | select.POLLHUP) for _, events in found):
            raise BrokenPipeError
