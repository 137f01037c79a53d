"""`taskman status JOB`: the state of one job, its next slots, its latest runs, the end of its output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.cli.options.instance import with_instance
from taskman_cli.cli.options.zones import shown_zone, zone_heading
from taskman_cli.cli.render import column_time, note, say, show, show_rows, width_of_output
from taskman_cli.cli.support.last_lines import last_lines, shown_lines
from taskman_cli.cli.support.last_result import SIGN_COLOURS, read_results, result_item, result_words
from taskman_cli.cli.support.reply_times import document, parked, stops, until
from taskman_cli.core.model import State
from taskman_cli.errors import TaskmanError
from taskman_cli.ui.alarms import count_words, why_words
from taskman_cli.ui.amounts import ago, countdown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from taskman_cli.cli.support.last_lines import Tail
    from taskman_cli.ledger.queries.history import RunRow, SkipRow

#: The most next slots and latest runs that are shown.
_NEXT, _LATEST = 3, 5

Row = tuple[str, ...]


def show_job(directory: Path, reply: dict[str, Any], *, now_ns: int, as_json: bool) -> None:
    """Print the state of a job; `reply` is the scheduler's to `Show`."""
    from taskman_cli.cli.commands.history import history_item, history_row

    job = reply["job"]
    name = job["job"]
    rows, tail = _from_ledger(directory, name)
    last = read_results(directory, name).get(name)
    if as_json:
        state = str(directory.absolute())
        show(
            {
                "job": document(job) | {"last": result_item(last)},
                "next": document({"next_ns": reply["next_ns"]})["next"],
                "latest": [history_item(row, state, now_ns) for row in rows],
                "output": None if tail is None else tail._asdict(),
            },
            (),
            as_json=True,
        )
        return
    zone = shown_zone(directory)
    show_rows(
        _rows(reply, result_words(last, job.get("failing"), now_ns=now_ns), now_ns, zone), colours=_COLOURS
    )
    if rows:
        say("")
        cells = [history_row(row, now_ns, zone) for row in rows]
        show_rows(
            [(at, task.removeprefix(name).lstrip("."), *others) for at, task, *others in cells],
            right=frozenset({3}),
            colours=_COLOURS,
            columns=("LATEST", "TASK", "STATE", "TOOK", "RUN", ""),
        )
    for line in shown_lines(tail, width=width_of_output()):
        say(line)
    say("")
    for command in _commands(name, tail):
        say(f"  {command}")


_COLOURS = {
    "failing": "red", "retry": "magenta", "running": "cyan", "paused": "yellow", "parked": "red",
    "failed": "red", "succeeded": "green", "timed out": "magenta", "lost": "red", "cancelled": "magenta",
} | SIGN_COLOURS  # fmt: skip


def _from_ledger(directory: Path, name: str) -> tuple[Sequence[RunRow | SkipRow], Tail | None]:
    """Return the latest runs and skips of a job, and the last lines of its output."""
    from itertools import islice

    from taskman_cli.core.engine.runs import encode_run_id
    from taskman_cli.ledger.queries.attempts import attempts_of, find_run, latest_begun
    from taskman_cli.ledger.queries.history import Filter, history
    from taskman_cli.ledger.queries.reader import NoLedger, find_job, reading

    try:
        with reading(directory) as ledger:
            job = find_job(ledger, name)
            if job is None:
                return (), None
            rows = list(islice(history(ledger, Filter(job.id)), _LATEST))
            number = latest_begun(ledger, job.id)
            run = None if number is None else find_run(ledger, number)
            if run is None:
                return rows, None
            attempts = attempts_of(ledger, run.run)
            return rows, last_lines(directory, name, encode_run_id(run.run), run.state, attempts)
    except NoLedger:
        pass
    except TaskmanError as error:
        note(f"the latest runs are unknown: {error}")
    return (), None


def _rows(reply: dict[str, Any], last: str, now_ns: int, zone: tzinfo | None) -> Iterator[Row]:
    job = reply["job"]
    yield "job", job["job"] + (f": {job['description']}" if job["description"] else "")
    yield "state", ", ".join(_state(job))
    if failing := job.get("failing"):
        count = count_words(failing["failures"], is_more=failing["is_more"])
        why = why_words(failing["task"], State(failing["state"]), failing["detail"])
        since = ""
        if failing["since_ns"]:
            at = column_time(failing["since_ns"], now_ns=now_ns, zone=zone)
            since = f", since {at} ({ago(now_ns - failing['since_ns'])})"
        yield "failing", f"{count} {why}{since}"
    elif last:
        yield "last", last
    for row in job.get("retrying", ()):
        of_task = "" if row["task"] == "main" else f" of {row['task']}"
        yield "retry", f"{row['retry']} of {row['most']}{of_task} {countdown(row['due_ns'] - now_ns)}"
    if pause := job["pause"]:
        by = f"by {pause['by']}" if pause["by"] else ""
        words = [until(pause["until_ns"], now_ns=now_ns, zone=zone), by, pause["reason"]]
        yield "paused", ", ".join(word for word in words if word)
    if park := job.get("park"):  # an older scheduler does not send it
        words = [parked(park, now_ns=now_ns, zone=zone), park["reason"]]
        yield "parked", ", ".join(word for word in words if word)
    yield "schedule", job["schedule"]
    for index, at_ns in enumerate(reply["next_ns"][:_NEXT]):
        at = column_time(at_ns, now_ns=now_ns, zone=zone)
        yield "" if index else "next", f"{at}  {countdown(at_ns - now_ns)}"
    if reply["source"]:
        yield "file", reply["source"]
    yield "times", zone_heading(zone).removeprefix("times ")


def _state(job: dict[str, Any]) -> Iterator[str]:
    yield job["state"] + (f" (run {' '.join(job['running'])})" if job["running"] else "")
    yield from stops(job)
    if job["queued"] and job["state"] != "queued":
        yield f"{job['queued']:,} queued"
    if not job.get("enabled", True) and job["state"] != "disabled":
        yield "disabled"


def _commands(name: str, tail: Tail | None) -> Iterator[str]:
    """Say what to type next."""
    yield with_instance(f"taskman why {name}")
    if tail is not None:
        yield with_instance(f"taskman log {tail.run}")
    yield with_instance(f"taskman trigger {name}")
