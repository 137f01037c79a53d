"""`taskman history`: past runs and skipped slots, from the ledger."""

from __future__ import annotations

import json
import os
import time
from functools import lru_cache
from itertools import islice
from signal import Signals
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from taskman_cli.cli.options.arguments import WholeNumber, not_found, since_ns
from taskman_cli.cli.options.choice import OneOf
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_tasks
from taskman_cli.cli.options.instance import ledger_of, with_directory
from taskman_cli.cli.options.zones import shown_zone, zone_heading
from taskman_cli.cli.render import column_time, flush, note, show_array, show_rows
from taskman_cli.cli.support.reply_times import AHEAD
from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.engine.policy import is_clock_put_back
from taskman_cli.core.engine.runs import attempt_key, encode_run_id
from taskman_cli.core.model import State
from taskman_cli.errors import EXIT_FAILED
from taskman_cli.ui.amounts import countdown, duration

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from datetime import tzinfo
    from pathlib import Path

    from taskman_cli.ledger.queries.history import AttemptRow, Filter, RunRow, SkipRow

_COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "timed out": "magenta",
    "cancelled": "magenta",
    "lost": "red",
    "running": "cyan",
    "queued": "cyan",
    "skipped": "cyan",
}
#: What the states of a row mean.
_STATES: dict[str, str] = {
    State.QUEUED: "waits for a worker or its turn",
    State.RUNNING: "has a process",
    State.SUCCEEDED: "ended well",
    State.FAILED: "ended with another exit code, or by a signal",
    State.TIMED_OUT: "was ended by its timeout",
    State.CANCELLED: "was cancelled",
    State.LOST: "nobody saw it end",
    State.SKIPPED: "a slot without a run",
}


@click.command(
    "history",
    cls=Command,
    examples={
        "taskman history": "",
        "taskman history --since 24h --state failed": "",
        "taskman history backup -n 5 --json": "",
    },
)
@click.argument("job", metavar="[JOB[.TASK]]", required=False, shell_complete=complete_tasks)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=OneOf(State, _STATES),
    metavar="STATE",
    help=f"Only rows in this state: {', '.join(State)}. May be repeated.",
)
@click.option(
    "--since",
    metavar="TIME",
    help='Only rows queued or skipped since this time: "2h" for two hours ago, or ISO 8601.',
)
@click.option(
    "-n",
    "--count",
    default=20,
    show_default=True,
    type=WholeNumber(),
    metavar="N",
    help="Number of rows; 0: all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array with one row per line.")
@with_directory
def history(
    *,
    directory: Path,
    job: str | None,
    states: tuple[str, ...],
    since: str | None,
    count: int,
    as_json: bool,
) -> int:
    """Show past runs and skipped slots, newest first.

    Each row is one attempt of a task, a run that has not begun, or a series of equal skips. Runs are sorted
    by the time at which they were queued.
    """
    from taskman_cli.ledger.queries.history import history as rows_of
    from taskman_cli.ledger.rowtypes import RowFilter

    unreadable = RowFilter()
    now_ns = time.time_ns()
    zone = shown_zone(directory)
    start_ns = None if since is None else since_ns(since, now_ns=now_ns, zone=zone)
    with ledger_of(directory) as ledger:
        wanted = _filter(ledger, job, frozenset(map(State, states)), start_ns)
        found = rows_of(ledger, wanted, unreadable)
        if count:
            # Read all of them now: a slow reader of our output must not keep the ledger open.
            found = iter(list(islice(found, count)))
        if as_json:
            state_directory = str(directory.absolute())
            show_array(history_item(row, state_directory, now_ns) for row in found)
        elif (first := next(found, None)) is None:
            note("nothing found")
        else:
            rows = (history_row(row, now_ns, zone) for part in ((first,), found) for row in part)
            show_rows(rows, right=frozenset({3}), elastic=1, colours=_COLOURS, heading=zone_heading(zone))
    return _tell_unreadable(unreadable.count)


def _tell_unreadable(count: int) -> int:
    """Report how many rows were unreadable; return the exit code."""
    if not count:
        return 0
    flush()
    rows = "1 row" if count == 1 else f"{count:,} rows"
    note(f"{rows} could not be read: no version of taskman wrote them (see `taskman doctor`)")
    return EXIT_FAILED


def _filter(
    ledger: sqlite3.Connection, target: str | None, states: frozenset[State], start_ns: int | None
) -> Filter:
    from taskman_cli.ledger.queries.attempts import latest_begun, tasks_of
    from taskman_cli.ledger.queries.history import Filter
    from taskman_cli.ledger.queries.reader import find_job, job_names

    if target is None:
        return Filter(states=states, since_ns=start_ns)
    name, dot, task = target.partition(".")
    job = find_job(ledger, name)
    if job is None:
        raise not_found("the ledger has no job", name, job_names(ledger))
    if dot:
        tasks = tasks_of(ledger, job.id)
        if task not in tasks and latest_begun(ledger, job.id, task=task) is None:
            raise not_found(f"no run of {job.name} has started a task", task, tasks)
    return Filter(job.id, task if dot else None, states, start_ns)


# --- as JSON ---


