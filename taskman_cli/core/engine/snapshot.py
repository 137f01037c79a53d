"""Takes the snapshot that a view shows: plain data, cheap even with a full queue."""

from __future__ import annotations

from heapq import nsmallest
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from taskman_cli.core.engine.view import AlarmRow, QueueRow, RetryRow, Snapshot, WorkerRow
from taskman_cli.core.executors import kind_and_name
from taskman_cli.core.model import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.core.engine.news import FilesNote
    from taskman_cli.core.engine.runs import Attempt
    from taskman_cli.core.engine.timetable import ArmedJob
    from taskman_cli.core.engine.view import Depth, ExecutorRow, Failing, SinkRow


def take_snapshot(
    engine: Engine,
    now: Now,
    *,
    started_ns: int,
    rows: int,
    trouble: str | None = None,
    files: FilesNote | None = None,
    sinks: tuple[SinkRow, ...] = (),
    queues: Sequence[Depth] = (),
) -> Snapshot:
    """Return what goes on at `now`, with the next `rows` jobs of the queue."""
    # After a stop no slot starts anything.
    # Of all jobs only those are looked at that are shown or held: there may be a hundred thousand.
    paused = engine.timetable.paused()
    queue, more = ([], 0) if engine.is_stopping else _queue(engine, paused, rows)
    pool, executors = engine.pool, executor_rows(engine)
    # Parked jobs first: `among` has sorted them by the rest.
    failing = sorted(
        engine.failing.among(engine.timetable.jobs),
        key=lambda row: engine.timetable.jobs[row.job].park is None,
    )
    return Snapshot(
        now=now,
        started_ns=started_ns,
        jobs=len(engine.timetable.jobs),
        max_workers=pool.seats,
        queue=tuple(queue),
        workers=tuple(
            _worker(attempt, now, engine) for attempt in pool.running.values() if not attempt.is_early
        ),
        ready=pool.ready_count,
        target=None if pool.gate is None else pool.target.value(now.elapsed_ns, pool.memory.tuning),
        waits=_first_wait(engine, now) if pool.ready_count else "",
        waiting_retries=pool.resting_count,
        recent=engine.metrics.recent(),
        counters=engine.metrics.counters(),
        trouble=trouble,
        files=files,
        queue_more=more,
        queues=tuple(queues),
        executors=executors if len(executors) > 1 else (),
        stopping=engine.is_stopping,
        draining=engine.is_draining,
        paused=len(paused),
        parked=len(engine.parked),
        alarms=tuple(_alarm(engine, row, now) for row in failing[:rows]),
        alarm_count=len(failing),
        sinks=sinks,
        retries=tuple(_retry(attempt, due_ns, now) for due_ns, attempt in islice(pool.resting(), rows)),
    )


def executor_rows(engine: Engine) -> tuple[ExecutorRow, ...]:
    """Return how all executors stand, `local` first."""
    pool, settings = engine.pool, engine.settings
    return pool.abroad.rows(
        settings,
        held=pool.resources.held,
        early=pool.early.attempts.values(),
        busy=pool.busy_count,
        ready=pool.ready_count,
    )


def retries_of(engine: Engine, job: str, now: Now) -> list[RetryRow]:
    """Return the attempts of a job that rest until their next try, the first one first."""
    found = [
        _retry(attempt, due_ns, now)
        for attempt in engine.attempts_of(job)
        if (due_ns := engine.pool.rests_until(attempt)) is not None
    ]
    return sorted(found, key=attrgetter("due_ns"))


def _retry(attempt: Attempt, due_elapsed_ns: int, now: Now) -> RetryRow:
    retry = attempt.number - 1
    return RetryRow(
        run=attempt.run.id,
        job=attempt.run.job.id,
        task=attempt.task.id,
        attempt=attempt.number,
        retry=retry,
        # An attempt that was lost is repeated however many retries the task has.
        most=max(attempt.task.execution.retry.max, retry),
        due_ns=now.wall_ns + max(0, due_elapsed_ns - now.elapsed_ns),
    )


