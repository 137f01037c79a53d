"""`taskman events`: the journal, and with `--follow` new events.

Following polls SQLite every 200 ms for changes (`PRAGMA data_version`, which reads a few bytes of shared
memory): there is nothing to wait on.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from taskman_cli.cli.options.arguments import WholeNumber, not_found, since_ns
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_jobs
from taskman_cli.cli.options.instance import ledger_of, with_directory
from taskman_cli.cli.options.zones import find_zone, shown_zone, zone_heading
from taskman_cli.cli.render import column_time, flush, note, say, show_lines, show_rows
from taskman_cli.cli.support.polling import OutputPoll
from taskman_cli.cli.support.reply_times import AHEAD
from taskman_cli.core.clock import wall_time
from taskman_cli.core.engine.policy import is_clock_put_back
from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.core.timespec import format_duration

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from datetime import tzinfo
    from pathlib import Path

    from taskman_cli.ledger.queries.journal import Event

DEFAULT_COUNT = 50

_POLL_S = 0.2

#: Keys of an event's data that are for programs only; the detail says it for people.
_TOLD_ALREADY = frozenset({"blocker", "slot_to_ns"})

#: Keys of an event's data that are instants; the others in nanoseconds are lengths of time.
_INSTANTS = frozenset({"since_ns"})


@click.command(
    "events",
    cls=Command,
    examples={
        "taskman events --job backup": "",
        "taskman events -f": "until Ctrl-C",
        "taskman events --after 100 --json": "",
    },
)
@click.option("-f", "--follow", is_flag=True, help="Continue with new events, until Ctrl-C.")
@click.option(
    "--since", metavar="TIME", help='Only events since this time: "2h" for two hours ago, or ISO 8601.'
)
@click.option(
    "--after",
    "seq",
    metavar="SEQ",
    type=WholeNumber(),
    help="Only events after the one with this number.",
)
@click.option("--job", metavar="JOB", shell_complete=complete_jobs, help="Only events of this job.")
@click.option(
    "-n",
    "--count",
    type=WholeNumber(),
    metavar="N",
    help="Number of events: the last N, or with --after the next N; 0: all. "
    f"[default: {DEFAULT_COUNT}; with --since or --after: all]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@with_directory
def events(
    *,
    directory: Path,
    follow: bool,
    since: str | None,
    seq: int | None,
    job: str | None,
    count: int | None,
    as_json: bool,
) -> None:
    """Show the journal of all events, oldest first.

    Every event has a number that is never reused. To read each event exactly once, pass the number of the
    last event that you have seen to --after.
    """
    from taskman_cli.ledger.queries.reader import data_version, find_job, job_names

    if follow and seq is not None and count:
        raise click.UsageError(
            "-f with --after shows all later events: leave out -n", click.get_current_context()
        )
    start_ns = None if since is None else _start_ns(since, directory)
    with ledger_of(directory) as ledger:
        if job is not None and find_job(ledger, job) is None:
            raise not_found("the ledger has no job", job, job_names(ledger))
        # Before the first look, so that no event between the two is missed; none is printed twice.
        version = data_version(ledger)
        if follow and not as_json:
            say(zone_heading(_zone(ledger)))
        window = _Window(job, seq, start_ns, count)
        last = _show_first(ledger, window, as_json=as_json, follow=follow)
        if not follow:
            return
        poll = OutputPoll(_POLL_S)
        while True:
            flush()
            poll.wait()
            if (now := data_version(ledger)) != version:
                version = now
                last = _show_after(ledger, last, job=job, as_json=as_json)


class _Window(NamedTuple):
    """Which of the existing events are wanted."""

    job: str | None
    #: Only those after this number.
    seq: int | None
    #: Only those since this instant.
    start_ns: int | None
    #: At most so many; 0: all.
    most: int | None


def _start_ns(since: str, directory: Path) -> int:
    """Read --since, which took the number of an event before 0.3."""
    if since.isascii() and since.isdigit():
        raise click.BadParameter(
            f"{since} is only a number: for the events after number {since} give --after {since}, "
            "for a time one such as 2h or 15:30",
            param_hint="--since",
        )
    return since_ns(since, now_ns=time.time_ns(), zone=shown_zone(directory))


def _show_first(ledger: sqlite3.Connection, window: _Window, *, as_json: bool, follow: bool) -> int:
    """Print the existing events; return the number to continue from."""
    from taskman_cli.ledger.queries.journal import after, bounds, latest

    job, seq, start_ns, most = window
    first, end = bounds(ledger)
    if seq is not None and seq < first - 1:
        note(f"events before {first} have been removed")
    if seq is not None and seq > end:
        note(f"there is no event {seq} yet, the last one is {end}")
    if seq is not None:
        found: Iterable[Event] = after(ledger, seq, job=job, since_ns=start_ns, count=most or None)
    elif most == 0 or (most is None and start_ns is not None):
        found = after(ledger, 0, job=job, since_ns=start_ns)
    else:
        found = latest(ledger, DEFAULT_COUNT if most is None else most, job=job, since_ns=start_ns)
    shown = _show(found, _zone(ledger), as_json=as_json, has_heading=not follow)
    # The last event that is shown may be long before the end of the journal.
    is_part = seq is None and (job is not None or start_ns is not None)
    return max(shown, seq or 0, end if is_part else 0)


def _show_after(ledger: sqlite3.Connection, last: int, *, job: str | None, as_json: bool) -> int:
    from taskman_cli.ledger.queries.journal import after

    return max(last, _show(after(ledger, last, job=job), _zone(ledger), as_json=as_json))


def _zone(ledger: sqlite3.Connection) -> tzinfo | None:
    from taskman_cli.ledger.queries.reader import timezone_of

    return find_zone(timezone_of(ledger))


def _show(found: Iterable[Event], zone: tzinfo | None, *, as_json: bool, has_heading: bool = False) -> int:
    """Print events; return the number of the last one, or 0."""
    last = 0

    def noted() -> Iterator[Event]:
        nonlocal last
        for event in found:
            yield event
            last = event.seq

    now_ns = time.time_ns()
    if as_json:
        show_lines(_item(event, now_ns) for event in noted())
    else:
        rows = (_row(event, now_ns, zone) for event in noted())
        show_rows(rows, right=frozenset({0}), elastic=3, heading=zone_heading(zone) if has_heading else "")
    return last


def _item(event: Event, now_ns: int) -> dict[str, object]:
    """Return the JSON object of an event, without empty values."""
    item = {
        "seq": event.seq,
        "at": wall_time(event.at_ns, None).isoformat(),
        "kind": event.kind,
        "job": event.job,
        "run": None if event.run is None else encode_run_id(event.run),
        "task": event.task,
        "attempt": event.attempt,
        "slot": None if event.slot_ns is None else wall_time(event.slot_ns, None).isoformat(),
        "state": event.state,
        "detail": event.detail or None,
        "data": _data(event),
        "clock_was_ahead": is_clock_put_back(event.at_ns, now_ns) or None,
    }
    return {key: value for key, value in item.items() if value is not None}


def _row(event: Event, now_ns: int, zone: tzinfo | None) -> tuple[str, ...]:
    """Return the cells of an event: number, time, kind, job, run, and the rest in words.

    An event without a job has its words right after the kind.
    """
    beginning = (str(event.seq), column_time(event.at_ns, now_ns=now_ns, zone=zone))
    kind = event.kind.replace("_", " ")
    words = ", ".join(_words(event, now_ns, zone))
    if event.job is None:
        return (*beginning, f"{kind}: {words}" if words else kind)
    job = event.job if event.task in (None, "main") else f"{event.job}.{event.task}"
    run = "" if event.run is None else encode_run_id(event.run)
    return (*beginning, kind, job, run, words)


def _words(event: Event, now_ns: int, zone: tzinfo | None) -> Iterator[str]:
    if is_clock_put_back(event.at_ns, now_ns):
        yield AHEAD
    if event.state:
        yield event.state.replace("_", " ")
    if event.attempt is not None and event.attempt > 1:
        yield f"attempt {event.attempt}"
    if event.detail:
        yield event.detail
    data = _data(event)
    if isinstance(data, dict):
        for key, value in data.items():
            if value not in (None, []) and key not in _TOLD_ALREADY:
                yield _in_words(key, value, now_ns, zone)


def _in_words(key: str, value: object, now_ns: int, zone: tzinfo | None) -> str:
    """Return one value of an event in words: "added: backup probe", "by root (uid 0, pid 17)"."""
    if key == "by":
        return f"by {value}"
    if key in _INSTANTS and isinstance(value, int):
        return f"{key.removesuffix('_ns')}: {column_time(value, now_ns=now_ns, zone=zone)}"
    if key.endswith("_ns") and isinstance(value, int):
        return f"{key.removesuffix('_ns').replace('_', ' ')}: {format_duration(value)}"
    words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{key.replace('_', ' ')}: {words}"


def _data(event: Event) -> Any:
    try:
        return None if event.data is None else json.loads(event.data)
    except ValueError:
        return event.data
