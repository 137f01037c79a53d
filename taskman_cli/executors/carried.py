"""One attempt, as the process of its executor carries it out."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from typing import TYPE_CHECKING, Any

from taskman_cli.executors.base import CannotStop
from taskman_cli.executors.orders import short
from taskman_cli.supervisor.output import BoundedFile

if TYPE_CHECKING:
    from taskman_cli.executors.base import Order, Work
    from taskman_cli.supervisor.wire import Message


class Lost(Exception):
    """Its end will not be known."""

    def __init__(self, words: str, *, is_over: bool = False) -> None:
        """`is_over`: it does not run any more, says the far side."""
        super().__init__(words)
        self.is_over = is_over


def unsent(key: str, number: int, error: BaseException) -> Message:
    """Return what is said of a signal that an executor could not send to an attempt."""
    words = short(error) if isinstance(error, CannotStop) else f"{type(error).__name__}: {short(error)}"
    if number == signal.SIGSTOP:
        return "unstoppable", key, words
    return "said", f"signal {number} did not reach {key}: {words}"


class Carried:
    """One attempt, as it is carried out."""

    # Few attempts have more than these.
    #: Made when something is printed.
    file: BoundedFile | None = None
    work: Work | None = None
    #: None: its executor carries it out without one.
    task: asyncio.Task[None] | None = None
    #: How it ended is known.
    is_over = False
    signals: deque[int] | None = None
    signaller: asyncio.Task[None] | None = None
    #: It can be signalled before it has begun.
    _is_early = False
    #: Set once it can be signalled.
    _waiter: asyncio.Event | None = None
    #: Nobody waits for its end.
    is_abandoned = False
    #: Why it was given up before it was begun.
    given_up = ""
    #: The connection to it was lost, and is not back.
    is_cut = False
    unheard_since_s = 0.0
    is_unheard = False
    #: That was not told yet, and that something was told a moment ago (`Progress`).
    progress: tuple[float | None, str] | None = None
    is_telling = False

    def __init__(self, key: str, order: Order, place: tuple[str, int] | None) -> None:
        """`place` is the path of its output and how much is kept; None: nothing is."""
        self.key = key
        self.order = order
        self._place = place

    @property
    def is_begun(self) -> bool:
        """Tell whether its executor has begun it."""
        return self.work is not None and self.work.is_started

    async def until_there(self) -> Work:
        """Wait until it can be signalled; return what is to be signalled."""
        while self.work is None or not (self.is_begun or self._is_early) or self.is_cut:
            self._waiter = self._waiter or asyncio.Event()
            self._waiter.clear()
            await self._waiter.wait()
        return self.work

    def write(self, data: bytes) -> None:
        """Add to its output."""
        if self.file is None:
            if self._place is None:
                return
            self.file = BoundedFile(*self._place)
        self.file.write(memoryview(data))

    def written(self) -> dict[str, Any]:
        """Return how much it has printed, as it is told."""
        if (file := self.file) is None:
            return {"output_bytes": 0}
        return {
            "output_bytes": file.total_bytes, "cut_bytes": file.cut_bytes, "output_error": file.error
        }  # fmt: skip

    def hear_early(self) -> None:
        """Note that it can be signalled, though it has not begun."""
        self._is_early = True
        self.be_there()

    def be_there(self) -> None:
        """Note that it can be signalled."""
        self.is_cut = False
        if self._waiter is not None:
            self._waiter.set()
