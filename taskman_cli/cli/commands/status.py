"""`taskman status`: what the running scheduler is doing."""

from __future__ import annotations

import shlex
import time
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_jobs
from taskman_cli.cli.options.instance import with_instance, with_running_directory
from taskman_cli.cli.options.zones import shown_zone, zone_heading
from taskman_cli.cli.render import column_time, note, say, show, show_rows
from taskman_cli.cli.support.reply_times import document, until
from taskman_cli.cli.support.scheduler_client import ask
from taskman_cli.cli.support.sink_words import trouble_of
from taskman_cli.control.client import connect
from taskman_cli.core.engine.view import Depth
from taskman_cli.core.engine.waits import bare_amount
from taskman_cli.core.executors import executor_of
from taskman_cli.core.model import State
from taskman_cli.core.protocol import ListJobs, Show, Status
from taskman_cli.instance.silence import STOPPED, in_words, state_of
from taskman_cli.ui.alarms import count_words, next_words, why_words
from taskman_cli.ui.amounts import countdown, span
from taskman_cli.ui.queues import queue_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo
    from pathlib import Path

    Row = tuple[str, ...]

#: The most lines of each kind; all of them fit into 20.
_PARKED, _FAILING, _RUNNING, _WAITING, _RESOURCES, _PAUSED, _NEXT, _ASIDE = 2, 3, 4, 2, 4, 2, 4, 2
#: The same of jobs that fail and of running commands, if the job files have errors too.
_CROWDED = 2
_EXECUTORS = 2
#: The error of a job file is wrapped, not cut.
_WRAP, _LINES = 66, 2
_COLOURS = {
    "job files": "red", "running": "cyan", "waiting": "yellow", "paused": "yellow", "trouble": "red",
    "set aside": "red", "stopping": "yellow", "failing": "red", "parked": "red", "overdue": "red",
}  # fmt: skip


