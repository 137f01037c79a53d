"""`taskman show`: the definition of one job, with all defaults filled in."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_jobs
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.zones import zone_heading
from taskman_cli.cli.render import day_and_time, print_data, show_rows
from taskman_cli.cli.render import show as show_document
from taskman_cli.cli.support.reply_times import document, parked, stops, until
from taskman_cli.cli.support.scheduler_client import ask
from taskman_cli.core.clock import wall_time
from taskman_cli.core.protocol import Show
from taskman_cli.errors import TaskmanError
from taskman_cli.ui.amounts import countdown

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command(
    "show",
    cls=Command,
    examples={
        "taskman show backup": "",
        "taskman show --toml backup > backup.toml": "",
    },
)
@click.argument("job", metavar="JOB", shell_complete=complete_jobs)
@click.option("--toml", "as_toml", is_flag=True, help="Print a job file with only this job.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
def show(*, directory: Path, job: str, as_toml: bool, as_json: bool) -> None:
    """Show the definition of a job, with all defaults filled in.

    The values of `[defaults]` are included. With --toml, the output is a job file of its own.
    """
    if as_toml and as_json:
        raise click.UsageError("give --toml or --json, not both", click.get_current_context())
    reply = ask(directory, Show(job=job))
    if as_toml:
        print_data(job_file(reply))
    elif as_json:
        show_document(document(reply), (), as_json=True)
    else:
        show_rows(_rows(reply, time.time_ns()), heading=zone_heading(_zone(reply)))


def job_file(reply: dict[str, Any]) -> str:
    """Write the job as a job file of its own."""
    from taskman_cli.cli.support.tomltext import job_file as text_of

    definition = _without_nothing(reply["definition"])
    if "every" not in definition:
        definition.setdefault("timezone", reply["timezone"])
    # An older scheduler does not send `resources`.
    return text_of(reply["job"]["job"], definition, resources=reply.get("resources"))


def _without_nothing(value: Any) -> Any:
    """Leave out keys without a value: TOML has no null."""
    if isinstance(value, dict):
        return {key: _without_nothing(item) for key, item in value.items() if item is not None}
    return value


def _rows(reply: dict[str, Any], now_ns: int) -> Iterator[tuple[str, str]]:
    job = reply["job"]
    yield "job", job["job"]
    yield "state", ", ".join(_state(job, now_ns, _zone(reply)))
    if reply["source"]:
        yield "defined in", _place(job["job"], reply["source"])
    for index, at_ns in enumerate(reply["next_ns"]):
        at = day_and_time(wall_time(at_ns // 1_000_000_000 * 1_000_000_000, _zone(reply)))
        yield "" if index else "next", f"{at}  {countdown(at_ns - now_ns)}"
    yield from _flat("", reply["definition"])


def _place(job: str, file: str) -> str:
    """Return `file:line` of a job; the file alone if it no longer defines the job."""
    from taskman_cli.jobfile.source import read_source

    try:
        source = read_source(Path(file))
    except (TaskmanError, OSError):
        return file
    return source.place_of(("jobs", job)) if job in source.tables.get("jobs", {}) else file


def _zone(reply: dict[str, Any]) -> Any:
    """Return the job's zone; None, the machine's, if this machine does not know it."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(reply["timezone"])
    except (KeyError, OSError, TypeError, ValueError):
        return None


def _state(job: dict[str, Any], now_ns: int, zone: Any) -> Iterator[str]:
    yield job["state"]
    if job["running"]:
        yield f"run {' '.join(job['running'])}"
    yield from stops(job)
    if job["queued"]:
        yield f"{job['queued']:,} queued"
    if pause := job["pause"]:
        words = (
            "paused",
            until(pause["until_ns"], now_ns=now_ns, zone=zone),
            f"by {pause['by']}",
            pause["reason"],
        )
        yield " ".join(word for word in words[:3] if word) + (f": {words[3]}" if words[3] else "")
    if park := job.get("park"):
        how = parked(park, now_ns=now_ns, zone=zone)
        yield f"parked ({how}): {park['reason']}" if how else f"parked: {park['reason']}"
    if job["removed_tasks"]:
        yield f"removed: {' '.join(job['removed_tasks'])}"


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield each key of the definition with its value; keys of tables as `retry.max`."""
    if isinstance(value, dict) and (value or not prefix):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, item)
    else:
        yield prefix, _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
