"""Which jobs the scheduler has: those of the files, without what was removed, and one-off jobs."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.arming import arm_new, once_marks
from taskman_cli.core.engine.definition import definition_of, is_due_alike
from taskman_cli.core.engine.timetable import ArmedJob
from taskman_cli.core.pause import Pause
from taskman_cli.core.schedule import Once
from taskman_cli.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.running import Running
    from taskman_cli.core.engine.timetable import Timetable
    from taskman_cli.core.model import Job, Settings

#: The reason of the pause of a job added by `once --batch`, by which such jobs are recognised.
FOR_LOAD = "until the load is low"
STOPPING = "taskman is stopping"


@dataclass(slots=True)
class _Taken:
    """What a reload has changed so far: names of jobs, and of settings."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)


class JobSet:
    """Adds, replaces and removes jobs."""

    def __init__(self, running: Running, timetable: Timetable, outbox: Outbox) -> None:
        self._running = running
        self._timetable = timetable
        self._outbox = outbox
        #: Names of the one-off jobs that are not over, in the order in which they were added.
        self.once: dict[str, None] = {}
        self._hidden: dict[str, effects.JobHidden] = {}
        #: Jobs of the files whose name a one-off job has until it is over.
        self._waiting: dict[str, Job] = {}
        self._taken = _Taken()

    def fit(self, jobs: Iterable[Job]) -> tuple[Job, ...]:
        """Return the jobs without those of the files whose name a one-off job has."""
        jobs = tuple(jobs)
        once = {job.id for job in jobs if job.is_once}
        self._waiting = {job.id: job for job in jobs if job.id in once and not job.is_once}
        return tuple(job for job in jobs if job.is_once or job.id not in once)

    def load(self, armed_jobs: Iterable[ArmedJob], hidden: Iterable[effects.JobHidden]) -> None:
        """Take over the one-off jobs and removals of an earlier scheduler."""
        self.once = {armed.job.id: None for armed in armed_jobs if armed.job.is_once}
        self._hidden = {item.job: item for item in hidden}
        self._running.idle += self.once  # one may be over as soon as its run is taken over

    def restate(self) -> list[effects.Mark]:
        """Return marks of the one-off jobs and removals, for an empty ledger."""
        once = [effects.OnceAdded(armed.job) for armed in self._timetable.jobs.values() if armed.job.is_once]
        return [*once, *self._hidden.values()]

    def end_step(self, now: Now) -> None:
        """Drop the one-off jobs whose run is over, after a step in which a job has become idle."""
        idle, self._running.idle = self._running.idle, []
        for job_id in self.once.keys() & idle:
            self._outbox.subject = job_id
            if self._timetable.jobs[job_id].is_used_up and job_id not in self._running.activity:
                self.drop_once(job_id, now)

    def is_to_come(self, job_id: str) -> bool:
        """Tell whether this is a one-off job without a run, even one that a stop left unfinished."""
        return job_id in self.once and not self._timetable.jobs[job_id].is_used_up

    def drop_once(self, job_id: str, now: Now) -> None:
        """Drop a one-off job; a job of the files that has its name takes its place."""
        self.once.pop(job_id, None)
        self._running.pool.memory.forget(self._timetable.jobs[job_id].job)
        self._timetable.remove(job_id)
        self._outbox.records += [effects.OnceOver(job_id), effects.JobRemoved(job_id)]
        job = self._waiting.pop(job_id, None)
        if job is not None:
            self._put(job, None, now)

    def add_once(self, event: events.OnceRequested, now: Now) -> dict[str, Any]:
        """Add a one-off job, and return the reply."""
        job = event.job
        if job.id in self._timetable.jobs:
            raise Refused(f"there is a job {job.id} already")
        armed = ArmedJob.of(job, since_ns=0, anchor_ns=now.wall_ns)
        at_ns = armed.slot_ns
        self._timetable.add(armed)
        self.once[job.id] = None
        self._outbox.records += [
            *once_marks(job, now),
            effects.RunsCounted(job.id, 0),
            effects.Commanded("once", event.by, job.id),
        ]
        if event.is_batch:
            armed.pause = Pause(now.wall_ns, reason=FOR_LOAD, by=event.by)
            self._timetable.freeze(armed, now.wall_ns)
            self._outbox.records.append(effects.JobPaused(job.id, armed.pause))
        return {"job": job.id, "at_ns": at_ns}

    def clock_stepped(self, now: Now) -> None:
        """Record the one-off jobs whose time has moved with the clock."""
        for name in sorted(self.once):
            armed = self._timetable.jobs[name]
            schedule = armed.job.schedule
            if isinstance(schedule, Once) and schedule.is_elapsed and not armed.is_used_up:
                self._outbox.records += once_marks(armed.job, now)

    def waiting_for_load(self) -> list[tuple[int, str]]:
        """Return the one-off jobs that wait for a low load, with their time."""
        armed_jobs = [self._timetable.jobs[name] for name in self.once]
        return [
            (armed.slot_after(0) or 0, armed.job.id)
            for armed in armed_jobs
            if armed.pause and armed.pause.reason == FOR_LOAD and not armed.is_used_up
        ]

    def reload(self, event: events.JobsReloaded, settings: Settings, now: Now) -> dict[str, Any]:
        """Replace the definitions, and return the reply; a job with the same schedule keeps its next slot.

        `settings` are the old ones.
        """
        before = _Taken()
        if event.kind != "reloaded":  # of a reload whose last part is to come
            before, self._taken = self._taken, before
        self._take(event, settings, now)
        taken, self._taken = self._taken, before
        self._outbox.records += event.hidden
        for item in event.hidden:
            self._hidden.pop(item.job, None)
            if item.tasks or item.is_all:
                self._hidden[item.job] = item
        count = len(self._timetable.jobs)
        self._outbox.records += [
            effects.JobsTaken(
                count,
                tuple(taken.added),
                tuple(taken.changed),
                tuple(taken.removed),
                tuple(taken.other),
                event.by if event.kind == "reloaded" else None,
            ),
            effects.Commanded(event.kind, event.by, detail=event.detail),
        ]
        reply = {"added": taken.added, "changed": taken.changed, "removed": taken.removed, "jobs": count}
        if taken.other:
            reply["settings"] = taken.other
        return reply

    def take_part(self, event: events.JobsReloaded, settings: Settings, now: Now) -> bool:
        """Replace some definitions, if there is no stop; what has changed is told with the last part."""
        if not self._running.is_stopping:
            self._take(event, settings, now)
        return not self._running.is_stopping

    def _take(self, event: events.JobsReloaded, settings: Settings, now: Now) -> None:
        jobs, taken = self._timetable.jobs, self._taken
        if event.removed is None:
            self._waiting.clear()
            names = {job.id for job in event.jobs} | self.once.keys()
            removed = [name for name in jobs if name not in names]
        else:
            for name in event.removed:
                self._waiting.pop(name, None)
            removed = [name for name in event.removed if name in jobs and name not in self.once]
        self._waiting |= {job.id: job for job in event.jobs if job.id in self.once}
        for name in removed:
            self._outbox.subject = name
            self._remove(name, now)
        taken.removed += removed
        for job in event.jobs:
            if job.id in self.once:
                continue
            self._outbox.subject = job.id
            known = jobs.get(job.id)
            if known is None:
                taken.added.append(job.id)
            elif not _is_same(known.job, job):
                taken.changed.append(job.id)
            self._put(job, known, now)
        other = [
            one.name.removesuffix("_ns")
            for one in fields(settings)
            if getattr(settings, one.name) != getattr(event.settings, one.name)
        ]
        if self._running.reports.reload(event.sinks):
            other.append("sinks")
        # What is to go stays until the last part, which changes it once more.
        taken.other += [name for name in other if name not in taken.other]
        self._outbox.subject = None

    def _remove(self, name: str, now: Now) -> None:
        """Remove a job; its running commands go on."""
        armed = self._timetable.jobs[name]
        if armed.pause:
            self._running.attempts.continue_all(name, now)
        self._running.pool.memory.forget(armed.job)
        self._timetable.remove(name)
        self._outbox.records.append(effects.JobRemoved(name))
        self._running.undefine(name, now)

    def _put(self, job: Job, known: ArmedJob | None, now: Now) -> None:
        """Add a job, or replace the known definition of it."""
        definition = definition_of(job)
        if known and is_due_alike(definition_of(known.job), definition):
            if definition_of(known.job) != definition:
                self._outbox.records.append(effects.JobRezoned(job.id, definition))
            is_same = _is_same(known.job, job)
            known.redefine(job)
            if not is_same:
                self._running.parks.redefine(known, known, now)
                self._running.redefine(job, now)
            return
        count = known.run_count if known and known.job.policy.max_runs is not None else 0
        armed, marks = arm_new(job, definition, count, now)
        self._outbox.records += marks
        self._timetable.add(armed)
        if known:
            self._running.parks.redefine(known, armed, now)
        if known and known.pause:
            armed.pause = replace(known.pause, left_ns=None)
            self._timetable.freeze(armed, now.wall_ns)
            self._outbox.records.append(effects.JobPaused(job.id, armed.pause))
        if armed.is_from_finish and job.id in self._running.activity:
            self._timetable.arm(armed, None)
        self._running.redefine(job, now)


def _is_same(known: Job, job: Job) -> bool:
    """Tell whether two definitions are the same, whatever file they are in."""
    return known == replace(job, source=known.source)


def visible(jobs: Iterable[Job], hidden: Mapping[str, effects.JobHidden]) -> tuple[Job, ...]:
    """Return jobs without what was removed; a job without tasks is left out."""
    seen = []
    for job in jobs:
        left_out = hidden.get(job.id)
        if left_out is None:
            seen.append(job)
        elif not left_out.is_all:
            tasks = tuple(task for task in job.tasks if task.id not in left_out.tasks)
            if tasks:
                seen.append(replace(job, tasks=tasks))
    return tuple(seen)


def clashing(name: str) -> str:
    """Say why a job of the files cannot be added while a one-off job has its name."""
    return f"{name} is the name of a one-off job that is not over: cancel it, or rename the new job"
