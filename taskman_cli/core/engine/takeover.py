"""What happens to the jobs when a scheduler starts: which continue, which are new, which slots were missed.

A job with the same schedule continues: its slots since the last scheduler are made up for, and its interval
keeps its rhythm. A job that is new, or has another schedule, counts from now; slots of the old definition
since the last scheduler are skipped as missed. A job under another name is another job.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.arming import arm_new, once_marks
from taskman_cli.core.engine.definition import definition_of, is_due_alike, job_from
from taskman_cli.core.engine.parks import CHANGED, failures_now
from taskman_cli.core.engine.policy import is_clock_put_back
from taskman_cli.core.engine.skips import skipped
from taskman_cli.core.engine.timetable import ArmedJob, Stretch, Timetable
from taskman_cli.core.model import Job, SkipReason
from taskman_cli.core.schedule import Once, Reboot
from taskman_cli.errors import ScheduleError

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.pause import Pause


#: How the detail of such a skip begins.
OWED = "the job was"


class Takeover(NamedTuple):
    """The armed jobs, and what to record."""

    armed: list[ArmedJob]
    records: list[effects.Record | effects.Mark]
    #: All slots due by this instant are accounted for.
    accounted_ns: int


def take_jobs(event: events.JobsLoaded, now: Now, outbox: Outbox) -> Takeover:
    """Arm the jobs of an event, and skip missed slots of old definitions; set the subject of `outbox`."""
    accounted_ns = event.accounted_ns
    if accounted_ns is None or is_clock_put_back(accounted_ns, now.wall_ns):
        accounted_ns = now.wall_ns
    armed: list[ArmedJob] = []
    records: list[effects.Record | effects.Mark] = []
    if event.step_ns:
        records.append(effects.ClockStepNoted(event.step_ns))
    records += _accounted(accounted_ns, event, now)
    added: list[str] = []
    changed: list[str] = []
    for job in event.jobs:
        outbox.subject = job.id
        known = event.known.get(job.id)
        if job.is_once and known and (moved_job := _once_moved(job, known, event, now)) is not job:
            job = moved_job
            known = replace(known, definition=definition_of(job), anchor_ns=now.wall_ns)
            records += once_marks(job, now)
        definition = definition_of(job)
        if known is None:
            added.append(job.id)
            new, marks = arm_new(job, definition, 0, now)
            armed.append(new)
            records += marks
            continue
        if is_due_alike(known.definition, definition):
            if known.definition != definition:
                records.append(effects.JobRezoned(job.id, definition))
            moved = _moved(job, known, event)
            going = _put_right(moved, now)
            if going is not moved:
                records.append(effects.JobArmed(job.id, definition, going.since_ns, going.anchor_ns))
            armed.append(_go_on(job, going, event, now))
            armed[-1].pause = _still_paused(known.pause, event, now)
            if armed[-1].pause != known.pause:
                records.append(effects.JobPaused(job.id, armed[-1].pause))
            records += _take_failures(armed[-1], known, event, now)
            continue
        changed.append(job.id)
        new, marks = arm_new(job, definition, _counted(known), now)
        armed.append(new)
        records += marks
        records += _take_failures(new, known, event, now)
        if pause := _still_paused(known.pause, event, now):
            new.pause = replace(pause, left_ns=_left(new, now))
            records.append(effects.JobPaused(job.id, new.pause))
    names = {job.id for job in event.jobs}
    removed = [name for name in event.known if name not in names]
    for name in [*changed, *removed]:
        outbox.subject = name
        what = "changed" if name in names else "removed"
        records += _owed(name, event, now, what)
    outbox.subject = None
    records += [effects.JobRemoved(name) for name in removed]
    records.append(effects.JobsTaken(len(event.jobs), tuple(added), tuple(changed), tuple(removed)))
    return Takeover(armed, records, accounted_ns)


def _accounted(accounted_ns: int, event: events.JobsLoaded, now: Now) -> list[effects.Mark]:
    """Return what is to be put on record anew of how far slots are accounted for."""
    if accounted_ns != event.accounted_ns:
        return [effects.Accounted(accounted_ns, is_anew=event.accounted_ns is not None)]
    ahead = [name for name, until_ns in event.decided.items() if is_clock_put_back(until_ns, now.wall_ns)]
    # Or a later scheduler would take that future for its own past.
    return [effects.SlotsDecided(tuple(ahead), now.wall_ns)] if ahead else []


def _accounted_ns(name: str, event: events.JobsLoaded) -> int | None:
    """Return by when the slots of a job are accounted for; None: this is the first scheduler."""
    return max((ns for ns in (event.accounted_ns, event.decided.get(name)) if ns is not None), default=None)


def _once_moved(job: Job, known: events.JobStanding, event: events.JobsLoaded, now: Now) -> Job:
    """Return a one-off job, moved with the clock if its time was given as a duration."""
    schedule, delta_ns = job.schedule, event.step_ns
    if not isinstance(schedule, Once) or not schedule.is_elapsed:
        return job
    if not delta_ns and is_clock_put_back(known.anchor_ns, now.wall_ns):
        # It was requested by a clock that was hours ahead: how long ago is unknown.
        delta_ns = now.wall_ns - known.anchor_ns
    moved = schedule.moved(delta_ns)
    return job if moved == schedule else replace(job, schedule=moved)


def _take_failures(
    armed: ArmedJob, known: events.JobStanding, event: events.JobsLoaded, now: Now
) -> list[effects.Record | effects.Mark]:
    """Take over the failures of a job, unless they are of another definition, and record what has changed."""
    if known.failures is None:
        return []
    armed.failures = failures_now(known.failures, armed.job, step_ns=event.step_ns, now=now)
    if armed.failures == known.failures:
        return []
    records: list[effects.Record | effects.Mark] = [effects.FailuresNoted(armed.job.id, armed.failures)]
    if known.failures.park and not armed.park:
        records.append(effects.Commanded("unparked", "taskman", armed.job.id, detail=CHANGED))
    return records


def _counted(known: events.JobStanding) -> int:
    """Return how many runs a job had, if they were counted."""
    return known.run_count if '"max_runs"' in known.definition else 0


def _left(armed: ArmedJob, now: Now) -> int | None:
    return max(armed.slot_ns - now.wall_ns, 1) if armed.is_elapsed and armed.slot_ns is not None else None


def _still_paused(pause: Pause | None, event: events.JobsLoaded, now: Now) -> Pause | None:
    """Return a pause, moved with the clock."""
    if pause is None:
        return None
    moved = pause.moved(event.step_ns)
    # A pause that begins in the future was recorded by a clock that has been set back since.
    return moved.moved(min(0, now.wall_ns - moved.since_ns))


def _moved(job: Job, known: events.JobStanding, event: events.JobsLoaded) -> events.JobStanding:
    """Return how a job stands after a step of the clock: slots that count elapsed time move with it."""
    if not event.step_ns or not _is_elapsed(job):
        return known
    finish_ns = None if known.finish_ns is None else known.finish_ns + event.step_ns
    return events.JobStanding(
        known.definition,
        max(known.since_ns, _accounted_ns(job.id, event) or 0) + event.step_ns,
        known.anchor_ns + event.step_ns,
        known.run_count,
        finish_ns,
    )


def _put_right(known: events.JobStanding, now: Now) -> events.JobStanding:
    """Return how a job stands if it was recorded by a clock that was hours ahead: it counts from now."""
    anchor_ns = _anchor(known)
    if not any(is_clock_put_back(ns, now.wall_ns) for ns in (known.since_ns, anchor_ns)):
        return known
    since_ns, anchor_ns = min(known.since_ns, now.wall_ns), min(anchor_ns, now.wall_ns)
    # A slot that was taken early was on that wrong clock.
    return events.JobStanding(known.definition, since_ns, anchor_ns, known.run_count)


def _anchor(known: events.JobStanding) -> int:
    return known.anchor_ns if known.finish_ns is None else known.finish_ns


def _is_elapsed(job: Job) -> bool:
    return ArmedJob(job, 0).is_elapsed


def _go_on(job: Job, known: events.JobStanding, event: events.JobsLoaded, now: Now) -> ArmedJob:
    accounted_ns = _accounted_ns(job.id, event)
    if accounted_ns is None or job.is_once or (event.step_ns and _is_elapsed(job)):
        # The slot of a one-off job is accounted for when it has had its run, not before.
        accounted_ns = known.since_ns  # moved with the clock; slots before it are accounted for
    elif is_clock_put_back(accounted_ns, now.wall_ns) or _is_elapsed(job):
        # Elapsed time goes on while a clock that was set back catches up.
        accounted_ns = min(accounted_ns, now.wall_ns)
    return ArmedJob.of(
        job,
        since_ns=known.since_ns,
        anchor_ns=_anchor(known),
        accounted_ns=max(accounted_ns, known.since_ns),
        run_count=known.run_count,
        taken_ns=known.taken_ns,
    )


def _owed(name: str, event: events.JobsLoaded, now: Now, what: str) -> list[effects.Record | effects.Mark]:
    """Skip the slots that an old definition had while no scheduler was running."""
    known = event.known[name]
    if name in event.set_aside:  # its schedule may be what cannot be computed
        first_ns = max(_accounted_ns(name, event) or known.since_ns, known.since_ns)
        stretch = Stretch(min(first_ns, now.wall_ns), now.wall_ns, None)
        job = Job(name, Reboot("UTC"), ())
        return [skipped(job, stretch, SkipReason.PAUSED, f"paused: {event.set_aside[name]}")]
    try:
        job = job_from(name, known.definition)
    except ScheduleError:  # written by a version that could read it
        return []
    armed = _go_on(job, _put_right(_moved(job, known, event), now), event, now)
    if known.pause and armed.is_elapsed:
        return []  # it stood still
    if armed.slot_ns is None or armed.due_at(armed.slot_ns) > now.wall_ns:
        return []
    passed = Timetable.passed(armed, now.wall_ns)
    first_ns = passed.before.first_ns if passed.before else passed.slots[0][0]
    count: int | None = len(passed.slots)
    if passed.before:
        count = passed.before.count and passed.before.count + len(passed.slots)
    reason = SkipReason.MISSED if armed.job.enabled else SkipReason.DISABLED
    if known.pause and known.pause.covers(passed.slots[-1][1]):
        reason = SkipReason.PAUSED
    stretch = Stretch(first_ns, passed.slots[-1][0], count)
    detail = f"{OWED} {what} while taskman was not running"
    return [replace(skipped(armed.job, stretch, reason, detail), is_owed=True)]
