"""One-off jobs that wait for a low load (`once --batch`): when to look at it, and which job may start."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.policy import low_load

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.engine import Engine

#: Between two looks while the load is too high.
LOOK_NS = 5 * SECOND_NS
#: The longest sleep until a job is due: the wall clock may be set.
STAGE_NS = 60 * SECOND_NS
#: Between two jobs: the load must have time to show the first.
BETWEEN_NS = 60 * SECOND_NS


class LoadGate:
    """Lets jobs start, one after the other, when the load is low."""

    def __init__(
        self,
        engine: Engine,
        *,
        load: Callable[[], float] = lambda: os.getloadavg()[0],
        cpus: int | None = None,
    ) -> None:
        self._engine = engine
        self._load = load
        self._limit = low_load(cpus or os.cpu_count() or 1)
        #: On the elapsed clock; None: no job waits. An earlier scheduler may have left some.
        self.look_at_ns: int | None = 0
        self._not_before_ns = 0

    def job_added(self) -> None:
        """Take note that another job waits."""
        self.look_at_ns = self._not_before_ns

    def turn(self, now: Now) -> tuple[str, str] | None:
        """Look at the load if it is time to; return the job that may start, and why."""
        if self.look_at_ns is None or self.look_at_ns > now.elapsed_ns:
            return None
        waiting = self._engine.waiting_for_load()
        self.look_at_ns = None
        if not waiting:
            return None
        at_ns, name = min(waiting)
        if at_ns > now.wall_ns:
            self.look_at_ns = now.elapsed_ns + min(at_ns - now.wall_ns, STAGE_NS)
            return None
        self.look_at_ns = now.elapsed_ns + LOOK_NS
        load = self._load()
        if load >= self._limit:
            return None
        self.look_at_ns = self._not_before_ns = now.elapsed_ns + BETWEEN_NS
        return name, f"the load is {load:.2f}"
