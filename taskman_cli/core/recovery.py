"""Rebuilds the unfinished runs of an earlier scheduler from what the supervisor remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.model import Execution, Job, State, Task
from taskman_cli.core.runs import Attempt, Run
from taskman_cli.core.schedule import Reboot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taskman_cli.core.events import SeenAttempt


def rebuild(
    seen_attempts: Iterable[SeenAttempt], jobs: Mapping[str, Job]
) -> list[tuple[Attempt, SeenAttempt]]:
    """Return the latest attempt of each task of each run, as running, with what was seen of it.

    Ends are not applied: the caller takes them as if they came just now. An attempt with an end that the
    earlier scheduler knew is so taken twice, which leads to the same state: the retry or the next task it
    asked for had not begun, or it would be the latest. Jobs and tasks that are no longer defined get a
    stand-in, so that their runs end.
    """
    runs: dict[str, Run] = {}
    latest: dict[tuple[str, str], SeenAttempt] = {}
    for seen in seen_attempts:
        run = runs.get(seen.run)
        if run is None:
            job = jobs.get(seen.job) or Job(seen.job, Reboot("UTC"), ())
            order_ns = seen.started.wall_ns if seen.slot_ns is None else seen.slot_ns
            run = Run(seen.run, job, seen.slot_ns, seen.trigger, order_ns, State.RUNNING, list(job.tasks))
            runs[run.id] = run
        run.keys.append(seen.key)
        known = latest.get((seen.run, seen.task))
        if known is None or known.number < seen.number:
            latest[seen.run, seen.task] = seen
    rebuilt = []
    for seen in latest.values():
        run = runs[seen.run]
        task = next((task for task in run.pending if task.id == seen.task), None)
        if task is not None:
            run.pending.remove(task)
        attempt = Attempt.of(run, task or Task(seen.task, (), Execution()), seen.number)
        attempt.began_elapsed_ns = seen.started.elapsed_ns
        run.attempts[attempt.task.id] = attempt
        rebuilt.append((attempt, seen))
    return rebuilt
