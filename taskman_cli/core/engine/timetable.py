"""Which slots come when: the loaded jobs, the next slot of each, and the due queue over them all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from taskman_cli.core.engine.policy import MAX_STEP_BACK_NS, spread_ns
from taskman_cli.core.engine.queue import DueQueue
from taskman_cli.core.immutable import immutable
from taskman_cli.core.model import OnMissed
from taskman_cli.core.schedule import Interval, Once

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskman_cli.core.model import Job
    from taskman_cli.core.pause import Failures, Park, Pause

#: The latest passed slots of a job, at most this many, are looked at one by one; earlier ones are skipped as
#: one stretch: after a night's suspend, a job of every second must not delay others.
MAX_PASSED = 200
#: The same for `on_missed = "all"`: a little more than an hour of seconds.
MAX_CATCH_UPS = 4_000
#: How many jobs are looked at, at most, to find those that start next among disabled ones.
MAX_WALKED = 10_000


@dataclass(slots=True, eq=False)
class ArmedJob:
    """A job in the scheduler: its definition and its next slot."""

    job: Job
    #: What an interval counts from.
    anchor_ns: int
    #: Slots up to here are before its time, or accounted for.
    since_ns: int = 0
    #: The next slot; None: there is none, or none before a run has ended (`every_from = "finish"`).
    slot_ns: int | None = None
    #: Runs so far, for `max_runs`.
    run_count: int = 0
    #: The pause; None: the job is not paused.
    pause: Pause | None = None
    #: A slot on the wall clock that was taken early (`trigger --instead`): the next is after it.
    taken_ns: int | None = None
    #: The failed runs since the last success, where they matter; None: there are none.
    failures: Failures | None = None
    #: There is nothing special about its slots and runs.
    is_plain: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_plain = is_plain(self.job)

    def redefine(self, job: Job) -> None:
        """Use another definition, by which it has the same slots."""
        self.job, self.is_plain = job, is_plain(job)

    @classmethod
    def of(
        cls,
        job: Job,
        *,
        since_ns: int,
        anchor_ns: int,
        accounted_ns: int | None = None,
        run_count: int = 0,
        taken_ns: int | None = None,
    ) -> ArmedJob:
        """Arm a job for its first slot after an instant that is due after `accounted_ns`."""
        armed = cls(job, anchor_ns, since_ns, run_count=run_count, taken_ns=taken_ns)
        starts_at_ns = job.policy.starts_at_ns
        if isinstance(job.schedule, Interval) and not armed.is_from_finish and starts_at_ns is not None:
            # The first slot is the start itself.
            armed.anchor_ns = starts_at_ns - job.schedule.every_ns
        armed.slot_ns = armed.first_due_after(
            since_ns if accounted_ns is None else accounted_ns, from_ns=since_ns
        )
        return armed

    @property
    def is_from_finish(self) -> bool:
        """Tell whether the next slot counts from the end of a run."""
        schedule = self.job.schedule
        return type(schedule) is Interval and schedule.from_finish

    @property
    def is_elapsed(self) -> bool:
        """Tell whether slots count elapsed time, so that they move with the clock; not with `starts_at`."""
        return isinstance(self.job.schedule, Interval) and self.job.policy.starts_at_ns is None

    @property
    def park(self) -> Park | None:
        """Return since when and why the job is parked; None: it is not."""
        return self.failures.park if self.failures else None

    @property
    def holds(self) -> tuple[Pause | Park, ...]:
        """Return what keeps its slots from getting runs, what counts first first."""
        return tuple(hold for hold in (self.pause, self.park) if hold is not None)

    @property
    def is_used_up(self) -> bool:
        """Tell whether the job has had all the runs it may have."""
        max_runs = self.job.policy.max_runs
        return max_runs is not None and self.run_count >= max_runs

    def is_within_limits(self, wall_ns: int) -> bool:
        """Tell whether an instant lies between `starts_at` and `expires_at`."""
        policy = self.job.policy
        if policy.starts_at_ns is not None and wall_ns < policy.starts_at_ns:
            return False
        return policy.expires_at_ns is None or wall_ns < policy.expires_at_ns

    def has_runs_at(self, due_ns: int) -> bool:
        """Tell whether a slot that is due then gets a run, as far as can be known before."""
        return self.job.enabled and not any(hold.covers(due_ns) for hold in self.holds)

    def slot_after(self, after_ns: int) -> int | None:
        """Return the first slot after an instant, within the job's own limits."""
        job, policy = self.job, self.job.policy
        if policy.max_runs is not None and self.is_used_up:
            return None
        starts_at_ns = policy.starts_at_ns
        if starts_at_ns is not None:
            after_ns = max(after_ns, starts_at_ns - 1)
        if self.taken_ns is not None:
            after_ns = max(after_ns, self.taken_ns)
        slot_ns = job.schedule.next_after(after_ns, anchor_ns=self.anchor_ns)
        if slot_ns is None or (starts_at_ns is None and policy.expires_at_ns is None):
            return slot_ns  # nearly always
        return slot_ns if self.is_within_limits(slot_ns) else None

    def slot_before(self, wall_ns: int) -> int | None:
        """Return the last slot at or before an instant, whatever `starts_at` says."""
        expires_at_ns = self.job.policy.expires_at_ns
        if expires_at_ns is not None:
            wall_ns = min(wall_ns, expires_at_ns - 1)
        return self.job.schedule.previous(wall_ns, anchor_ns=self.anchor_ns)

    def due_at(self, slot_ns: int) -> int:
        """Return when the run for a slot is due: the slot, spread by the job's jitter.

        Jitter is cut where it would reach the next slot: each slot is due before those that follow.
        """
        width_ns = self.job.policy.jitter_ns
        if not width_ns:
            return slot_ns
        gap_ns = self._gap_after(slot_ns)
        if gap_ns is not None:
            width_ns = min(width_ns, gap_ns - 1)
        return slot_ns + spread_ns(width_ns, self.job.id, slot_ns)

    def _gap_after(self, slot_ns: int) -> int | None:
        """Return how long after a slot the next one comes; None: unknown, or there is none."""
        schedule = self.job.schedule
        if isinstance(schedule, Interval):
            return None if schedule.from_finish else schedule.every_ns
        next_ns = schedule.next_after(slot_ns, anchor_ns=self.anchor_ns)
        return None if next_ns is None else next_ns - slot_ns

    def first_due_after(self, accounted_ns: int, *, from_ns: int = 0) -> int | None:
        """Return the first slot after `from_ns` that is due, with its jitter, after an instant."""
        jitter_ns = self.job.policy.jitter_ns
        slot_ns = self.slot_after(max(accounted_ns - jitter_ns, from_ns))
        if not jitter_ns:
            return slot_ns  # nearly always
        while slot_ns is not None and self.due_at(slot_ns) <= accounted_ns:
            slot_ns = self.slot_after(slot_ns)
        return slot_ns


