"""Timers on the clock since boot."""

from __future__ import annotations

import heapq
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def elapsed_ns() -> int:
    """Read the clock that attempts are timed by: since boot, suspend included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Timers:
    """Actions in the order in which they are due. None can be removed: each checks if it is still wanted."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._made = 0

    def after(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Do `action` later."""
        self._made += 1
        heapq.heappush(self._heap, (elapsed_ns() + delay_ns, self._made, action))

    def timeout_s(self, deadlines: list[int], most_ns: int) -> float | None:
        """Return how long to sleep until the first timer or one of `deadlines`; None: there are none."""
        if not (deadlines := deadlines + self.next_due()):
            return None
        return min(max(0, min(deadlines) - elapsed_ns()), most_ns) / 1_000_000_000

    def next_due(self) -> list[int]:
        """Return when the first is due, or nothing."""
        return [timer[0] for timer in self._heap[:1]]

    def run_due(self, now_ns: int) -> None:
        """Do what is due by now."""
        while self._heap and self._heap[0][0] <= now_ns:
            heapq.heappop(self._heap)[2]()
