"""What the next scheduler continues from: how jobs stood, and unfinished runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskman_cli.core.clock import Now
from taskman_cli.core.engine.events import JobStanding
from taskman_cli.core.engine.marks import JobExpected, JobHidden
from taskman_cli.core.engine.runs import decode_run_id, encode_run_id
from taskman_cli.core.model import State, Trigger
from taskman_cli.core.pause import Pause
from taskman_cli.ledger.failures import failures_from
from taskman_cli.ledger.values import MOST_NS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from taskman_cli.core.model import Amounts


@dataclass(frozen=True, slots=True)
class SchedulerStanding:
    """Where the last scheduler stood: the one row of the table `standing`."""

    accounted_ns: int | None
    boot: str | None
    supervisor: int | None
    offset_ns: int | None
    #: Number of the latest run.
    last_run: int
    #: What tells this ledger from all others, in letters and digits.
    identity: str = ""


@dataclass(frozen=True, slots=True)
class OpenAttemptRow:
    """An attempt of an unfinished run, as recorded."""

    task: str
    number: int
    state: State
    supervisor: int
    begun_ns: int
    pid: int | None
    #: When its process was made.
    started: Now | None
    ended_ns: int | None
    next_ns: int | None
    #: The state it was told to end in, and when.
    ending: State | None = None
    told: Now | None = None
    #: Since when it is stopped, and how long it was stopped before that.
    stopped: Now | None = None
    stopped_ns: int = 0
    #: What it holds of the resources.
    holds: Amounts = ()
    #: By which its executor finds it again; "": it is a command here.
    handle: str = ""


@dataclass(frozen=True, slots=True)
class OpenRunRow:
    """An unfinished run, as recorded."""

    run: str
    job: str
    slot_ns: int | None
    trigger: Trigger
    is_cancelled: bool
    attempts: tuple[OpenAttemptRow, ...]
    task: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    #: By how much the clock was set while it waited.
    moved_ns: int = 0
    #: It was told that it takes long; and that it has begun, if no attempt says so.
    is_slow: bool = False
    is_told: bool = False


def read_scheduler(connection: sqlite3.Connection) -> SchedulerStanding:
    """Return where the last scheduler stood."""
    row = connection.execute(
        "SELECT accounted_ns, boot, supervisor, offset_ns,"
        " max(last_run, (SELECT coalesce(max(id), 0) FROM runs)), identity FROM standing"
    ).fetchone()
    accounted_ns, boot, supervisor, offset_ns, last_run, identity = row
    plain = "".join(one for one in str(identity or "") if one.isascii() and one.isalnum())
    return SchedulerStanding(accounted_ns, boot, supervisor, offset_ns, last_run, plain)


def read_jobs(connection: sqlite3.Connection) -> dict[str, JobStanding]:
    """Return the jobs that were in force, by name."""
    rows = connection.execute(
        "SELECT name, definition, since_ns, anchor_ns, run_count, finish_ns, pause, taken_ns, failures,"
        " expected FROM job_state WHERE removed_ns IS NULL"
    )
    return {
        name: JobStanding(
            definition,
            since_ns,
            anchor_ns,
            run_count,
            finish_ns,
            Pause(**json.loads(pause)) if pause else None,
            taken_ns,
            failures_from(failures),
            None if expected is None else JobExpected(name, *json.loads(expected)),
        )
        for (
            name,
            definition,
            since_ns,
            anchor_ns,
            run_count,
            finish_ns,
            pause,
            taken_ns,
            failures,
            expected,
        ) in rows
    }


def read_decided(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the jobs whose slots are accounted for by a later instant than those of all."""
    return dict(connection.execute("SELECT job, until_ns FROM decided"))


def read_rates(connection: sqlite3.Connection) -> dict[str, Now]:
    """Return when the rate of each resource has recovered, see `RateUsed`."""
    rows = connection.execute("SELECT resource, full_ns, full_elapsed_ns FROM rates")
    return {resource: Now(full_ns, full_elapsed_ns) for resource, full_ns, full_elapsed_ns in rows}


