"""Answers to queries, which change nothing: plain data for the replies of `core.protocol`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.snapshot import retries_of, take_snapshot
from taskman_cli.core.engine.waits import resource_rows
from taskman_cli.core.schedule import Reboot
from taskman_cli.core.tuning import Admission

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.conditions import FarWorker, FarWorkers
    from taskman_cli.core.engine.effects import JobsTaken
    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.core.engine.timetable import ArmedJob
    from taskman_cli.core.engine.view import AlarmRow, ExecutorRow
    from taskman_cli.core.engine.waits import Waits

#: The most jobs that one message names.
MOST_NAMED = 10
#: The number of next starts in a status.
NEXT = 10
#: What is told of a job, each with the value that a brief list leaves out.
FIELDS: dict[str, Any] = {
    "job": "", "schedule": "", "state": "", "slot_ns": None, "due_ns": None, "enabled": False, "pause": None,
    "park": None, "running": [], "stopped": [], "unstopped": [], "queued": 0, "waits": [], "tags": [],
    "description": "", "users": [], "once": False, "tasks": [], "removed_tasks": [], "failing": None,
    "retrying": [],
}  # fmt: skip
#: The most waiting attempts of a status, and of one job, that are told of one by one.
MOST_WAITS = 20


def status(engine: Engine, now: Now, *, started_ns: int) -> dict[str, Any]:
    """Return the state of the scheduler: workers, queue and counters."""
    snapshot = take_snapshot(engine, now, started_ns=started_ns, rows=NEXT)
    waits = engine.waits(now)
    wall_of_boot_ns = now.wall_ns - now.elapsed_ns
    return {
        "started_ns": started_ns,
        "now_ns": now.wall_ns,
        "jobs": snapshot.jobs,
        "paused": snapshot.paused,
        "parked": [
            {"job": armed.job.id, **asdict(armed.failures)} for armed in engine.parked if armed.failures
        ],
        "overdue": [{"job": job, "since_ns": since_ns} for job, since_ns in engine.reports.overdue(now)],
        "max_workers": snapshot.max_workers,
        "admission": (Admission.AUTO if engine.pool.gate else Admission.FIXED).value,
        "target": snapshot.target,
        "running": [
            {
                "run": row.run,
                "job": row.job,
                "task": row.task,
                "attempt": row.attempt,
                "pid": row.pid,
                "started_ns": wall_of_boot_ns + row.started_elapsed_ns,
                "timeout_ns": row.timeout_ns,
                "command": row.command,
                "trigger": row.trigger,
                "note": row.note,
                "stopped_ns": row.stopped_ns,
                "executor": row.executor or None,
                "progress": None if row.progress is None else row.progress[0],
                "said": None if row.progress is None else row.progress[1],
            }
            for row in snapshot.workers
        ],
        "ready": snapshot.ready,
        "retries": snapshot.waiting_retries,
        "waiting": [wait.as_json() for wait in engine.first_waits(waits, MOST_WAITS)],
        "resources": resource_rows(engine.pool, waits, now),
        "executors": [_executor(row, wall_of_boot_ns) for row in snapshot.executors],
        "next": [
            {"job": row.job, "slot_ns": row.slot_ns, "due_ns": row.due_ns}
            for row in snapshot.queue
            if row.enabled
            and row.slot_ns is not None
            and not any(hold.covers(row.due_ns) for hold in (row.pause, row.park) if hold)
        ],
        "counters": asdict(snapshot.counters),
        "failing": [_alarm(row) for row in snapshot.alarms],
        "failing_count": snapshot.alarm_count,
        "retrying": [asdict(row) for row in snapshot.retries],
        "stopping": snapshot.stopping,
        "draining": snapshot.draining,
    }


def job_item(
    engine: Engine,
    armed: ArmedJob,
    now: Now,
    removed_tasks: tuple[str, ...] = (),
    *,
    waits: Waits | None = None,
) -> dict[str, Any]:
    """Return the state of one job, with `FIELDS` as keys."""
    job, slot_ns = armed.job, armed.slot_ns
    queued = 0
    running: list[str] = []
    stopped: list[str] = []
    unstopped: list[str] = []
    waiting: list[dict[str, Any]] = []
    retrying: list[dict[str, Any]] = []
    if engine.is_at_work(job.id):  # most are not
        running, queued = engine.runs_of(job.id)
        stopped, unstopped = engine.stopped_runs_of(job.id)
        found = engine.waits_of(job.id, waits or engine.waits(now), MOST_WAITS)
        waiting = [wait.as_json() for wait in found]
        retrying = [asdict(row) for row in retries_of(engine, job.id, now)]
    failing = engine.failing.of(job.id)
    return {
        "job": job.id,
        "schedule": job.schedule.text,
        "state": _state(armed, running, queued),
        "slot_ns": slot_ns,
        "due_ns": None if slot_ns is None else armed.due_at(slot_ns),
        "enabled": job.enabled,
        "pause": None if armed.pause is None else asdict(armed.pause),
        "park": None if armed.park is None else asdict(armed.park),
        "running": running,
        "stopped": stopped,
        "unstopped": unstopped,
        "queued": queued,
        "waits": waiting,
        "tags": list(job.tags),
        "description": job.description,
        "users": list(job.users),
        "once": job.is_once,
        "tasks": [task.id for task in job.tasks],
        "removed_tasks": list(removed_tasks),
        "failing": None if failing is None else asdict(failing),
        "retrying": retrying,
    }


def quiet_item(armed: ArmedJob, removed_tasks: tuple[str, ...]) -> dict[str, Any]:
    """Return the same of a job that is not at work and does not fail, without what is empty.

    Most jobs of a long list are so, and it takes a third of the time.
    """
    job, slot_ns = armed.job, armed.slot_ns
    item: dict[str, Any] = {
        "job": job.id,
        "schedule": job.schedule.text,
        "state": _state(armed, [], 0),
        "tasks": [task.id for task in job.tasks],
    }
    if slot_ns is not None:
        item["slot_ns"], item["due_ns"] = slot_ns, armed.due_at(slot_ns)
    if armed.pause is not None:
        item["pause"] = asdict(armed.pause)
    if armed.park is not None:
        item["park"] = asdict(armed.park)
    if job.enabled:
        item["enabled"] = True
    if job.tags:
        item["tags"] = list(job.tags)
    if job.description:
        item["description"] = job.description
    if users := job.users:
        item["users"] = list(users)
    if job.is_once:
        item["once"] = True
    if removed_tasks:
        item["removed_tasks"] = list(removed_tasks)
    return item


def _state(armed: ArmedJob, running: list[str], queued: int) -> str:
    if running:
        return "running"
    if queued:
        return "queued"
    if armed.pause:
        return "paused"
    if armed.park:
        return "parked"
    if not armed.job.enabled:
        return "disabled"
    return "over" if armed.slot_ns is None else "waiting"


def _executor(row: ExecutorRow, wall_of_boot_ns: int) -> dict[str, Any]:
    since_ns = row.since_elapsed_ns
    return {
        "executor": row.name,
        "type": row.type,
        "state": row.reach.value,
        "since_ns": None if since_ns is None else wall_of_boot_ns + since_ns,
        "error": row.words,
        "running": row.running,
        "max_workers": row.max_workers,
        "waiting": row.waiting,
        "restarts": row.restarts,
        "started": row.starts,
        **{state.value: count for state, count in row.ends},
        "workers": row.workers and _workers(row.workers),
    }


def _workers(workers: FarWorkers) -> dict[str, Any]:
    return {"count": workers.count, **_amounts(workers.total), "first": list(map(_named, workers.first))}


def _named(worker: FarWorker) -> dict[str, Any]:
    return {"worker": worker.name, **_amounts(worker)}


def _amounts(worker: FarWorker) -> dict[str, Any]:
    return {
        "running": worker.running,
        "slots": worker.slots or None,
        "memory_bytes": worker.memory_bytes or None,
        "resources": dict(worker.resources),
    }


def _alarm(row: AlarmRow) -> dict[str, Any]:
    return asdict(row.failing) | {"kind": row.kind, "due_ns": row.due_ns, "note": row.note}


def is_in_state(item: Mapping[str, Any], states: Collection[str]) -> bool:
    """Tell whether a job is in one of the states; a running job may also be paused, parked or disabled."""
    is_paused, is_disabled = item["pause"] is not None, not item["enabled"]
    return (
        item["state"] in states
        or (is_paused and "paused" in states)
        or (item.get("park") is not None and "parked" in states)
        or (is_disabled and "disabled" in states)
    )


def changes_in_words(taken: JobsTaken) -> str:
    """Say in one line what a reload changed."""
    parts = []
    for what in ("added", "changed", "removed"):
        if names := getattr(taken, what):
            named = ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
            parts.append(f"{what} {'job' if len(names) == 1 else f'{len(names):,} jobs'}: {named}")
    if taken.settings:
        parts.append(f"changed settings: {', '.join(taken.settings)}")
    return "; ".join(parts) or "nothing changed"


def next_slots(armed: ArmedJob, count: int) -> list[int]:
    """Return the next slots of a job that will get a run, as far as they are known."""
    slots: list[int] = []
    untils = [hold.until_ns for hold in armed.holds]
    if not armed.job.enabled or None in untils:
        return slots
    slot_ns = armed.slot_ns
    if slot_ns is not None and not armed.has_runs_at(armed.due_at(slot_ns)):
        from_ns = max(until_ns for until_ns in untils if until_ns is not None)
        slot_ns = armed.first_due_after(from_ns - 1, from_ns=slot_ns)
    while slot_ns is not None and len(slots) < count:
        slots.append(slot_ns)
        slot_ns = None if armed.is_from_finish else armed.slot_after(slot_ns)
    return slots


def idle_jobs(engine: Engine) -> list[str]:
    """Return the jobs that are enabled but have had no run and will never have one."""
    return [
        armed.job.id
        for armed in engine.timetable.jobs.values()
        if armed.slot_ns is None
        and armed.job.enabled
        and not armed.run_count
        # A paused interval has no slot for now; with `every_from = "finish"`, neither has a running job.
        and armed.pause is None
        and not engine.unfinished(armed.job.id)
        # It has had its run of this boot.
        and not isinstance(armed.job.schedule, Reboot)
    ]