@immutable
class Stretch:
    """Consecutive slots that are recorded together."""

    first_ns: int
    last_ns: int
    #: None: too many to count.
    count: int | None


@immutable
class Passed:
    """The slots of a job that are due by now, and the one to come."""

    #: (slot, due), ascending.
    slots: list[tuple[int, int]]
    next_ns: int | None
    #: Slots before `slots`, too many to be looked at one by one.
    before: Stretch | None = None


class Timetable:
    """All jobs with their next slots."""

    def __init__(self) -> None:
        self.jobs: dict[str, ArmedJob] = {}
        #: When the next slot of each is due.
        self.queue: DueQueue[str] = DueQueue()
        #: Names of the jobs that are paused; some may have been resumed or removed since.
        self.known_paused: set[str] = set()
        #: Tell whether there may be one that is due by now.
        self.is_due = self.queue.is_due

    def load(self, jobs: Iterable[ArmedJob]) -> None:
        """Replace all jobs by these, which are armed."""
        self.jobs = {armed.job.id: armed for armed in jobs}
        self.known_paused = {name for name, armed in self.jobs.items() if armed.pause is not None}
        self.queue.put_all(
            [
                (armed.job.id, armed.due_at(armed.slot_ns) if armed.job.policy.jitter_ns else armed.slot_ns)
                for armed in self.jobs.values()
                if armed.slot_ns is not None
            ]
        )

    def arm(self, armed: ArmedJob, slot_ns: int | None) -> None:
        """Set a job's next slot, or that there is none."""
        armed.slot_ns, job = slot_ns, armed.job
        if slot_ns is None:
            self.queue.remove(job.id)
        else:
            self.queue.put(job.id, armed.due_at(slot_ns) if job.policy.jitter_ns else slot_ns)

    def arm_from_finish(self, armed: ArmedJob, finished_ns: int) -> None:
        """Arm a job whose interval counts from the end of its run."""
        armed.anchor_ns = finished_ns
        self.arm(armed, armed.slot_after(finished_ns))

    def freeze(self, armed: ArmedJob, wall_ns: int) -> None:
        """Let the interval of a paused job stand still, and a one-off job wait; other slots pass."""
        assert armed.pause is not None
        self.note_paused(armed)
        if not armed.is_elapsed and not armed.job.is_once:
            return
        if armed.is_elapsed and armed.slot_ns is not None:  # or it stands still already
            # With jitter it may lie before now and be due later.
            armed.pause = replace(armed.pause, left_ns=max(armed.slot_ns - wall_ns, 1))
        self.arm(armed, None)

    def note_paused(self, armed: ArmedJob) -> None:
        """Note that a job is paused, so that `paused` has it."""
        self.known_paused.add(armed.job.id)

    def stops_to(self, job_id: str) -> int | None:
        """Return up to which number the runs of a job are stopped (`pause --stop`); None: none are."""
        armed = self.jobs.get(job_id)
        return armed.pause.stops_to if armed is not None and armed.pause is not None else None

    def paused(self) -> list[ArmedJob]:
        """Return the paused jobs; none of the others is looked at."""
        jobs = self.jobs
        gone = [name for name in self.known_paused if name not in jobs or jobs[name].pause is None]
        self.known_paused.difference_update(gone)
        return [jobs[name] for name in self.known_paused]

    def add(self, armed: ArmedJob) -> None:
        """Add a job, or replace the one of its name."""
        self.jobs[armed.job.id] = armed
        self.arm(armed, armed.slot_ns)

    def remove(self, job_id: str) -> None:
        """Remove a job."""
        del self.jobs[job_id]
        self.queue.remove(job_id)

    def due_count(self) -> int:
        """Return how many jobs have a slot to come."""
        return len(self.queue)

    def pop_due(self, wall_ns: int) -> list[ArmedJob]:
        """Remove the due jobs from the queue and return them in order; each needs `passed` and `arm` next."""
        return [self.jobs[job_id] for job_id in self.queue.pop_due(wall_ns)]

    @staticmethod
    def passed(armed: ArmedJob, wall_ns: int) -> Passed:
        """Return the slots of a due job that are due by now."""
        assert armed.slot_ns is not None
        first_ns = armed.slot_ns
        if armed.is_from_finish:
            return Passed([(first_ns, armed.due_at(first_ns))], None)
        most = MAX_CATCH_UPS if armed.job.policy.on_missed is OnMissed.ALL else MAX_PASSED
        slots, next_ns = _due_from(armed, first_ns, wall_ns, most=most + 1)
        if len(slots) <= most:
            return Passed(slots, next_ns)
        return _latest_passed(armed, first_ns, wall_ns, most=most)

    def clock_stepped(self, armed: ArmedJob, delta_ns: int, wall_ns: int, *, is_busy: bool) -> None:
        """Move a slot that counts elapsed time; after a large step back arm any other job again.

        `is_busy`: the job has an unfinished run, from whose end its interval may count.
        """
        schedule = armed.job.schedule
        if isinstance(schedule, Once) and schedule.is_elapsed:
            self._move_once(armed, schedule.moved(delta_ns))
        elif armed.is_elapsed:
            armed.anchor_ns += delta_ns
            armed.since_ns += delta_ns
            if armed.slot_ns is not None:
                slot_ns = armed.slot_ns + delta_ns
                self.arm(armed, slot_ns if armed.is_within_limits(slot_ns) else None)
            elif not armed.pause and not (armed.is_from_finish and is_busy):
                # The clock was wrong when its `expires_at` was over.
                self.arm(armed, armed.slot_after(wall_ns))
        elif delta_ns < -MAX_STEP_BACK_NS and not (armed.pause and armed.job.is_once):
            armed.taken_ns = None
            armed.since_ns = wall_ns
            self.arm(armed, armed.slot_after(wall_ns))

    def _move_once(self, armed: ArmedJob, schedule: Once) -> None:
        armed.job = replace(armed.job, schedule=schedule)
        if armed.slot_ns is not None:
            self.arm(armed, schedule.at_ns)

    def first(self, count: int) -> list[tuple[int, ArmedJob]]:
        """Return (due, job) of the next `count` jobs, in order."""
        return [(due_ns, self.jobs[job_id]) for due_ns, job_id in self.queue.first(count)]

    def coming(self, count: int) -> list[tuple[int, ArmedJob]]:
        """Return (due, job) of the next `count` jobs that start something, in order."""
        walked = islice(self.queue.walk(), MAX_WALKED)
        due = ((due_ns, self.jobs[job_id]) for due_ns, job_id in walked)
        return list(islice(((due_ns, armed) for due_ns, armed in due if armed.has_runs_at(due_ns)), count))