def _alarm(engine: Engine, failing: Failing, now: Now) -> AlarmRow:
    """Say when a job that fails next runs, or why it does not."""
    armed, resting = engine.timetable.jobs[failing.job], retries_of(engine, failing.job, now)
    due_ns, note = None, ""
    if resting:
        due_ns, note = resting[0].due_ns, resting[0].words
    elif engine.runs_of(failing.job)[0]:
        note = "running"
    elif armed.pause is not None:
        note = "paused"
    elif armed.park is not None:
        note = "parked"
    elif not armed.job.enabled:
        note = "disabled"
    elif armed.slot_ns is not None:
        due_ns = armed.due_at(armed.slot_ns)
    return AlarmRow("failing", failing, due_ns, note)


def _first_wait(engine: Engine, now: Now) -> str:
    return "".join(wait.reason for wait in engine.first_waits(engine.waits(now), 1))


def _queue(engine: Engine, paused: list[ArmedJob], rows: int) -> tuple[list[QueueRow], int]:
    """Return the jobs that start next, after them paused, parked and disabled ones; and how many more."""
    timetable = engine.timetable
    coming = timetable.coming(rows)
    shown = {armed.job.id for _, armed in coming}
    still = {armed.job.id: armed for armed in (*paused, *engine.parked)}
    waiting = (
        (armed.slot_ns is None, 0 if armed.slot_ns is None else armed.due_at(armed.slot_ns), armed)
        for armed in still.values()
        if armed.job.id not in shown and not armed.is_used_up
    )
    # Jobs that stand still have no due time: they come last.
    held = [(due_ns, armed) for _, due_ns, armed in nsmallest(rows, waiting, key=_held_order)]
    disabled = [found for found in timetable.first(rows) if not found[1].job.enabled and not found[1].holds]
    found = [
        QueueRow(
            armed.job.id, armed.slot_ns, due_ns, armed.job.enabled, armed.job.schedule.text, armed.pause,
            armed.park,
        )
        for due_ns, armed in (*coming, *held, *disabled)
    ]  # fmt: skip
    without_slot = sum(armed.slot_ns is None and not armed.is_used_up for armed in still.values())
    return found, max(0, timetable.due_count() + without_slot - len(found))


def _held_order(row: tuple[bool, int, ArmedJob]) -> tuple[bool, int, str]:
    return row[0], row[1], row[2].job.id


def _worker(attempt: Attempt, now: Now, engine: Engine) -> WorkerRow:
    executors, stops_to = engine.settings.executors, engine.timetable.stops_to(attempt.run.job.id)
    command = attempt.task.command
    return WorkerRow(
        run=attempt.run.id,
        job=attempt.run.job.id,
        task=attempt.task.id,
        attempt=attempt.number,
        pid=attempt.pid,
        started_elapsed_ns=attempt.began_elapsed_ns,
        timeout_ns=attempt.task.execution.timeout_ns,
        note=_note(attempt, stops_to),
        command=command if isinstance(command, str) else " ".join(command),
        trigger=attempt.run.trigger.value,
        stopped_ns=attempt.stopped_until_ns(now.elapsed_ns),
        executor=kind_and_name(attempt.executor, executors) if attempt.is_remote else "",
        progress=attempt.progress,
    )


def _note(attempt: Attempt, stops_to: int | None) -> str:
    """Return what is unusual about a running command; "": nothing."""
    if attempt.is_stuck:
        return "does not end after KILL"
    if attempt.ending is not None:
        return _NOTES.get(attempt.ending, "")
    if attempt.unheard:
        return f"no answer: {attempt.unheard}"
    if attempt.stopped:
        return "stopped"
    return "goes on: it cannot be stopped" if attempt.goes_on(stops_to) else ""


_NOTES = {State.TIMED_OUT: "timed out, ending", State.CANCELLED: "cancelled, ending"}