def history_item(row: RunRow | SkipRow, directory: str, now_ns: int) -> dict[str, object]:
    """Return the JSON object of a row; every row has the same keys."""
    from taskman_cli.ledger.queries.history import SkipRow

    slot = _moment(row.slot_ns, _zone(row.definition))
    item: dict[str, Any] = dict.fromkeys(_KEYS)
    item |= {"run": None if row.run is None else encode_run_id(row.run), "job": row.job, "slot": slot}
    item["clock_was_ahead"] = is_clock_put_back(row.recorded_ns, now_ns)
    if isinstance(row, SkipRow):
        return item | {
            "slot_to": _moment(row.slot_to_ns, _zone(row.definition)),
            "count": row.count,
            "state": State.SKIPPED,
            "reason": row.reason,
            "detail": row.detail,
            "queued_at": _moment(row.at_ns),
        }
    item |= {
        "state": row.state,
        "reason": row.detail,
        "detail": row.detail,
        "trigger": row.trigger,
        "queued_at": _moment(row.queued_ns),
    }
    if row.attempt is None:
        return item
    attempt = row.attempt
    return item | {
        "task": attempt.task,
        "state": attempt.state,
        "reason": attempt.detail,
        "detail": attempt.detail,
        "attempt": attempt.number,
        "started_at": None
        if _was_never_started(attempt)
        else _moment(attempt.started_ns or attempt.begun_ns),
        "ended_at": _moment(attempt.ended_ns),
        "duration_s": None if attempt.duration_ns is None else attempt.duration_ns / SECOND_NS,
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "cpu_s": None if attempt.cpu_s is None else round(attempt.cpu_s, 6),
        "output": _output(row, directory),
        "output_error": attempt.output_error,
        "stopped_at": _moment(attempt.stop_ns),
        "stopped_s": (attempt.stopped_for_ns or 0) / SECOND_NS,
    }


def _was_never_started(attempt: AttemptRow) -> bool:
    """Tell if an attempt was cancelled before it had a process."""
    return attempt.state == State.CANCELLED and attempt.started_ns is None


_KEYS = (
    "run", "job", "task", "slot", "slot_to", "count", "state", "reason", "detail", "trigger", "attempt",
    "queued_at", "started_at", "ended_at", "duration_s", "exit_code", "signal", "cpu_s", "output",
    "output_error", "stopped_at", "stopped_s", "clock_was_ahead",
)  # fmt: skip


def _moment(at_ns: int | None, zone: tzinfo | None = None) -> str | None:
    return None if at_ns is None else wall_time(at_ns, zone).isoformat()


@lru_cache(maxsize=1024)
def _zone(definition: str) -> tzinfo | None:
    """Return the zone of a job's slots; None, the machine's, if it has none or an unknown one."""
    try:
        name = json.loads(definition).get("timezone")
        return ZoneInfo(name) if name else None
    except (KeyError, OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _output(row: RunRow, directory: str) -> str | None:
    """Return the file of an attempt's output, if it exists."""
    assert row.attempt is not None
    if row.attempt.output_bytes == 0:
        return None
    key = attempt_key(encode_run_id(row.run), row.attempt.task, row.attempt.number)
    path = f"{directory}/output/{row.job}/{key}.log"
    return path if os.path.exists(path) else None  # noqa: PTH110 - a Path costs more than the call


# --- as a table ---


def history_row(row: RunRow | SkipRow, now_ns: int, zone: tzinfo | None) -> tuple[str, ...]:
    """Return the cells of a row, with a note if the clock was ahead when it was recorded."""
    *cells, words = _cells(row, now_ns, zone)
    if is_clock_put_back(row.recorded_ns, now_ns):
        words = f"{AHEAD}, {words}" if words else AHEAD
    return *cells, words


def _cells(row: RunRow | SkipRow, now_ns: int, zone: tzinfo | None) -> tuple[str, ...]:
    """Return the cells of a row: time, job, state, duration, run, and a description.

    A skip without a run has fewer cells, so that its description comes right after the state.
    """
    from taskman_cli.ledger.queries.history import SkipRow

    run = "" if row.run is None else encode_run_id(row.run)
    if isinstance(row, SkipRow):
        beginning = (column_time(row.at_ns, now_ns=now_ns, zone=zone), row.job, "skipped")
        return (*beginning, "", run, _skip_words(row)) if run else (*beginning, _skip_words(row))
    attempt = row.attempt
    if attempt is None:
        return (
            column_time(row.queued_ns, now_ns=now_ns, zone=zone),
            row.job,
            _word(row.state),
            "",
            run,
            row.detail or "",
        )
    begun_ns = attempt.started_ns or attempt.begun_ns
    took_ns = now_ns - begun_ns if attempt.state is State.RUNNING else attempt.duration_ns
    return (
        column_time(begun_ns, now_ns=now_ns, zone=zone),
        row.job if attempt.task == "main" else f"{row.job}.{attempt.task}",
        _word(attempt.state),
        "" if took_ns is None or took_ns < 0 else duration(took_ns),
        run,
        ", ".join(_attempt_words(row, now_ns)),
    )


def _word(state: State) -> str:
    return state.value.replace("_", " ")


def _attempt_words(row: RunRow, now_ns: int) -> Iterator[str]:
    attempt = row.attempt
    assert attempt is not None
    if attempt.detail:
        yield attempt.detail
    elif attempt.signal:
        yield f"killed by {_signal_name(attempt.signal)}"
    if attempt.output_error:
        yield "output lost"
    if attempt.stop_ns is not None and attempt.state is State.RUNNING:
        yield f"stopped for {duration(now_ns - attempt.stop_ns)}"
    elif attempt.stopped_for_ns:
        yield f"stopped for {duration(attempt.stopped_for_ns)} of it"
    if attempt.number > 1:
        yield f"attempt {attempt.number}"
    if attempt.next_ns is not None and row.ended_ns is None and attempt.next_ns > now_ns:
        yield f"retry {countdown(attempt.next_ns - now_ns)}"


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def _skip_words(row: SkipRow) -> str:
    """Return the reason of a skip, the number of its slots, and the detail."""
    match row.count:
        case 1:
            head = row.reason
        case None:
            head = f"{row.reason}, too many slots to count"
        case count:
            head = f"{row.reason}, {count:,} slots"
    return f"{head}: {row.detail}" if row.detail and row.detail != row.reason else head
