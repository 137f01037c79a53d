"""Where lines go: standard error, the live view, or journald. Only the thread of the log calls these."""

from __future__ import annotations

import os
import select
import sys
from typing import TYPE_CHECKING

from taskman_cli.supervisor.journald import JournalSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from taskman_cli.scheduler.logs.forms import JournalEntry
    from taskman_cli.ui.live import LiveView

#: How often a journal that takes nothing is looked at for having gone away.
_LOOK_MS = 1_000


class StderrWriter:
    """Writes to standard error, however long that takes."""

    def __init__(self, fd: int | None = None) -> None:
        """`fd` None: standard error."""
        self._fd = 2 if fd is None else fd
        #: The last line is not complete: the disk was full.
        self._is_torn = False

    def write(self, lines: Sequence[str]) -> None:
        """Write lines. Raises OSError."""
        stream = sys.stderr
        encoding, errors = (stream.encoding, stream.errors) if stream else ("utf-8", None)
        if self._is_torn:
            self._write(memoryview(b"\n"))
            self._is_torn = False
        for portion in portions(
            f"{line}\n".encode(encoding or "utf-8", errors or "backslashreplace") for line in lines
        ):
            rest = memoryview(portion)
            try:
                while rest:
                    rest = rest[self._write(rest) :]
            except OSError:
                self._is_torn = len(rest) < len(portion)
                raise

    def _write(self, data: memoryview) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:  # another program has set it to non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()


def portions(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines as far as a pipe takes them at once: the supervisor's lines come before or after them."""
    portion = b""
    for line in lines:
        if portion and len(portion) + len(line) > select.PIPE_BUF:
            yield portion
            portion = b""
        portion += line
    if portion:
        yield portion


class ViewWriter:
    """Shows lines above the live view."""

    def __init__(self, view: LiveView) -> None:
        self._view = view

    def write(self, lines: Sequence[str]) -> None:
        """Show lines."""
        for line in lines:
            self._view.print(line)


class JournalWriter:
    """Sends to journald, however long that takes; while it is gone, to standard error."""

    def __init__(
        self,
        tell: Callable[[str], str],
        journal: JournalSocket | None = None,
        stderr: StderrWriter | None = None,
    ) -> None:
        """`tell` makes a line for standard error."""
        self._tell = tell
        self._journal = journal or JournalSocket()
        self._stderr = stderr or StderrWriter()
        self._is_gone = False

    def write(self, entries: Sequence[JournalEntry]) -> None:
        """Send lines. Raises OSError if neither takes them."""
        for at, entry in enumerate(entries):
            try:
                while not self._journal.send(entry.data):
                    poll = select.poll()
                    poll.register(self._journal.fileno(), select.POLLOUT)
                    poll.poll(_LOOK_MS)
            except OSError as error:
                self._journal.close()
                self._leave([one.plain for one in entries[at:]], error)
                return
            self._is_gone = False

    def close(self) -> None:
        """Close the socket."""
        self._journal.close()

    def _leave(self, lines: list[str], error: OSError) -> None:
        """Write what journald does not take, and the first time, why."""
        if not self._is_gone:
            why = error.strerror or str(error)
            lines.insert(0, self._tell(f"journald does not answer ({why}): the log goes to standard error"))
        self._stderr.write(lines)
        self._is_gone = True
