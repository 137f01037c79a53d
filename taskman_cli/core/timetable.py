"""Which slots come when: the loaded jobs, the next slot of each, and the due queue over them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.core.policy import spread_ns
from taskman_cli.core.queue import DueQueue
from taskman_cli.core.schedule import Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taskman_cli.core.model import Job

#: Passed slots of one job that are looked at one by one; more than that are told without a count.
MAX_PASSED = 100_000


@dataclass(slots=True, eq=False)
class ArmedJob:
    """A job in the scheduler: its definition and its next slot."""

    job: Job
    #: What an interval counts from.
    anchor_ns: int
    #: The next slot; None: none will come, or none before a run has ended (`every_from = "finish"`).
    slot_ns: int | None = None
    #: Runs so far, for `max_runs`.
    run_count: int = 0

    @property
    def is_from_finish(self) -> bool:
        """Tell whether the next slot counts from the end of a run."""
        schedule = self.job.schedule
        return isinstance(schedule, Interval) and schedule.from_finish

    @property
    def is_used_up(self) -> bool:
        """Tell whether the job has had all the runs it may have."""
        max_runs = self.job.policy.max_runs
        return max_runs is not None and self.run_count >= max_runs

    def slot_after(self, after_ns: int) -> int | None:
        """Return the first slot after an instant, within the job's own limits."""
        if self.is_used_up:
            return None
        policy = self.job.policy
        if policy.starts_at_ns is not None:
            after_ns = max(after_ns, policy.starts_at_ns - 1)
        slot_ns = self.job.schedule.next_after(after_ns, anchor_ns=self.anchor_ns)
        if slot_ns is None or (policy.expires_at_ns is not None and slot_ns >= policy.expires_at_ns):
            return None
        return slot_ns

    def slot_before(self, wall_ns: int) -> int | None:
        """Return the last slot at or before an instant, leaving aside when the job starts."""
        expires_at_ns = self.job.policy.expires_at_ns
        if expires_at_ns is not None:
            wall_ns = min(wall_ns, expires_at_ns - 1)
        return self.job.schedule.previous(wall_ns, anchor_ns=self.anchor_ns)

    def due_at(self, slot_ns: int) -> int:
        """Return when the run for a slot is due: the slot, spread by the job's jitter."""
        return slot_ns + spread_ns(self.job.policy.jitter_ns, self.job.id, slot_ns)


@dataclass(frozen=True, slots=True)
class Passed:
    """The slots of a job that have passed by now, and the one to come."""

    #: Ascending, the first one being the slot the job was armed for.
    slots: list[int]
    next_ns: int | None
    #: (first, last) of slots too many to be looked at one by one, before `slots`.
    uncounted: tuple[int, int] | None = None


class Timetable:
    """All jobs with their next slots."""

    def __init__(self) -> None:
        self.jobs: dict[str, ArmedJob] = {}
        self._queue: DueQueue[str] = DueQueue()

    def load(
        self, jobs: Iterable[Job], *, since_ns: int, anchor_ns: int, run_counts: Mapping[str, int]
    ) -> None:
        """Arm all jobs for their first slots after `since_ns`."""
        dues = []
        for job in jobs:
            armed = self.jobs[job.id] = ArmedJob(job, anchor_ns, run_count=run_counts.get(job.id, 0))
            if job.policy.starts_at_ns is not None and isinstance(job.schedule, Interval):
                # The first slot is the start itself.
                armed.anchor_ns = job.policy.starts_at_ns - job.schedule.every_ns
            armed.slot_ns = armed.slot_after(since_ns)
            if armed.slot_ns is not None:
                dues.append((job.id, armed.due_at(armed.slot_ns)))
        self._queue.put_all(dues)

    def arm(self, armed: ArmedJob, slot_ns: int | None) -> None:
        """Set a job's next slot, or that there is none."""
        armed.slot_ns = slot_ns
        if slot_ns is None:
            self._queue.remove(armed.job.id)
        else:
            self._queue.put(armed.job.id, armed.due_at(slot_ns))

    def arm_from_finish(self, armed: ArmedJob, finished_ns: int) -> None:
        """Arm a job whose interval counts from the end of its run."""
        armed.anchor_ns = finished_ns
        self.arm(armed, armed.slot_after(finished_ns))

    def next_due(self) -> int | None:
        """Return when the next slot is due, or None."""
        return self._queue.next_due()

    def pop_due(self, wall_ns: int) -> list[ArmedJob]:
        """Take the jobs that are due by now off the queue, in order; each wants `passed` and `arm`."""
        return [self.jobs[job_id] for job_id in self._queue.pop_due(wall_ns)]

    def passed(self, armed: ArmedJob, wall_ns: int) -> Passed:
        """Return all slots of a due job that are due by now."""
        assert armed.slot_ns is not None
        first_ns = armed.slot_ns
        if armed.is_from_finish:
            return Passed([first_ns], None)
        slots = [first_ns]
        while True:
            next_ns = armed.slot_after(slots[-1])
            if next_ns is None or armed.due_at(next_ns) > wall_ns:
                return Passed(slots, next_ns)
            if len(slots) == MAX_PASSED:
                break
            slots.append(next_ns)
        last_ns = armed.slot_before(wall_ns)
        assert last_ns is not None
        before_ns = armed.slot_before(last_ns - 1)
        assert before_ns is not None
        return Passed([last_ns], armed.slot_after(last_ns), uncounted=(first_ns, before_ns))

    def shift_intervals(self, delta_ns: int) -> None:
        """Move the slots of intervals with a step of the wall clock: they count elapsed time."""
        for armed in self.jobs.values():
            if not isinstance(armed.job.schedule, Interval):
                continue
            armed.anchor_ns += delta_ns
            if armed.slot_ns is not None:
                self.arm(armed, armed.slot_ns + delta_ns)

    def first(self, count: int) -> list[tuple[int, ArmedJob]]:
        """Return (due, job) of the next `count` jobs, in order."""
        return [(due_ns, self.jobs[job_id]) for due_ns, job_id in self._queue.first(count)]
