"""Prepares the starts of the jobs that are due next, while nothing else is to be done.

A herd then needs less of the time in which its commands are waited for. What is prepared is what each start
keeps for the next one, so it is right for as long.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.core.model import Job
    from taskman_cli.scheduler.driver import EngineDriver
    from taskman_cli.scheduler.workers import Workers

#: So many jobs: each takes some 20 µs.
MOST_JOBS = 1_000
#: So many of them in one turn.
PORTION = 16
#: Not this shortly before the next slot: to find the jobs among 100,000 takes a quarter of this.
GAP_NS = 20_000_000


class Ahead:
    """Knows whose starts are still to be prepared."""

    def __init__(self, driver: EngineDriver, workers: Workers) -> None:
        self._driver = driver
        self._workers = workers
        self._jobs: deque[Job] = deque()
        #: How often all that was prepared had been forgotten when `_jobs` were found; None: they never were.
        self._forgotten: int | None = None

    @property
    def is_wanted(self) -> bool:
        """Tell whether there is something to prepare, and time for it."""
        if not self._jobs and self._forgotten == self._workers.times_forgotten:
            return False
        due_ns = self._driver.engine.timetable.queue.next_due()
        return due_ns is not None and due_ns - self._driver.now.wall_ns > GAP_NS

    def take(self) -> None:
        """Find the jobs, or prepare the starts of some."""
        if self._forgotten != self._workers.times_forgotten:
            self._forgotten = self._workers.times_forgotten
            first = self._driver.engine.timetable.first(MOST_JOBS)
            self._jobs = deque(armed.job for _, armed in first)
            return
        for _ in range(min(PORTION, len(self._jobs))):
            job = self._jobs.popleft()
            try:
                self._workers.prepare_ahead(job.commands)
            except Exception as error:  # the start itself will fail, and say why
                self._driver.set_aside(f"preparing the next start of {job.id}", error)
