"""Arming jobs: how a job gets its first slot, and the marks that put on record how it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine import effects
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.timetable import ArmedJob

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.model import Job


def arm_new(job: Job, definition: str, run_count: int, now: Now) -> tuple[ArmedJob, list[effects.Mark]]:
    """Arm a job that counts from now, and return its marks; `definition`: when it is due, as text."""
    armed = ArmedJob.of(job, since_ns=now.wall_ns, anchor_ns=now.wall_ns, run_count=run_count)
    marks: list[effects.Mark] = [effects.JobArmed(job.id, definition, now.wall_ns, now.wall_ns)]
    if job.policy.max_runs is not None:
        # An earlier job of this name may have left its count on record.
        marks.append(effects.RunsCounted(job.id, run_count))
    return armed, marks


def once_marks(job: Job, now: Now) -> list[effects.Mark]:
    """Return the marks of a one-off job that is new, or whose time has moved with the clock."""
    return [effects.JobArmed(job.id, definition_of(job), 0, now.wall_ns), effects.OnceAdded(job)]


def restate_job(armed: ArmedJob, *, since_ns: int) -> list[effects.Mark]:
    """Return the marks that say how a job stands."""
    job = armed.job
    if armed.slot_ns is not None:
        # It is still to come; with jitter, it may lie before now.
        since_ns = min(since_ns, armed.slot_ns - 1)
    marks: list[effects.Mark] = [
        effects.JobArmed(job.id, definition_of(job), since_ns, armed.anchor_ns, armed.taken_ns)
    ]
    if job.policy.max_runs is not None:
        marks.append(effects.RunsCounted(job.id, armed.run_count))
    if armed.is_from_finish:
        marks.append(effects.IntervalEnded(job.id, armed.anchor_ns))
    if armed.pause:
        marks.append(effects.JobPaused(job.id, armed.pause))
    if armed.failures:
        marks.append(effects.FailuresNoted(job.id, armed.failures))
    return marks
