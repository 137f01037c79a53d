"""`taskman list`: the jobs of the running scheduler, one per line, with their latest results."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from taskman_cli.cli.options.arguments import WholeNumber
from taskman_cli.cli.options.choice import OneOf, SomeOf
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_jobs, complete_tags
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.zones import shown_zone, zone_heading
from taskman_cli.cli.render import as_users, note, show_array, show_rows
from taskman_cli.cli.support.last_result import SIGN_COLOURS, read_results, result_item, result_words
from taskman_cli.cli.support.reply_times import Documents, parked, until
from taskman_cli.cli.support.scheduler_client import list_jobs
from taskman_cli.control.client import connect
from taskman_cli.core.collector import without_collections
from taskman_cli.core.protocol import ListJobs
from taskman_cli.ui.amounts import countdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import tzinfo
    from pathlib import Path

    from taskman_cli.ledger.queries.results import LastResult

T = TypeVar("T")

#: The states of a job; a running job may also be paused, parked or disabled, and any may be failing.
STATES = {
    "running": "has a running run",
    "queued": "has a run that waits for a worker or its turn",
    "paused": "has no new runs until it is resumed",
    "parked": "has no new runs because it failed too often",
    "disabled": "has enabled = false",
    "waiting": "waits for its next slot",
    "over": "has no slot any more",
    "failing": "its last run failed",
}

#: What --json prints of a job, and under which name the scheduler has it; None: it is from the ledger.
FIELDS = {
    "job": "job", "schedule": "schedule", "state": "state", "slot": "slot_ns", "due": "due_ns",
    "enabled": "enabled", "pause": "pause", "park": "park", "running": "running", "stopped": "stopped",
    "unstopped": "unstopped",
    "queued": "queued", "waits": "waits", "tags": "tags", "description": "description", "users": "users",
    "once": "once", "tasks": "tasks", "removed_tasks": "removed_tasks", "failing": "failing",
    "retrying": "retrying", "last": None,
}  # fmt: skip

#: More jobs than this are never asked for.
_MOST = 1_000_000
_COLOURS = {"running": "cyan", "queued": "cyan", "paused": "yellow", "parked": "red"} | SIGN_COLOURS


@click.command(
    "list",
    cls=Command,
    examples={
        "taskman list": "",
        "taskman list --state failing": "",
        "taskman list --tag web --json --fields job,state,due": "",
    },
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    shell_complete=complete_tags,
    help="Only jobs with this tag. May be repeated.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=OneOf(STATES, STATES),
    metavar="STATE",
    help=f"Only jobs in this state: {', '.join(STATES)}. May be repeated.",
)
@click.option("--once", "is_once", is_flag=True, help="Only one-off jobs, made with `taskman once`.")
@click.option(
    "--after",
    metavar="JOB",
    shell_complete=complete_jobs,
    help="Only jobs that come after this one in the order of the job file, one-off jobs last.",
)
@click.option("--limit", type=WholeNumber(least=1, most=_MOST), metavar="N", help="At most this many jobs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array with one job per line.")
@click.option(
    "--fields",
    type=SomeOf(FIELDS),
    metavar="FIELDS",
    help=f"With --json: only these fields of each job, separated by commas: {', '.join(FIELDS)}.",
)
@with_running_directory
def list_(
    *,
    directory: Path,
    tags: tuple[str, ...],
    states: tuple[str, ...],
    is_once: bool,
    after: str | None,
    limit: int | None,
    as_json: bool,
    fields: tuple[str, ...] | None,
) -> None:
    """List the jobs with their state, next start and latest result.

    LAST is how the latest run ended, how long ago, and how long it took; of a job that fails, how many runs
    in a row failed, and why. Parked jobs come first, then those that fail, then the others by name. With
    --json, jobs are in the order of the job file, one-off jobs of `taskman once` last.
    """
    if fields and not as_json:
        raise click.UsageError("--fields chooses fields of --json: add it, or leave this out")
    request = ListJobs(
        tags=[*tags], states=[*states], once=is_once, after=after, limit=limit, brief=True,
        fields=_asked_for(fields, states) if as_json else [*_SHOWN],
    )  # fmt: skip
    with without_collections():
        if as_json:
            jobs = _jobs(directory, request, Documents())
            last = read_results(directory) if jobs and (not fields or "last" in fields) else {}
            _print_json(jobs, last, fields)
            return
        is_all = not (tags or states or is_once or after or limit is not None)
        _print_table(directory, request, nothing="there are no jobs" if is_all else "nothing found")


def _print_json(
    jobs: list[dict[str, Any]], last: dict[str, LastResult], fields: tuple[str, ...] | None
) -> None:
    items = (job | {"last": result_item(last.get(job.get("job", "")))} for job in jobs)
    show_array({name: item.get(name) for name in fields} if fields else item for item in items)


class _Line(NamedTuple):
    """What the table says of a job, without its latest result."""

    #: Lines are in the order of these.
    order: tuple[object, ...]
    before: tuple[str, str, str]
    failing: dict[str, Any] | None
    after: tuple[str, ...]
    #: The note says when something ends.
    has_end: bool


def _print_table(directory: Path, request: ListJobs, *, nothing: str) -> None:
    now_ns = time.time_ns()
    zone = shown_zone(directory)
    lines = _jobs(directory, request, lambda job: _line(job, now_ns, zone))
    if not lines:
        note(nothing)
        return
    last = read_results(directory)
    lines.sort(key=itemgetter(0))
    rows = [
        (*before, result_words(last.get(before[0]), failing, now_ns=now_ns), *after)
        for _, before, failing, after, _ in lines
    ]
    has_notes = any(len(row) > len(_COLUMNS) for row in rows)
    show_rows(
        rows,
        elastic=3,
        spare=(4, 2),
        colours=_COLOURS,
        # Only the end of a pause or a park is a time.
        heading=zone_heading(zone) if any(line.has_end for line in lines) else "",
        columns=(*_COLUMNS, "NOTE") if has_notes else _COLUMNS,
        is_name_whole=True,
    )


def _asked_for(fields: tuple[str, ...] | None, states: tuple[str, ...]) -> list[str]:
    """Return what the scheduler is to send of each job; empty: all."""
    if not fields:
        return []
    wanted = {name: None for field in fields if (name := FIELDS[field]) is not None}
    if "last" in fields:
        wanted["job"] = None
    if "failing" in states:
        wanted |= dict.fromkeys(_TELLING)
    # Of a field at least, so that the others are left out.
    return [*wanted] or ["job"]


def _jobs(directory: Path, request: ListJobs, each: Callable[[dict[str, Any]], T]) -> list[T]:
    """Return what `each` makes of each job, while more of them come."""
    with connect(directory) as connection:
        if "failing" not in request.states:
            return list_jobs(connection, request, each)
        # Which jobs fail is decided here: an older scheduler does not know that state.
        jobs = list_jobs(connection, replace(request, states=[], limit=None), dict)
    from taskman_cli.core.engine.answers import is_in_state

    found = [job for job in jobs if job.get("failing") or is_in_state(job, request.states)]
    return [each(job) for job in found[: request.limit]]


#: What the table needs of a job.
_SHOWN = (
    "job", "schedule", "state", "due_ns", "enabled", "pause", "park", "running", "stopped", "unstopped",
    "queued", "waits", "users", "removed_tasks", "failing", "retrying",
)  # fmt: skip
#: What tells whether a job is in a state.
_TELLING = ("failing", "state", "pause", "park", "enabled")
#: The most retries of one job that are told.
_MOST_RETRIES = 2
_COLUMNS = ("JOB", "STATE", "NEXT", "LAST", "SCHEDULE")
#: What there is something to be said about.
_NOTED = ("users", "retrying", "stopped", "unstopped", "queued", "waits", "pause", "park", "removed_tasks")
_NUMBER = re.compile(r"(\d+)")


def _order(job: dict[str, Any]) -> tuple[object, ...]:
    """Put parked jobs first, then those that fail, and sort the others by name, numbers by their value."""
    failing = job.get("failing")
    words = [int(word) if word.isdecimal() else word for word in _NUMBER.split(job["job"].casefold())]
    # An older scheduler does not send `park`.
    return not job.get("park"), -failing["failures"] if failing else 1, words


def _line(job: dict[str, Any], now_ns: int, zone: tzinfo | None) -> _Line:
    """Put a job in words: its name, state and next start; its schedule, and other facts."""
    is_due = job["due_ns"] is not None and job["state"] not in ("paused", "parked", "disabled")
    upcoming = countdown(job["due_ns"] - now_ns) if is_due else ""
    # An older scheduler sends neither `failing` nor `retrying`, nor `park`.
    return _Line(
        _order(job),
        (job["job"], job["state"], upcoming),
        job.get("failing"),
        (job["schedule"], *_words(job, now_ns, zone)),
        bool(job["pause"] or job.get("park")),
    )


def _words(job: dict[str, Any], now_ns: int, zone: tzinfo | None) -> Iterator[str]:
    if len(job["running"]) <= 1 and job.get("enabled", True) and not any(map(job.get, _NOTED)):
        return  # as nearly all of a long list
    # An older scheduler does not send `users`.
    words = [as_users(job.get("users", ()))]
    words += [
        f"retry {row['retry']} of {row['most']} {countdown(row['due_ns'] - now_ns)}"
        for row in job.get("retrying", ())
    ][:_MOST_RETRIES]
    if len(job["running"]) > 1:
        words.append(f"{len(job['running']):,} runs")
    if job.get("stopped"):
        words.append("stopped" if len(job["running"]) == 1 else f"{len(job['stopped']):,} stopped")
    if job.get("unstopped"):
        words.append("goes on: it cannot be stopped")
    if job["queued"]:
        words.append(f"{job['queued']:,} queued")
    if waits := job.get("waits"):  # an older scheduler does not send it
        words.append(f"waits {waits[0]['reason']}")
    if pause := job["pause"]:
        span = until(pause["until_ns"], now_ns=now_ns, zone=zone)
        reason = pause["reason"]
        told = f"{span}: {reason}" if span and reason else span or reason
        # The state of a job that runs while it is paused is `running`: say here that it is paused.
        words.append(told if job["state"] == "paused" else f"paused {told}".rstrip())
    if park := job.get("park"):
        how = parked(park, now_ns=now_ns, zone=zone)
        told = f"{how}: {park['reason']}" if how else park["reason"]
        words.append(told if job["state"] == "parked" else f"parked {told}")
    if not job.get("enabled", True) and job["state"] != "disabled":
        words.append("disabled")
    if job["removed_tasks"]:
        words.append(f"without {', '.join(job['removed_tasks'])}")
    if any(words):
        yield ", ".join(word for word in words if word)
