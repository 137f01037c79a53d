"""One-hit jobs that wait for a low load: a look at the load now and then, as long as there are any."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.policy import low_load

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.engine import Engine

#: As often as a load that is too high is looked at again.
LOOK_NS = 5 * SECOND_NS
#: The longest sleep until the time of a job comes: the wall clock may be set.
STAGE_NS = 60 * SECOND_NS
#: After one job that was let go, before the next: the load must have had time to tell of it.
BETWEEN_NS = 60 * SECOND_NS


class Batch:
    """Lets jobs go on, one after the other, when the load is low."""

    def __init__(
        self,
        engine: Engine,
        *,
        let_go: Callable[[str, str], None],
        load: Callable[[], float] = lambda: os.getloadavg()[0],
        cpus: int | None = None,
    ) -> None:
        """`let_go` gets the name of a job, and why it may run."""
        self._engine = engine
        self._let_go = let_go
        self._load = load
        self._limit = low_load(cpus or os.cpu_count() or 1)
        #: On the elapsed clock; None: nobody waits. There may be some from the start.
        self.look_at_ns: int | None = 0
        self._not_before_ns = 0

    def came(self) -> None:
        """Take note that there is another one."""
        self.look_at_ns = self._not_before_ns

    def turn(self, now: Now) -> None:
        """Look at the load, if it is time to."""
        if self.look_at_ns is None or self.look_at_ns > now.elapsed_ns:
            return
        waiting = self._engine.waiting_for_load()
        self.look_at_ns = None
        if not waiting:
            return
        at_ns, name = min(waiting)
        if at_ns > now.wall_ns:
            self.look_at_ns = now.elapsed_ns + min(at_ns - now.wall_ns, STAGE_NS)
            return
        self.look_at_ns = now.elapsed_ns + LOOK_NS
        load = self._load()
        if load < self._limit:
            self.look_at_ns = self._not_before_ns = now.elapsed_ns + BETWEEN_NS
            self._let_go(name, f"the load is {load:.2f}")
