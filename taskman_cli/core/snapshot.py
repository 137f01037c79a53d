"""Takes the picture that a view shows: plain data, cheap even with a full queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.model import QueueRow, Snapshot, State, WorkerRow

if TYPE_CHECKING:
    from taskman_cli.core.engine import Engine
    from taskman_cli.core.model import Now
    from taskman_cli.core.runs import Attempt


def take_snapshot(
    engine: Engine, now: Now, *, started_ns: int, rows: int, trouble: str | None = None
) -> Snapshot:
    """Return what goes on at `now`, with the next `rows` jobs of the queue."""
    # After a stop no slot starts anything.
    coming = [] if engine.is_stopping else engine.timetable.first(rows)
    queue = [
        QueueRow(armed.job.id, armed.slot_ns, due_ns, armed.job.enabled, armed.job.schedule.text, armed.pause)
        for due_ns, armed in coming
    ]
    paused = [armed for armed in engine.timetable.jobs.values() if armed.pause]
    # Those that stand still are due at no time that is known: last.
    queue += [
        QueueRow(armed.job.id, None, 0, schedule=armed.job.schedule.text, pause=armed.pause)
        for armed in paused
        if armed.slot_ns is None and not armed.is_used_up and not engine.is_stopping
    ][:rows]
    pool = engine.pool
    return Snapshot(
        now=now,
        started_ns=started_ns,
        jobs=len(engine.timetable.jobs),
        max_workers=engine.settings.max_workers,
        queue=tuple(queue),
        workers=tuple(_worker(attempt) for attempt in pool.running.values()),
        ready=pool.ready_count,
        waiting_retries=pool.resting_count,
        recent=engine.metrics.recent(),
        counters=engine.metrics.counters(),
        trouble=trouble,
        stopping=engine.is_stopping,
        draining=engine.is_draining,
        paused=len(paused),
    )


def _worker(attempt: Attempt) -> WorkerRow:
    command = attempt.task.command
    return WorkerRow(
        run=attempt.run.id,
        job=attempt.run.job.id,
        task=attempt.task.id,
        attempt=attempt.number,
        pid=attempt.spawned.pid if attempt.spawned else None,
        started_elapsed_ns=attempt.began_elapsed_ns,
        timeout_ns=attempt.task.execution.timeout_ns,
        note=_NOTES.get(attempt.ending, "") if attempt.ending else "",
        command=command if isinstance(command, str) else " ".join(command),
        trigger=attempt.run.trigger.value,
    )


_NOTES = {State.TIMED_OUT: "timed out, ending", State.CANCELLED: "cancelled, ending"}
