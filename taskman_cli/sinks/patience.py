"""How long a sink waits: a deadline for a whole delivery, and calls that the kernel may hold for ever."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class Deadline:
    """When something has to be over."""

    def __init__(self, timeout_s: float) -> None:
        self._end = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Return how much time is left; raises TimeoutError if there is none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("too slow")
        return left

    def within(self, timeout_s: float) -> Deadline:
        """Return a deadline after this time, but not after this one."""
        return Deadline(max(0.0, min(self._end - time.monotonic(), timeout_s)))


class _Call(threading.Thread, Generic[Result]):
    def __init__(self, call: Callable[[], Result]) -> None:
        super().__init__(daemon=True, name="taskman-patience")
        self._call = call
        self.result: list[Result] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result.append(self._call())
        except BaseException as error:  # it is raised where it is waited for
            self.error = error


class Patience:
    """Carries out calls that may hang, one at a time: names that are looked up, files on a dead server.

    A call that is given up goes on in its thread; until that has ended there is no other.
    """

    def __init__(self) -> None:
        self._last: threading.Thread | None = None

    def run(self, call: Callable[[], Result], deadline: Deadline) -> Result:
        """Return what a call returns or raise what it raises; TimeoutError if it takes too long."""
        if self._last is not None and self._last.is_alive():
            self._last.join(deadline.left_s())
            if self._last.is_alive():
                raise TimeoutError("the last time has not ended yet")
        thread = _Call(call)
        self._last = thread
        thread.start()
        thread.join(deadline.left_s())
        if thread.is_alive():
            raise TimeoutError("too slow")
        if thread.error is not None:
            raise thread.error
        return thread.result[0]
