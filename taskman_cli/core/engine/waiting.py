"""Runs that have not begun, and are given up when they wait too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine.queue import DueQueue
from taskman_cli.core.model import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.engine.runs import Run


class Waiting:
    """The runs that wait for a worker, an earlier run, or room on the machine."""

    def __init__(self) -> None:
        #: The runs of this step: most begin within it, and need no deadline.
        self.new: list[Run] = []
        self._runs: dict[str, Run] = {}
        #: When they may not start any more, on the wall clock.
        self.deadlines: DueQueue[str] = DueQueue()

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, run: Run) -> None:
        """Add a run that may well begin in this step."""
        self.new.append(run)

    def end_step(self) -> None:
        """Set the deadlines of the new runs that still wait."""
        for run in self.new:
            if run.state is not State.QUEUED:  # as mostly
                continue
            if run.slot_ns is not None and run.job.policy.start_deadline_ns is not None:
                self._runs[run.id] = run
                run.is_waiting = True
                self._put(run)
        self.new.clear()

    def clock_stepped(self, delta_ns: int) -> None:
        """Move the deadlines: how long a run has waited does not depend on what the clock shows."""
        for run in self._runs.values():
            run.due_ns += delta_ns
            self._put(run)

    def remove(self, run: Run) -> None:
        """Remove a run that waits no longer: it has begun, or never will."""
        if run.is_waiting:
            run.is_waiting = False
            del self._runs[run.id]
            self.deadlines.remove(run.id)

    def late(self, wall_ns: int) -> Iterator[Run]:
        """Yield the runs that have waited too long, each to be removed before the next."""
        for run_id in self.deadlines.pop_due(wall_ns):
            if run_id in self._runs:  # or it was given up with the one before it
                yield self._runs[run_id]

    def _put(self, run: Run) -> None:
        deadline_ns = run.job.policy.start_deadline_ns
        assert deadline_ns is not None  # a run without a deadline is not added
        self.deadlines.put(run.id, run.due_ns + deadline_ns + 1)
