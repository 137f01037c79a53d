"""`taskman list`: the jobs of the running scheduler, one per line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.choice import OneOf
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.zones import shown_zone, zone_heading
from taskman_cli.cli.render import as_users, note, show_array, show_rows
from taskman_cli.cli.support.reply_times import document, until
from taskman_cli.cli.support.scheduler_client import ask
from taskman_cli.core.protocol import ListJobs
from taskman_cli.ui.amounts import countdown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo
    from pathlib import Path

#: The states of a job; a running job may also be paused or disabled.
STATES = ("running", "queued", "paused", "disabled", "waiting", "over")

_COLOURS = {"running": "cyan", "queued": "cyan", "paused": "yellow"}


@click.command(
    "list",
    cls=Command,
    examples={
        "taskman list": "",
        "taskman list --state paused": "",
        "taskman list --tag web --json": "",
    },
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only jobs with this tag. May be repeated.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=OneOf(STATES),
    metavar="STATE",
    help=f"Only jobs in this state: {', '.join(STATES)}. May be repeated.",
)
@click.option("--once", "is_once", is_flag=True, help="Only one-off jobs, made with `taskman once`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array with one job per line.")
@with_running_directory
def list_(
    *, directory: Path, tags: tuple[str, ...], states: tuple[str, ...], is_once: bool, as_json: bool
) -> None:
    """List the jobs with their state, next start and schedule.

    Jobs are in the order of the job file; one-off jobs of `taskman once` come last.
    """
    jobs = ask(directory, ListJobs(tags=[*tags], states=[*states], once=is_once))["jobs"]
    if as_json:
        show_array(map(document, jobs))
        return
    if not jobs:
        note("nothing found" if tags or states or is_once else "there are no jobs")
        return
    now_ns = time.time_ns()
    zone = shown_zone(directory)
    rows = (_row(job, now_ns, zone) for job in jobs)
    show_rows(rows, elastic=0, spare=(3, 2), colours=_COLOURS, heading=zone_heading(zone))


def _row(job: dict[str, Any], now_ns: int, zone: tzinfo | None) -> tuple[str, ...]:
    """Return name, state, next start, schedule, and other facts in words."""
    is_due = job["due_ns"] is not None and job["state"] not in ("paused", "disabled")
    upcoming = countdown(job["due_ns"] - now_ns) if is_due else ""
    return (*(job["job"], job["state"], upcoming, job["schedule"]), *_words(job, now_ns, zone))


def _words(job: dict[str, Any], now_ns: int, zone: tzinfo | None) -> Iterator[str]:
    # An older scheduler does not send `users`.
    words = [as_users(job.get("users", ()))]
    if len(job["running"]) > 1:
        words.append(f"{len(job['running']):,} runs")
    if job.get("stopped"):
        words.append("stopped" if len(job["running"]) == 1 else f"{len(job['stopped']):,} stopped")
    if job["queued"]:
        words.append(f"{job['queued']:,} queued")
    if pause := job["pause"]:
        span = until(pause["until_ns"], now_ns=now_ns, zone=zone)
        reason = pause["reason"]
        told = f"{span}: {reason}" if span and reason else span or reason
        # The state of a job that runs while it is paused is `running`: say here that it is paused.
        words.append(told if job["state"] == "paused" else f"paused {told}".rstrip())
    if not job.get("enabled", True) and job["state"] != "disabled":
        words.append("disabled")
    if job["removed_tasks"]:
        words.append(f"without {', '.join(job['removed_tasks'])}")
    if any(words):
        yield ", ".join(word for word in words if word)
