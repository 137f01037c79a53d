"""Tells how an executor stands: what it says of itself, or else what its attempts have found out.

However often that changes, there is at most one message a second, and none that repeats the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.conditions import Condition, Reach, as_values, sum_of
from taskman_cli.executors.orders import short
from taskman_cli.supervisor.timers import elapsed_ns

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from taskman_cli.core.conditions import FarWorker

#: The least time between two messages.
_PAUSE_S = 1.0


class Telling:
    """What is told of one executor. Used on the loop's thread only."""

    def __init__(self, say: Callable[[dict[str, Any]], None], loop: asyncio.AbstractEventLoop) -> None:
        """`say` sends what `core.conditions` can read."""
        self._say = say
        self._loop = loop
        #: The executor speaks for itself: what attempts find out does not count.
        self._is_own = False
        self._condition = Condition(Reach.IDLE)
        self._said = as_values(self._condition)
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, reach: str, words: str = "", workers: Sequence[FarWorker] | None = None) -> None:
        """Take what the executor says of itself. Raises ValueError if there is no such reach."""
        self._is_own = True
        self._note(Reach(reach), words, workers)

    def well(self) -> None:
        """Note that the far side has answered."""
        if not self._is_own and self._condition.reach is not Reach.UP:
            self._note(Reach.UP)

    def unwell(self, error: object) -> None:
        """Note that nothing can begin there, and why."""
        if not self._is_own:
            self._note(Reach.DOWN, short(error))

    def _note(self, reach: Reach, words: str = "", workers: Sequence[FarWorker] | None = None) -> None:
        before = self._condition
        since_ns = before.since_ns if before.reach is reach else elapsed_ns()
        far = None if workers is None else sum_of(workers)
        self._condition = Condition(reach, since_ns, "" if reach is Reach.UP else short(words), far)
        if self._timer is None:
            self._send()

    def _send(self) -> None:
        self._timer = None
        values = as_values(self._condition)
        if values != self._said:
            self._said = values
            self._say(values)
            self._timer = self._loop.call_later(_PAUSE_S, self._send)
