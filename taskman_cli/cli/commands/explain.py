"""`taskman explain`: a schedule in words, its next slots, and its pitfalls within a year."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_jobs, complete_zones
from taskman_cli.cli.options.crontabs import dialect_option
from taskman_cli.cli.options.expression import expression_of
from taskman_cli.cli.options.files import FileName, default_file
from taskman_cli.cli.options.instance import ledger_of, with_directory_if_any
from taskman_cli.cli.options.zones import find_zone, zone_of_option
from taskman_cli.cli.render import as_users, day_and_time, show
from taskman_cli.cli.support.slots import Slot, upcoming, zone_of
from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.model import Job
from taskman_cli.core.schedule import Once, Reboot, load_zone, parse_cron
from taskman_cli.core.timespec import format_duration
from taskman_cli.errors import NotFound, ScheduleError
from taskman_cli.insight.explain import Note, schedule_notes, schedule_words
from taskman_cli.instance.directory import state_directory
from taskman_cli.jobfile import load
from taskman_cli.ui.amounts import countdown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

_COUNT = 5
_WIDTH = 80
_MIN_WIDTH = 20


class Subject(NamedTuple):
    """The job to explain; the job of a bare expression has no name."""

    job: Job
    #: The zone in which its times are shown.
    zone: ZoneInfo


@click.command(
    "explain",
    cls=Command,
    examples={
        "taskman explain '*/7 * * * *'": "",
        "taskman explain '30 2 * * 1-5' --timezone Europe/Berlin": "",
        "taskman explain backup jobs.toml": "",
    },
)
@click.argument("what", metavar="EXPR|JOB", shell_complete=complete_jobs)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=FileName())
@click.option(
    "--timezone",
    metavar="TZ",
    shell_complete=complete_zones,
    help="Time zone of EXPR, and of jobs that name none (default: the machine's).",
)
@dialect_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_directory_if_any
def explain(
    *,
    directory: Path | None,
    what: str,
    files: tuple[str, ...],
    timezone: str | None,
    dialect: str | None,
    as_json: bool,
) -> None:
    """Describe a schedule in words, with next slots and pitfalls.

    EXPR is a cron expression, in quotes. JOB is a job of the given files; without files, a job in the ledger
    of the scheduler, or if there is none, of ./jobs.toml (for root, /etc/taskman/jobs.toml). Pitfalls are
    looked for within a year: clock changes, uneven steps, months that are left out.
    """
    if (_is_expression(what) and files) or _is_unquoted(what, files):
        fix = "put EXPR in quotes, as in '*/5 * * * *'; give FILE only with JOB"
        raise click.UsageError(fix, click.get_current_context())
    if _is_expression(what):
        subject = _of_expression(what, timezone, dialect)
    elif files:
        subject = _of_files(what, files, timezone, dialect)
    else:
        place = directory or state_directory(
            os.environ, is_root=os.geteuid() == 0
        )  # raises the error that says what is wrong
        subject = _on_record(place, what, timezone, dialect)
    now_ns = time.time_ns() // SECOND_NS * SECOND_NS
    job, zone = subject
    words = schedule_words(job.schedule, name=job.id)
    notes = [*schedule_notes(job.schedule, name=job.id, timezone=zone.key, now_ns=now_ns)]
    slots = [Slot.of(job, slot_ns, zone) for slot_ns, _ in islice(upcoming([job], start_ns=now_ns), _COUNT)]
    notes += _job_notes(subject, has_slot=bool(slots), now_ns=now_ns)
    document = {
        "schedule": job.schedule.text,
        "timezone": zone.key,
        "words": words,
        "slots": [slot.at.isoformat() for slot in slots],
        "notes": [note._asdict() for note in notes],
    }
    show(document, [(line,) for line in _lines(words, zone, slots, notes, now_ns=now_ns)], as_json=as_json)


def _is_expression(what: str) -> bool:
    """Tell a cron expression from a job name, which has no blanks and no @."""
    return not what or what.startswith("@") or any(char in what for char in " \t*")


def _is_unquoted(what: str, files: tuple[str, ...]) -> bool:
    """Tell whether the arguments are the fields of an expression without quotes."""
    return len(files) in (4, 5, 6) and what[:1].isdigit() and not any(Path(file).exists() for file in files)


def _of_expression(text: str, timezone: str | None, dialect: str | None) -> Subject:
    zone = zone_of_option(timezone)
    try:
        return Subject(Job("", parse_cron(expression_of(text, dialect), timezone=zone.key), ()), zone)
    except ScheduleError as error:
        from taskman_cli.cli.options.expression import with_mark

        raise ScheduleError(with_mark(error, text)) from error


def _of_files(name: str, files: tuple[str, ...], timezone: str | None, dialect: str | None) -> Subject:
    job_file = load([Path(file) for file in files], timezone=timezone, dialect=dialect, is_run_here=False)
    for job in job_file.jobs:
        if job.id == name:
            return Subject(job, zone_of(job, load_zone(job_file.timezone)))
    from taskman_cli.cli.options.arguments import not_found

    raise not_found("there is no job", name, [job.id for job in job_file.jobs])


def _on_record(directory: Path, name: str, timezone: str | None, dialect: str | None) -> Subject:
    from taskman_cli.cli.support.ledger_facts import facts_of
    from taskman_cli.core.engine.definition import job_from
    from taskman_cli.insight.why.slots import NO_DEFINITION
    from taskman_cli.ledger.queries.reader import NoLedger, job_names, timezone_of

    try:
        with ledger_of(directory) as ledger:
            facts = facts_of(ledger, name)
            zone = find_zone(timezone_of(ledger)) if timezone is None else None
            names = [] if facts is not None else job_names(ledger)
    except NoLedger as error:
        if (file := default_file()) is not None:
            return _of_files(name, (file,), timezone, dialect)
        raise NoLedger(f"{error}; for a job of a file: taskman explain JOB FILE") from None
    if facts is None or facts.definition == NO_DEFINITION:
        from taskman_cli.cli.options.arguments import not_found

        unknown = not_found("the ledger has no job", name, names)
        if Path(name).is_file():
            raise NotFound(f"{unknown}; for a job of that file: taskman explain JOB {name}")
        raise unknown
    job = job_from(name, facts.definition)
    return Subject(job, zone_of(job, zone or zone_of_option(timezone)))


def _job_notes(subject: Subject, *, has_slot: bool, now_ns: int) -> Iterator[Note]:
    """Yield notes on the keys of the job beside its schedule."""
    job, policy = subject.job, subject.job.policy

    def at(instant_ns: int) -> str:
        return day_and_time(wall_time(instant_ns, subject.zone))

    if job.users:
        yield Note("user", f"It runs {as_users(job.users)}.")
    if not job.enabled:
        yield Note("disabled", "The job is disabled: enabled = false.")
    elif not has_slot and not isinstance(job.schedule, Reboot):
        yield Note("never", f"There are no more slots{_why_none(job, now_ns)}.")
    if policy.jitter_ns:
        jitter = format_duration(policy.jitter_ns)
        yield Note("jitter", f"Each run starts up to {jitter} after its slot.")
    if policy.run_on_start:
        yield Note("run-on-start", "It also runs each time taskman starts.")
    if policy.starts_at_ns is not None:
        yield Note("starts-at", f"It has no slots before {at(policy.starts_at_ns)}.")
    if policy.expires_at_ns is not None:
        yield Note("expires-at", f"It has no slots from {at(policy.expires_at_ns)} on.")
    if policy.max_runs is not None:
        yield Note(
            "max-runs", f"It runs at most {'once' if policy.max_runs == 1 else f'{policy.max_runs} times'}."
        )


def _why_none(job: Job, now_ns: int) -> str:
    expires_ns = job.policy.expires_at_ns
    if expires_ns is not None and expires_ns <= now_ns:
        return ": expires_at has passed"
    if isinstance(job.schedule, Once):
        return ": its time has passed"
    return "" if expires_ns is None else " before expires_at"


def _lines(words: str, zone: ZoneInfo, slots: list[Slot], notes: list[Note], *, now_ns: int) -> Iterator[str]:
    width = _width()
    yield from textwrap.wrap(f"{words} ({zone.key}).", width, break_long_words=False, break_on_hyphens=False)
    for slot in slots:
        line = f"  {day_and_time(slot.at)}  {countdown(slot.slot_ns - now_ns)}"
        yield line if len(line) <= width else line[:width].rpartition("  ")[0]
    for name, message in notes:
        yield from textwrap.wrap(
            f"{name}: {message}",
            width,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )


def _width() -> int:
    """Return the maximal length of a line."""
    if not sys.stdout.isatty():
        return _WIDTH
    return max(shutil.get_terminal_size((_WIDTH, 24)).columns, _MIN_WIDTH)
