"""The loop of a keeper: descriptors and timers. What fails for one of them is told, and the others go on."""

from __future__ import annotations

import heapq
import os
import select
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_EVENTS_A_TURN = 64


class Loop:
    """Calls what was asked for, when its time has come."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def watch(self, fd: int, reader: Callable[[], None]) -> None:
        """Call `reader` whenever a descriptor can be read."""
        self._readers[fd] = reader
        self._epoll.register(fd, select.EPOLLIN)

    def is_watched(self, fd: int) -> bool:
        """Tell if a descriptor is listened to."""
        return fd in self._readers

    def watch_writing(self, fd: int, *, is_wanted: bool) -> None:
        """Call the reader of a descriptor also when it can be written to, or no more."""
        self._epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if is_wanted else 0))

    def unwatch(self, fd: int) -> None:
        """Listen to a descriptor no more; before it is closed."""
        if self._readers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        """Call something later."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), do))

    def turn(self, until_s: float) -> None:
        """Wait for something to happen, at most until a time of the monotonic clock, and deal with it."""
        if self._timers:
            until_s = min(until_s, self._timers[0][0])
        for fd, _ in self._epoll.poll(max(0.0, until_s - time.monotonic() + 0.0005), _EVENTS_A_TURN):
            reader = self._readers.get(fd)
            if reader is not None and not _is_done(reader):
                self.unwatch(fd)
        now_s = time.monotonic()
        while self._timers and self._timers[0][0] <= now_s:
            _is_done(heapq.heappop(self._timers)[2])


def _is_done(do: Callable[[], None]) -> bool:
    """Do something; tell if that went well."""
    try:
        do()
    except Exception as error:
        complain(f"{type(error).__name__}: {error}")
        return False
    return True


def complain(words: str) -> None:
    """Say what went wrong where the worker's own messages go, if anybody takes them there."""
    with suppress(OSError):
        os.write(2, b"taskman: keeper: " + words.encode("unicode_escape") + b"\n")
