"""When the memory of running attempts is looked at: one timer for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.engine.memory import Memory
    from taskman_cli.core.engine.queue import DueQueue
    from taskman_cli.core.engine.runs import Attempt

#: The timer; no attempt's key is like that.
_TIMER = "look.memory"


class Looks:
    """Plans the looks that `memory` wants."""

    def __init__(self, memory: Memory, timers: DueQueue[str]) -> None:
        self._memory = memory
        self._timers = timers
        #: When the next one is; None: none is planned.
        self._next_ns: int | None = None

    def plan_first(self, attempt: Attempt) -> None:
        """Set the timer for the first look at an attempt, unless there is an earlier look."""
        at_ns = self._memory.plan_first_look(attempt)
        if at_ns is not None and (self._next_ns is None or at_ns < self._next_ns):
            self._plan(at_ns)

    def due(self, running: Mapping[str, Attempt], elapsed_ns: int) -> list[Attempt]:
        """Return the attempts that are to be looked at now."""
        if self._next_ns is None or elapsed_ns < self._next_ns:
            return []
        due = self._memory.due_looks(running, elapsed_ns)
        self._plan(self._memory.next_look())
        return due

    def _plan(self, at_ns: int | None) -> None:
        self._next_ns = at_ns
        if at_ns is not None:
            self._timers.put(_TIMER, at_ns)
