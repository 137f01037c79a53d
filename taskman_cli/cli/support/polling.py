"""Waiting between two looks at something that is being followed."""

from __future__ import annotations

import io
import select
import sys
from contextlib import suppress


class OutputPoll:
    """Wait for a fixed interval, or until the reader of standard output has gone.

    Without that check, a closed pipe would be noticed only at the next write, which may be tomorrow.
    """

    def __init__(self, seconds: float) -> None:
        self._milliseconds = seconds * 1_000
        self._poll = select.poll()
        with suppress(io.UnsupportedOperation):  # not a file: nothing can close it
            self._poll.register(
                sys.stdout.fileno(), 0
            )  # 0: only errors and hang-ups, which are always reported

    def wait(self) -> None:
        """Wait for one interval; raises BrokenPipeError if standard output has no reader any more."""
        found = self._poll.poll(self._milliseconds)
        if any(events & (select.POLLERR | select.POLLHUP) for _, events in found):
            raise BrokenPipeError
