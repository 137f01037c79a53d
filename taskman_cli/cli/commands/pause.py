"""`taskman pause`: stop starting new runs of some jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.duration import Duration
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.moment import check_last, instant_ns, read_moment
from taskman_cli.cli.options.targets import check_selection, listed, with_selection
from taskman_cli.cli.options.zones import shown_zone
from taskman_cli.cli.render import say, show
from taskman_cli.cli.support.reply_times import moment, until
from taskman_cli.cli.support.scheduler_client import ask
from taskman_cli.core.protocol import PauseJobs
from taskman_cli.core.timespec import is_duration

if TYPE_CHECKING:
    from pathlib import Path
    from zoneinfo import ZoneInfo


@click.command(
    "pause",
    cls=Command,
    examples={
        "taskman pause backup --for 2h --reason 'disk is full'": "",
        "taskman pause --all --for 'tomorrow 9am'": "",
        "taskman pause --tag web --stop": "",
    },
)
@with_selection
@click.option(
    "--for",
    "length",
    metavar="TIME",
    help='Pause for this long ("2h") or until this time ("tomorrow 9am"); default: until `resume`.',
)
@click.option("--reason", default="", metavar="TEXT", help="The reason, which `list` and `status` show.")
@click.option(
    "--stop",
    is_flag=True,
    help="Also stop their running commands (SIGSTOP) and their retries, until `resume`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_running_directory
def pause(
    *,
    directory: Path,
    jobs: tuple[str, ...],
    tags: tuple[str, ...],
    is_all: bool,
    length: str | None,
    reason: str,
    stop: bool,
    as_json: bool,
) -> None:
    """Stop starting new runs of these jobs until they are resumed.

    Slots that pass meanwhile are skipped with the reason `paused`. Running commands continue, unless --stop
    is given. A pause survives a restart of taskman.
    """
    zone = shown_zone(directory)
    check_selection(jobs, tags, is_all=is_all)
    end = {} if length is None else _end(length, zone)
    request = PauseJobs(jobs=[*jobs], tags=[*tags], all=is_all, reason=reason, stop=stop, **end)
    reply = ask(directory, request)
    if as_json:
        lists = {key: reply[key] for key in ("jobs", "unchanged")}
        show(lists | {"until": moment(reply["until_ns"])}, (), as_json=True)
        return
    limit = until(reply["until_ns"], now_ns=time.time_ns(), zone=zone)
    if reply["jobs"]:
        say(f"paused {listed(reply['jobs'])} {limit}".rstrip())
    if reply["unchanged"]:
        say(f"already paused: {listed(reply['unchanged'])}")


def _end(text: str, zone: ZoneInfo | None = None) -> dict[str, int]:
    """Read --for: a duration, or the end."""
    now_ns = time.time_ns()
    # Refuse a number without a unit, which at(1) would take for a time of day.
    if is_duration(text) or text.isdecimal():
        for_ns = Duration().convert(text, None, click.get_current_context())
        check_last(now_ns + for_ns, option="--for")
        is_over, end = not for_ns, {"for_ns": for_ns}
    else:
        until_ns = instant_ns(read_moment(text, now_ns=now_ns, zone=zone, option="--for"))
        is_over, end = until_ns <= now_ns, {"until_ns": until_ns}
    if is_over:
        raise click.BadParameter("the pause would be over already", param_hint="--for")
    return end
