"""Rebuilds the unfinished runs of an earlier scheduler from what the supervisor remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.model import Execution, Job, State, Task
from taskman_cli.core.runs import Attempt, Run
from taskman_cli.core.schedule import Reboot

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from taskman_cli.core.events import SeenAttempt
    from taskman_cli.core.timetable import ArmedJob


def rebuild(
    seen_attempts: Iterable[SeenAttempt], jobs: Mapping[str, ArmedJob], told: Collection[str]
) -> list[tuple[Attempt, SeenAttempt]]:
    """Return the latest attempt of each task of each run, as running, with what was seen of it.

    Ends are not applied: the caller takes them as if they came just now. An end that the earlier scheduler
    knew leads to the same state once more: the retry or the next task it asked for had not begun, or it would
    be the latest; where it is on record (`told`), it is not recorded again. Jobs and tasks that are no longer
    defined get a stand-in, so that their runs still end.
    """
    runs: dict[str, Run] = {}
    latest: dict[tuple[str, str], SeenAttempt] = {}
    for seen in seen_attempts:
        if seen.run not in runs:
            runs[seen.run] = _rebuild_run(seen, jobs.get(seen.job))
        if seen.key in told:
            runs[seen.run].told.add(seen.key)
        known = latest.get((seen.run, seen.task))
        if known is None or known.number < seen.number:
            latest[seen.run, seen.task] = seen
    return [(_rebuild_attempt(runs[seen.run], seen), seen) for seen in latest.values()]


def _rebuild_run(seen: SeenAttempt, armed: ArmedJob | None) -> Run:
    job = armed.job if armed else Job(seen.job, Reboot("UTC"), ())
    due_ns = armed.due_at(seen.slot_ns) if armed and seen.slot_ns is not None else seen.started.wall_ns
    return Run(seen.run, job, seen.slot_ns, seen.trigger, due_ns, State.RUNNING, list(job.tasks))


def _rebuild_attempt(run: Run, seen: SeenAttempt) -> Attempt:
    task = next((task for task in run.job.tasks if task.id == seen.task), None)
    attempt = Attempt.of(run, task or Task(seen.task, (), Execution()), seen.number)
    run.pending = [other for other in run.pending if other.id != seen.task]
    attempt.began_elapsed_ns = seen.started.elapsed_ns
    attempt.has_begun = True
    attempt.ending = seen.ending
    run.is_cancelled = run.is_cancelled or seen.ending is State.CANCELLED
    run.attempts[seen.task] = attempt
    run.keys[seen.task] = seen.key
    return attempt