@click.command(
    "status",
    cls=Command,
    examples={
        "taskman status backup": "all about one job",
        "taskman status --check": "exits with 1 if something is wrong",
        "taskman status --executors": "each executor, with the workers beyond it",
    },
)
@click.argument("job", metavar="[JOB]", required=False, shell_complete=complete_jobs)
@click.option(
    "--check",
    "is_check",
    is_flag=True,
    help="Exit with 1 and say why if a job is parked or overdue, or the scheduler lags or cannot record.",
)
@click.option(
    "--executors", "is_executors", is_flag=True, help="Show the executors, and the workers beyond them."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
def status(*, directory: Path, job: str | None, is_check: bool, is_executors: bool, as_json: bool) -> int:
    """Show what the scheduler is doing now.

    It shows parked jobs, jobs that fail, the running commands, paused jobs, the next starts, and any problem
    that keeps commands from starting. With JOB it shows this job: its state, its next slots, its latest runs
    and the last lines of its output.

    With --check it says in one line that all is well, or in a line each what is not. It answers within 3
    seconds, and exits with 3 if no scheduler runs or answers.
    """
    if is_check or is_executors:
        if job is not None or (is_check and is_executors):
            option, other = ("--check", "--executors") if is_check else ("--executors", "JOB")
            words = f"{option} is about all jobs: leave out {other if job is None else 'JOB'}"
            raise click.UsageError(words, click.get_current_context())
        return _check(directory, as_json=as_json) if is_check else _executors(directory, as_json=as_json)
    if job is not None:
        from taskman_cli.cli.support.job_status import show_job

        show_job(directory, ask(directory, Show(job=job)), now_ns=time.time_ns(), as_json=as_json)
        return 0
    with connect(directory) as connection:
        reply = connection.ask(Status())
        if as_json:
            show(document(reply), (), as_json=True)
            return 0
        paused = connection.ask(ListJobs(states=["paused"]))["jobs"] if reply["paused"] else []
    show_rows(_rows(reply, paused, shown_zone(directory)), elastic=1, colours=_COLOURS)
    if state_of(reply["pid"]) in STOPPED:
        note(f"nothing starts, and no end is noticed: {in_words(reply['pid'], what='supervisor')}")
    return 0


def _executors(directory: Path, *, as_json: bool) -> int:
    """Show how each executor stands."""
    from taskman_cli.cli.support.executor_rows import COLUMNS, rows

    reply = ask(directory, Status())
    found = reply.get("executors", [])  # an older scheduler does not send it
    if as_json:
        show(document(found), (), as_json=True)
    elif not found:
        note("all jobs run here: no executor but local is defined")
    else:
        show_rows(
            rows(reply, reply["now_ns"]), columns=COLUMNS, colours=_COLOURS, right=frozenset(range(4, 9))
        )
    return 0


def _check(directory: Path, *, as_json: bool) -> int:
    """Say whether all is well; return the exit code."""
    from taskman_cli.cli.support.health import look

    reply, problems = look(directory)
    if as_json:
        found = [problem._asdict() for problem in problems]
        show({"healthy": not problems, "problems": found}, (), as_json=True)
    elif problems:
        for problem in problems:
            say(problem.words)
    else:
        jobs = f"{reply['jobs']:,} {'job' if reply['jobs'] == 1 else 'jobs'}"
        say(f"healthy: {jobs}, {len(reply['running']):,} running")
    return 1 if problems else 0


def _rows(reply: dict[str, Any], paused: Sequence[dict[str, Any]], zone: tzinfo | None) -> Iterator[Row]:
    now_ns = reply["now_ns"]
    crontabs = [word for path in reply["user_crontabs"] for word in ("--user-crontab", path)]
    dialect = ["--dialect", reply["dialect"]] if reply.get("dialect") else []
    files = shlex.join(reply["files"] + crontabs + dialect)
    up = span(now_ns - reply["started_ns"])
    yield "taskman", f"{reply['version']}, process {reply['pid']}, up {up}: {files}"
    yield "jobs", ", ".join(_amounts(reply))
    if reply["stopping"]:
        fate = "running commands may finish" if reply.get("draining") else "running commands are being ended"
        yield "stopping", f"nothing new starts, {fate}"
    # An older scheduler does not send it.
    yield from _group(
        "parked", [_parked_row(item, now_ns, zone) for item in reply.get("parked", ())], _PARKED
    )
    if overdue := reply.get("overdue"):  # an older scheduler does not send it
        yield _overdue_row(overdue, now_ns)
    if reply["ledger"]:
        yield "trouble", f"nothing starts, because it cannot be recorded: {reply['ledger']}"
    if reply.get("is_start_gone"):
        yield "trouble", f"the directory that taskman was started in was removed: {reply['start_directory']}"
    if words := reply.get("zone_trouble"):  # an older scheduler does not send it
        yield "time zone", words
    if trouble := reply.get("files_trouble"):  # an older scheduler does not send it
        yield from _files_rows(trouble, now_ns, zone)
    # An older scheduler sends neither `parked` nor `failing`.
    parked = reply.get("parked", [])
    names = {item["job"] for item in parked}
    alarms = [alarm for alarm in reply.get("failing", []) if alarm["job"] not in names]
    reply = reply | {
        "failing": alarms,
        "failing_count": reply.get("failing_count", 0) - sum(item["count"] > 0 for item in parked),
    }
    is_crowded = bool(alarms and trouble)
    yield from _failing(reply, _CROWDED if is_crowded else _FAILING, now_ns, zone)
    yield from _group("set aside", [_aside_row(item, now_ns) for item in reply.get("set_aside", [])], _ASIDE)
    # An older scheduler does not send it.
    troubled = [
        (item["sink"], words) for item in reply.get("sinks", ()) if (words := trouble_of(item, now_ns))
    ]
    yield from _group("sinks", troubled, _ASIDE)
    if reply.get("executors"):  # an older scheduler does not send it
        from taskman_cli.cli.support.executor_rows import summaries

        yield from _group("executors", summaries(reply, now_ns), 1 if is_crowded else _EXECUTORS)
    running = [_running_row(row, now_ns) for row in reply["running"]]
    yield from _group("running", running, _CROWDED if is_crowded else _RUNNING)
    # An older scheduler does not send these.
    yield from _group("waiting", [_waiting_row(row, now_ns) for row in reply.get("waiting", [])], _WAITING)
    resources = [row for row in reply.get("resources", []) if not executor_of(row["resource"])]
    yield from _group("resources", list(map(_resource_row, resources)), _RESOURCES)
    yield from _group("paused", [_paused_row(job, now_ns, zone) for job in paused], _PAUSED)
    # An older scheduler does not send the retries.
    due = sorted((*reply["next"], *reply.get("retrying", ())), key=lambda row: row["due_ns"])
    most = _NEXT - _LINES - 1 if trouble else _NEXT
    upcoming = [_upcoming_row(row, now_ns, zone) for row in due[:most]]
    yield from _group("next", upcoming, _NEXT)
    # An older scheduler does not send the queues.
    depths = [Depth(**row) for row in reply.get("queues", ())]
    if words := queue_words(depths, most=_WRAP):
        yield "queues", words
    counted = [f"{count:,} {name.replace('_', ' ')}" for name, count in reply["counters"].items() if count]
    if upcoming or paused or trouble:
        yield "times", zone_heading(zone).removeprefix("times ")
    yield "so far", ", ".join(counted) or "nothing has started yet"


def _failing(reply: dict[str, Any], most: int, now_ns: int, zone: tzinfo | None) -> Iterator[Row]:
    """Tell which jobs fail, how often in a row and why, when they next run, and what to type."""
    alarms = reply.get("failing", [])
    for index, alarm in enumerate(alarms[:most]):
        words = [why_words(alarm["task"], State(alarm["state"]), alarm["detail"])]
        words.append(next_words(alarm["due_ns"], alarm["note"], now_ns=now_ns))
        if alarm["since_ns"]:
            words.append(f"since {column_time(alarm['since_ns'], now_ns=now_ns, zone=zone)}")
        count = count_words(alarm["failures"], is_more=alarm["is_more"])
        yield "" if index else "failing", alarm["job"], f"{count} {', '.join(words)}"
    if alarms:
        more = reply["failing_count"] - len(alarms[:most])
        listed = with_instance("taskman list --state failing")
        others = f"and {more:,} more ({listed}); " if more else ""
        command = with_instance(f"taskman why {alarms[0]['job']}")
        yield "", f"{others}why: {command}"


def _files_rows(trouble: dict[str, Any], now_ns: int, zone: tzinfo | None) -> Iterator[Row]:
    since = column_time(trouble["at_ns"], now_ns=now_ns, zone=zone)
    yield "job files", f"have errors since {since}; the previous jobs stay in effect:"
    for line in wrap(trouble["summary"], _WRAP, break_long_words=False, break_on_hyphens=False)[:_LINES]:
        yield "", line


def _amounts(reply: dict[str, Any]) -> Iterator[str]:
    yield f"{reply['jobs']:,}"
    if reply.get("parked"):
        yield f"{len(reply['parked']):,} parked"
    if reply["paused"]:
        yield f"{reply['paused']:,} paused"
    yield f"{len(reply['running']):,} of {reply['max_workers']:,} workers busy"
    if target := reply.get("target"):  # an older scheduler does not send it
        yield f"target {target:,}"
    if reply["ready"]:
        yield f"{reply['ready']:,} waiting for one"
    if reply["retries"]:
        yield f"{reply['retries']:,} to retry"


def task_name(row: dict[str, Any]) -> str:
    """Return the job of a row, and its task if it has several."""
    return row["job"] if row["task"] in ("main", None) else f"{row['job']}.{row['task']}"


def _upcoming_row(row: dict[str, Any], now_ns: int, zone: tzinfo | None) -> Row:
    """Return when the next slot of a job is, or the retry that it waits for."""
    due_ns = row["due_ns"]
    at = column_time(due_ns, now_ns=now_ns, zone=zone)
    if "retry" in row:
        return task_name(row), countdown(due_ns - now_ns), f"{at}  retry {row['retry']} of {row['most']}"
    return row["job"], countdown(due_ns - now_ns), at


def _running_row(row: dict[str, Any], now_ns: int) -> Row:
    note = f"[{row['note']}] " if row["note"] else ""
    return task_name(row), span(now_ns - row["started_ns"]), row["run"], note + row["command"]


def _waiting_row(row: dict[str, Any], now_ns: int) -> Row:
    since = "" if row["since_ns"] is None else span(now_ns - row["since_ns"])
    return task_name(row), since, row["run"], f"waits {row['reason']}"


def _resource_row(row: dict[str, Any]) -> Row:
    name = row["resource"]
    held = bare_amount(name, row["held"])
    use = f"{held} held" if row["limit"] is None else f"{held} of {bare_amount(name, row['limit'])} held"
    words = [f"{task_name(holder)} {bare_amount(name, holder['amount'])}" for holder in row["holders"][:2]]
    if len(row["holders"]) > len(words):
        words.append("…")
    by = f"by {', '.join(words)}" if words else ""
    parts = [f"{row['waiting']:,} waiting"] if row["waiting"] else []
    if row["rate"]:
        parts.append(f"{row['tokens']:,} may start now")
    return name, use, "; ".join(part for part in [by, *parts] if part)


def _aside_row(item: dict[str, Any], now_ns: int) -> Row:
    times = f" ({item['times']:,} times)" if item["times"] > 1 else ""
    return item["what"], f"{span(now_ns - item['at_ns'])} ago{times}", item["why"]


def _paused_row(job: dict[str, Any], now_ns: int, zone: tzinfo | None) -> Row:
    pause = job["pause"] or {}
    words = [until(pause.get("until_ns"), now_ns=now_ns, zone=zone), pause.get("reason", "")]
    return job["job"], ": ".join(word for word in words if word)


def _parked_row(item: dict[str, Any], now_ns: int, zone: tzinfo | None) -> Row:
    """Return since when a job is parked, how it goes on, and why: what is cut is the reason."""
    park = item["park"]
    fix = with_instance(f"taskman resume {item['job']}")
    if park["trial"]:
        fix = f"run {park['trial']} tries it"
    elif park["until_ns"] is not None:
        at = column_time(park["until_ns"], now_ns=now_ns, zone=zone)
        fix = f"tried from {at} on" if park["until_ns"] > now_ns else "its next slot is tried"
    return item["job"], f"{span(now_ns - park['since_ns'])} ago", f"{fix}; {park['reason']}"


def _overdue_row(jobs: Sequence[dict[str, Any]], now_ns: int) -> Row:
    """Return the job that is overdue for the longest time, and how many more there are."""
    more = f", and {len(jobs) - 1:,} more" if len(jobs) > 1 else ""
    return "overdue", jobs[0]["job"], f"no success for {span(now_ns - jobs[0]['since_ns'])}{more}"


def _group(heading: str, rows: Sequence[Row], most: int) -> Iterator[Row]:
    """Put the heading before the first row, and the number of further rows after the last."""
    for index, row in enumerate(rows[:most]):
        yield ("" if index else heading, *row)
    if len(rows) > most:
        yield "", f"and {len(rows) - most:,} more"
