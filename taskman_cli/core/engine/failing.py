"""Which jobs fail now, and how often in a row.

A run counts, not each of its attempts. A success ends a series; a run that was cancelled does neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine.view import Failing
from taskman_cli.core.model import State

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from taskman_cli.core.engine.runs import Run

#: States of a run that count as failures.
FAILURES = (State.FAILED, State.TIMED_OUT, State.LOST)


class FailingJobs:
    """The jobs whose latest run failed."""

    def __init__(self) -> None:
        #: Their series, by name.
        self.jobs: dict[str, Failing] = {}

    def resume(self, rows: Iterable[Failing]) -> None:
        """Continue with the series on record."""
        self.jobs.update((row.job, row) for row in rows)

    def of(self, job: str) -> Failing | None:
        """Return the series of a job; None: its latest run did not fail."""
        return self.jobs.get(job)

    def among(self, jobs: Container[str]) -> list[Failing]:
        """Return the series of those of `jobs` that fail, the longest first."""
        found = [row for job, row in self.jobs.items() if job in jobs]
        return sorted(found, key=lambda row: (-row.failures, row.since_ns, row.job))

    def note_run(self, run: Run) -> Failing | None:
        """Count a run that is over; return the series that it is the last of, if it failed."""
        job = run.job.id
        if run.state not in FAILURES:
            if run.state is State.SUCCEEDED and self.jobs:
                self.jobs.pop(job, None)
            return None
        before = self.jobs.get(job)
        # Of several tasks, one whose state is that of the run.
        end = next((end for end in run.ended.values() if end.state is run.state), None)
        ended_ns = max((end.ended_ns for end in run.ended.values()), default=0)
        self.jobs[job] = failing = Failing(
            job,
            run.id,
            end.task if end else "main",
            run.state,
            run.detail or (end.detail if end else ""),
            failures=before.failures + 1 if before else 1,
            since_ns=before.since_ns if before else ended_ns,
            ended_ns=ended_ns,
            is_more=before is not None and before.is_more,
        )
        return failing
