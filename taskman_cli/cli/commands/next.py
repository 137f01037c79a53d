"""`taskman next`: the next slots of job files, of a cron expression or of an interval.

Slots are not starts: jitter, a busy pool or an earlier run may delay the start.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.arguments import WholeNumber
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_zones
from taskman_cli.cli.options.crontabs import dialect_option
from taskman_cli.cli.options.expression import expression_of, with_mark
from taskman_cli.cli.options.files import FileName, job_files
from taskman_cli.cli.options.moment import bad_time
from taskman_cli.cli.options.zones import zone_heading, zone_of_option
from taskman_cli.cli.render import as_users, day_and_time, note, show, show_rows
from taskman_cli.cli.support.reply_times import moment
from taskman_cli.cli.support.slots import Slot, upcoming
from taskman_cli.cli.support.waiting_retries import WaitingRetry, waiting_retries
from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.model import Job
from taskman_cli.core.schedule import Interval, Reboot, load_zone, parse_cron
from taskman_cli.core.schedule.expression import has_hash
from taskman_cli.core.timespec import parse_duration, parse_moment
from taskman_cli.errors import ScheduleError, TimespecError
from taskman_cli.jobfile import load
from taskman_cli.ui.amounts import countdown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from zoneinfo import ZoneInfo

    from taskman_cli.core.schedule import Schedule

#: More than anybody reads; without a limit, one digit too many would fill the memory.
MAX_COUNT = 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: The limit of `every` in a job file.
_SHORTEST = timedelta(milliseconds=10)


@click.command(
    "next",
    cls=Command,
    examples={
        "taskman next jobs.toml": "",
        "taskman next --cron '30 2 * * 1-5' --timezone Europe/Berlin": "",
        "taskman next --every 90m -n 3": "",
    },
)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=FileName())
@click.option("--cron", "expression", metavar="EXPR", help="Show the slots of a cron expression.")
@click.option(
    "--every", "interval", metavar="DUR", help='Show the slots of an interval, such as "90s" or "1h30m".'
)
@click.option(
    "--timezone",
    metavar="TZ",
    shell_complete=complete_zones,
    help="Time zone of --cron, of a --from without an offset, and of jobs whose file names none "
    "(default: the machine's).",
)
@click.option("--from", "start", metavar="TIME", help="Show the slots after this time (default: now).")
@click.option(
    "-n",
    "--count",
    default=10,
    show_default=True,
    type=WholeNumber(most=MAX_COUNT),
    metavar="N",
    help="Number of slots.",
)
@dialect_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def next_(
    ctx: click.Context,
    files: tuple[str, ...],
    expression: str | None,
    interval: str | None,
    timezone: str | None,
    start: str | None,
    count: int,
    dialect: str | None,
    as_json: bool,
) -> None:
    """Show the next slots of job files or of one schedule.

    A slot is one scheduled time of a job. Give job files, --cron or --every; without them it is ./jobs.toml,
    for root /etc/taskman/jobs.toml. Slots of several jobs are sorted by time. An interval counts from --from,
    so its first slot is one interval later. Retries that the running scheduler of the files waits for are
    among the slots.
    """
    if (len(files) > 0) + (expression is not None) + (interval is not None) > 1:
        raise click.UsageError("give job files, --cron or --every, only one of these", ctx)
    if expression is None and interval is None:
        files = job_files(files)
        # Do not need the machine's zone here: the files may name one, or report that it is unknown.
        named = None if timezone is None else zone_of_option(timezone)
        job_file = load(
            [Path(name) for name in files],
            timezone=timezone,
            dialect=dialect,
            is_run_here=False,
            now_ns=time.time_ns(),
        )
        jobs, zone = job_file.jobs, named or load_zone(job_file.timezone)
    else:
        zone = zone_of_option(timezone)
        jobs = (Job("", _schedule(expression, interval, zone, dialect), ()),)
    start_ns = time.time_ns() // SECOND_NS * SECOND_NS if start is None else _instant_ns(start, zone)
    found = [*islice(upcoming(jobs, start_ns=start_ns), count)]
    slots = [Slot.of(job, slot_ns, zone) for slot_ns, job in found]
    if not slots and count and not as_json:
        note(_why_none(jobs))
    if expression is not None and has_hash(jobs[0].schedule.text) and not as_json:
        note("H depends on the name of the job, so these times are only an example")
    items = [{"job": slot.job, "slot": slot.at.isoformat()} for slot in slots]
    rows = [
        (slot.slot_ns, (slot.job or "", *_users(job))) for slot, (_, job) in zip(slots, found, strict=True)
    ]
    retries = waiting_retries(files) if files and start is None else []
    if as_json:
        show({"slots": items, "retries": [_retry_item(retry) for retry in retries]}, (), as_json=True)
    else:
        rows += [(retry.due_ns // SECOND_NS * SECOND_NS, (retry.name, retry.words)) for retry in retries]
        rows = sorted(rows, key=itemgetter(0))[:count]
        heading = zone_heading(zone)
        if start is not None:
            heading += f", counted from {day_and_time(wall_time(start_ns, zone))}"
        shown = (
            (day_and_time(wall_time(at_ns, zone)), countdown(at_ns - start_ns), *others)
            for at_ns, others in rows
        )
        show_rows(shown, elastic=2, spare=(1,), heading=heading)


def _retry_item(retry: WaitingRetry) -> dict[str, object]:
    due = moment(retry.due_ns)
    return {"job": retry.name, "run": retry.run, "retry": retry.retry, "most": retry.most, "due": due}


def _users(job: Job) -> Iterator[str]:
    if job.users:
        yield as_users(job.users)


def _schedule(expression: str | None, interval: str | None, zone: ZoneInfo, dialect: str | None) -> Schedule:
    """Return the schedule of --cron or --every."""
    if expression is not None:
        try:
            return parse_cron(expression_of(expression, dialect), timezone=zone.key)
        except ScheduleError as error:
            raise click.BadParameter(with_mark(error, expression), param_hint="--cron") from error
    assert interval is not None
    try:
        every = parse_duration(interval)
    except TimespecError as error:
        raise click.BadParameter(str(error), param_hint="--every") from error
    if every < _SHORTEST:
        raise click.BadParameter("the shortest interval is 10ms", param_hint="--every")
    return Interval(every // _MICROSECOND * 1_000)


def _instant_ns(text: str, zone: ZoneInfo) -> int:
    """Read a time in any form that `core.timespec` reads; a date alone means midnight."""
    try:
        moment = parse_moment(text, now=datetime.now(zone), prefer="future")
        return (moment - _EPOCH) // _MICROSECOND * 1_000
    except TimespecError as error:
        raise bad_time(error, text, option="--from") from error


def _why_none(jobs: Sequence[Job]) -> str:
    """Return why there are no slots."""
    if jobs and all(isinstance(job.schedule, Reboot) for job in jobs):
        return "no slots: @reboot runs when taskman starts"
    return "no more slots"
