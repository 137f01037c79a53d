"""Folds records into what monitoring is told: how many runs and slots ended how, and how each job stands.

A success is one addition: what is shown is put together when somebody asks (`figures`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine.histogram import Histogram
from taskman_cli.core.engine.marks import SuccessNoted
from taskman_cli.core.model import SkipReason, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from taskman_cli.core.engine.records import AttemptSpawned, RunFinished, SlotsSkipped

#: Upper bounds of the histograms, in seconds.
DURATIONS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 21_600, 86_400)
DELAYS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600
)  # fmt: skip

#: The states besides success that a run ends in, except skipped.
_OTHER_ENDS = (State.FAILED, State.TIMED_OUT, State.CANCELLED, State.LOST)


class JobTally:
    """The runs of one job."""

    __slots__ = ("cancelled", "duration_ns", "failed", "succeeded", "success_ns")

    def __init__(self, success_ns: int | None = None) -> None:
        self.succeeded = 0
        #: With those that timed out or were lost.
        self.failed = 0
        self.cancelled = 0
        #: When its last success ended, on the wall clock; None: not known.
        self.success_ns = success_ns
        #: How long its last run took; None: none has ended.
        self.duration_ns: int | None = None


class Tallies:
    """Counts of this scheduler. Runs of one-off jobs count, but have no tally of their own."""

    def __init__(self) -> None:
        # Hashing a member of an enum takes as long as all the rest of a success.
        self._succeeded = 0
        self._others = dict.fromkeys(_OTHER_ENDS, 0)
        #: Slots that became a run which has ended, and those that were skipped, by reason.
        self.slots_run = 0
        self.slots_skipped = dict.fromkeys(SkipReason, 0)
        self.durations = Histogram(DURATIONS_S)
        self.delays = Histogram(DELAYS_S)
        self.jobs: dict[str, JobTally] = {}
        self._successes: dict[str, int] = {}

    def resume(self, successes: Mapping[str, int]) -> None:
        """Continue from the last successes on record, by job."""
        self._successes.update(successes)

    def of(self, job: str) -> JobTally:
        """Return the tally of a job, new where it had no run yet."""
        tally = self.jobs.get(job)
        if tally is None:
            tally = self.jobs[job] = JobTally(self._successes.pop(job, None))
        return tally

    def success_of(self, job: str) -> int | None:
        """Return when the last success of a job ended; None: not known."""
        tally = self.jobs.get(job)
        return self._successes.get(job) if tally is None else tally.success_ns

    def restate(self, jobs: Iterable[str]) -> Iterator[SuccessNoted]:
        """Return marks of the last successes, for a new ledger."""
        for job in jobs:
            if (success_ns := self.success_of(job)) is not None:
                yield SuccessNoted(job, success_ns)

    def forget(self, job: str) -> None:
        """Drop the tally of a job that is not defined any more."""
        self.jobs.pop(job, None)
        self._successes.pop(job, None)

    def finished(self, record: RunFinished) -> None:
        """Count a run that is over."""
        state = record.state
        if record.slot_ns is not None:
            self.slots_run += 1
        tally = self.jobs.get(record.job) or self.of(record.job)
        if record.duration_ns is not None:
            self.durations.observe(record.duration_ns)
            tally.duration_ns = record.duration_ns
        if state is State.SUCCEEDED:
            self._succeeded += 1
            tally.succeeded += 1
            tally.success_ns = record.ended_ns
            return
        self._others[state] += 1
        if state is State.CANCELLED:
            tally.cancelled += 1
        else:
            tally.failed += 1

    def runs(self) -> dict[State, int]:
        """Return how many runs have ended in each state."""
        return {State.SUCCEEDED: self._succeeded, **self._others}

    def spawned(self, record: AttemptSpawned) -> None:
        """Note how late a run began."""
        if record.delay_ns is not None:
            self.delays.observe(record.delay_ns)

    def skipped(self, record: SlotsSkipped) -> None:
        """Count skipped slots."""
        self.slots_skipped[record.reason] += record.count or 1