def _due_from(
    armed: ArmedJob, slot_ns: int | None, wall_ns: int, *, most: int | None = None
) -> tuple[list[tuple[int, int]], int | None]:
    """Return the slots from `slot_ns` on that are due by now, at most `most`, and the slot after them."""
    slots: list[tuple[int, int]] = []
    while slot_ns is not None and len(slots) != most:
        due_ns = armed.due_at(slot_ns)
        if due_ns > wall_ns:
            break
        slots.append((slot_ns, due_ns))
        slot_ns = armed.slot_after(slot_ns)
    return slots, slot_ns


def _latest_passed(armed: ArmedJob, first_ns: int, wall_ns: int, *, most: int) -> Passed:
    """Return the latest passed slots, and those before them as a stretch."""
    # Go back from the last slot that is certainly due, whatever its jitter.
    back_ns = armed.slot_before(wall_ns - armed.job.policy.jitter_ns)
    earliest_ns = first_ns
    for _ in range(most):
        if back_ns is None or back_ns <= first_ns:
            return Passed(*_due_from(armed, first_ns, wall_ns))
        earliest_ns = back_ns
        back_ns = armed.slot_before(back_ns - 1)
    assert back_ns is not None
    schedule = armed.job.schedule
    count = (back_ns - first_ns) // schedule.every_ns + 1 if isinstance(schedule, Interval) else None
    return Passed(*_due_from(armed, earliest_ns, wall_ns), Stretch(first_ns, back_ns, count))


def is_plain(job: Job) -> bool:
    """Tell whether there is nothing special about a job: nearly always.

    It gets a run at each time of its schedule, which is one command, and nobody but the ledger cares when it
    begins and how it ends. For such runs much need not be asked.
    """
    policy = job.policy
    if len(job.tasks) != 1 or job.gate is not None or job.is_once or not job.enabled or policy.sinks:
        return False
    if policy.jitter_ns or policy.max_runs is not None:
        return False
    if not (policy.delayed_after_ns is policy.slow_after_ns is policy.expect_every_ns is None):
        return False
    return not (isinstance(job.schedule, Interval) and job.schedule.from_finish)


def stretches(slots: list[int], among: list[tuple[int, int]]) -> list[Stretch]:
    """Return slots as stretches; `among`: all slots, which tell whether two of them are consecutive."""
    positions = {slot_ns: position for position, (slot_ns, _) in enumerate(among)}
    found: list[Stretch] = []
    for slot_ns in slots:
        last = found[-1] if found else None
        if last and last.count and positions[last.last_ns] + 1 == positions[slot_ns]:
            found[-1] = Stretch(last.first_ns, slot_ns, last.count + 1)
        else:
            found.append(Stretch(slot_ns, slot_ns, 1))
    return found