def read_successes(connection: sqlite3.Connection) -> dict[str, int]:
    """Return when the last success of each job ended, where that is known and can be true."""
    return dict(
        connection.execute(
            "SELECT name, success_ns FROM job_state WHERE removed_ns IS NULL"
            " AND typeof(success_ns) = 'integer' AND success_ns BETWEEN 1 AND ?",
            (MOST_NS,),
        )
    )


def read_needs(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Return how much memory the tasks of jobs that are in force need, as far as that is readable."""
    rows = connection.execute(
        "SELECT name, task, need_bytes FROM needs JOIN job_state ON job_state.id = job"
        " WHERE removed_ns IS NULL AND typeof(task) = 'text' AND typeof(need_bytes) = 'integer'"
        " AND need_bytes > 0"
    )
    return {(job, task): need_bytes for job, task, need_bytes in rows}


def read_hidden(connection: sqlite3.Connection) -> dict[str, JobHidden]:
    """Return what `taskman remove` left out, by job."""
    hidden = {}
    for name, text in connection.execute("SELECT name, hidden FROM job_state WHERE hidden IS NOT NULL"):
        what = json.loads(text)
        hidden[name] = JobHidden(name, () if what is True else tuple(what), is_all=what is True)
    return hidden


def read_open_runs(connection: sqlite3.Connection) -> list[OpenRunRow]:
    """Return the unfinished runs, oldest first."""
    rows = connection.execute(
        "SELECT runs.id, name, slot_ns, trigger, is_cancelled, task, params, moved_ns,"
        " slow_ns, told_ns FROM runs"
        " JOIN job_state ON job_state.id = job WHERE state IN ('queued', 'running') ORDER BY runs.id"
    ).fetchall()
    return [
        OpenRunRow(
            encode_run_id(run), job, slot_ns, Trigger(trigger), bool(cancelled),
            _attempts(connection, run), task, json.loads(params or "{}"), moved_ns or 0,
            slow_ns is not None, told_ns is not None,
        )
        for run, job, slot_ns, trigger, cancelled, task, params, moved_ns, slow_ns, told_ns in rows
    ]  # fmt: skip


def read_over(connection: sqlite3.Connection, runs: Iterable[str]) -> frozenset[str]:
    """Return which of these runs are over on record."""
    query = "SELECT EXISTS (SELECT 1 FROM runs WHERE id = ? AND state NOT IN ('queued', 'running'))"
    return frozenset(run for run in runs if connection.execute(query, (decode_run_id(run),)).fetchone()[0])


def _attempts(connection: sqlite3.Connection, run: int) -> tuple[OpenAttemptRow, ...]:
    rows = connection.execute(
        "SELECT task, number, state, supervisor, begun_ns, pid, started_ns, started_elapsed_ns, ended_ns,"
        " next_ns, ending, told_ns, told_elapsed_ns, stop_ns, stop_elapsed_ns, stopped_for_ns,"
        " holds, handle FROM attempts WHERE run = ? ORDER BY task, number",
        (run,),
    )
    return tuple(_attempt_row(*row) for row in rows)


def _attempt_row(
    task: str, number: int, state: str, supervisor: int, begun_ns: int, pid: int | None,
    started_ns: int | None, started_elapsed_ns: int | None, ended_ns: int | None, next_ns: int | None,
    ending: str | None, told_ns: int | None, told_elapsed_ns: int | None,
    stop_ns: int | None, stop_elapsed_ns: int | None, stopped_for_ns: int | None,
    holds: str | None, handle: str | None,
) -> OpenAttemptRow:  # fmt: skip
    return OpenAttemptRow(
        task, number, State(state), supervisor, begun_ns, pid, _now(started_ns, started_elapsed_ns),
        ended_ns, next_ns, State(ending) if ending else None, _now(told_ns, told_elapsed_ns),
        _now(stop_ns, stop_elapsed_ns), stopped_for_ns or 0, tuple(json.loads(holds or "{}").items()),
        handle or "",
    )  # fmt: skip


def _now(wall_ns: int | None, elapsed_ns: int | None) -> Now | None:
    return None if wall_ns is None or elapsed_ns is None else Now(wall_ns, elapsed_ns)
