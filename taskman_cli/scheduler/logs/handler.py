"""A handler that never delays the loop: lines wait in a queue of limited length for a thread that writes."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from taskman_cli.scheduler.logs.fields import fields_of
from taskman_cli.scheduler.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Lines that wait for a slow terminal, pipe or journal; more are dropped and counted.
MAX_WAITING = 10_000
#: How long a line waits for others, to be written together.
_GATHER_S = 0.02
#: How long the last lines may take when the program ends.
CLOSE_S = 2.0
#: Why lines were dropped.
_REFUSED, _UNWRITTEN = "the log was not read fast enough", "they could not be written"

Line = TypeVar("Line")
Made = TypeVar("Made", covariant=True)


class Form(Protocol[Made]):
    """Makes lines."""

    #: Whether a line shows more than the message; if not, a message need not have its fields.
    has_fields: bool

    def make(self, created_s: float, level: int, name: str, message: str, fields: Mapping[str, Any]) -> Made:
        """Return a line; `name` is that of the logger."""

    def error(self, info: Any) -> str:
        """Return the value of the field `error` for what `LogRecord.exc_info` has."""


class Waiting(Generic[Line]):
    """Passes items to a function in its own thread, so that what takes its time delays no start.

    The thread waits a moment for more items, so that a burst costs few wakeups and writes. It only writes: a
    thread that computes would hold the interpreter lock that the loop needs. What cannot be written is
    counted as dropped, and `report` makes the item that says so as soon as something can be written again.
    """

    def __init__(
        self,
        write: Callable[[list[Line]], None],
        report: Callable[[int, str], Line],
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        """`write` raises OSError or ValueError where nothing can be written now; `finish` comes last."""
        self._write = write
        self._report = report
        self._finish = finish
        self._items: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        #: Dropped and not reported yet; each is changed by one thread only.
        self._refused = self._unwritten = 0
        self._told_refused = self._told_unwritten = 0
        #: The most that ever waited.
        self.high_water = 0
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._start_thread()

    @property
    def depth(self) -> int:
        """Return how many items wait."""
        return self._items.qsize()

    @property
    def dropped(self) -> int:
        """Return how many items were dropped so far."""
        return self._refused + self._unwritten

    def _start_thread(self) -> None:
        self._thread = start_thread(self._run, name="log")  # None: the next item tries again

    def put(self, item: Line) -> None:
        """Queue an item, unless too many wait."""
        if self._thread is None:
            self._start_thread()
        depth = self._items.qsize()
        if depth >= self.high_water:
            if depth >= MAX_WAITING:
                self._refused += 1
                return
            self.high_water = depth + 1
        self._items.put(item)

    def end(self) -> None:
        """Have the thread write the waiting items and end, and do not wait for it."""
        self._is_closing.set()
        self._items.put(None)

    def close(self) -> None:
        """Write the waiting items, for a limited time, and end the thread."""
        self.end()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        else:  # no thread could ever be started
            self._run()

    def _run(self) -> None:
        while (first := self._items.get()) is not None:
            self._is_closing.wait(_GATHER_S)
            refused = self._refused
            found = [first, *(self._items.get() for _ in range(self._items.qsize()))]
            lines = [line for line in found if line is not None]
            if self._told_unwritten != self._unwritten:
                lines.insert(0, self._report(self._unwritten - self._told_unwritten, _UNWRITTEN))
            if refused != self._told_refused:  # after those that found room, before those that come now
                lines.append(self._report(refused - self._told_refused, _REFUSED))
            try:
                self._write(lines)
            except (OSError, ValueError):  # the reader is gone, or the disk is full; either may come back
                self._unwritten += sum(line is not None for line in found)
            else:
                self._told_refused, self._told_unwritten = refused, self._unwritten
            if found[-1] is None:
                break
        self._finish()


def dropped_in_words(count: int, why: str) -> str:
    """Say that lines were dropped."""
    return f"{'1 line' if count == 1 else f'{count:,} lines'} dropped: {why}"


class LineHandler(logging.Handler, Generic[Line]):
    """Makes lines in the loop, and has them written by `Waiting`."""

    def __init__(
        self,
        form: Form[Line],
        write: Callable[[list[Line]], None],
        read_clock: Callable[[], float],
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        """`read_clock` is the clock that logging uses (`time.time`); `finish` comes after the last line."""
        super().__init__()
        self.form = form
        self._read_clock = read_clock
        self.waiting = Waiting(write, self._report, finish)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line of a record."""
        fields = fields_of(record)
        if record.exc_info:
            fields["error"] = self.form.error(record.exc_info)
        self.waiting.put(
            self.form.make(record.created, record.levelno, record.name, record.getMessage(), fields)
        )

    def put_message(self, level: int, name: str, message: str, fields: Mapping[str, Any]) -> None:
        """Queue the line of a message that has no record."""
        self.waiting.put(self.form.make(self._read_clock(), level, name, message, fields))

    def _report(self, count: int, why: str) -> Line:
        message = dropped_in_words(count, why)
        fields = {"event": "dropped", "count": count}
        return self.form.make(self._read_clock(), logging.WARNING, "taskman.scheduler", message, fields)

    def retire(self) -> None:
        """Write the waiting lines in time: another handler takes those to come."""
        self.waiting.end()
        super().close()

    def close(self) -> None:
        """Write the waiting lines, for a limited time."""
        self.waiting.close()
        super().close()
