"""`taskman why`: what happened to a slot of a job, or why a time is not a slot, from the ledger alone."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_jobs
from taskman_cli.cli.options.instance import ledger_of, with_directory
from taskman_cli.cli.render import show
from taskman_cli.errors import TaskmanError, TimespecError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from taskman_cli.cli.support.told import Told
    from taskman_cli.core.model import Job
    from taskman_cli.insight.why import Calendar, Diagnosis, TimeQuery
    from taskman_cli.insight.why.facts import JobFacts

#: Widths: of a pipe or a file, and the limits for a terminal; longer lines are hard to read.
_WIDTH = 80
_MAX_WIDTH = 120
_MIN_WIDTH = 20


@click.command(
    "why",
    cls=Command,
    examples={
        "taskman why backup": "the latest slot",
        "taskman why backup --at 02:30": "",
        "taskman why backup --at 2026-03-29T02:30 --json": "",
    },
)
@click.argument("job", metavar="JOB", shell_complete=complete_jobs)
@click.option(
    "--at",
    "moment",
    metavar="T",
    help='Explain this time, not the latest slot: "14:30", "2026-12-24T14:30", or "2h" for two hours ago.',
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_directory
def why(*, directory: Path, job: str, moment: str | None, as_json: bool) -> None:
    """Explain why a job ran or did not run.

    Without --at, it explains the latest slot and names the next one. A slot is one scheduled time of a job. A
    time without an offset is in the time zone of the job. If no slot is at that time, it says why, and names
    the nearest slot.
    """
    from taskman_cli.cli.support.told import Told, told_of
    from taskman_cli.insight.why import document, paragraph
    from taskman_cli.ledger.queries.reader import refuse_blobs

    is_running = _is_running(directory)
    with ledger_of(directory) as ledger:
        ledger.row_factory = refuse_blobs
        diagnosis, zone = _look_up(
            ledger,
            job,
            moment,
            now_ns=time.time_ns(),
            is_running=is_running,
            told=told_of(directory, job) if is_running else Told(),
        )
        # Inside `with`: reading may reveal rows that no version of taskman wrote.
        text = paragraph(diagnosis, zone)
        facts = document(diagnosis, zone, text=text)
    shown = f"{text} (Times in {zone}.)"
    rows = [
        (line,) for line in textwrap.wrap(shown, _width(), break_long_words=False, break_on_hyphens=False)
    ]
    show(facts, rows, as_json=as_json)


def _look_up(
    ledger: sqlite3.Connection,
    name: str,
    moment: str | None,
    *,
    now_ns: int,
    is_running: bool | None,
    told: Told,
) -> tuple[Diagnosis, ZoneInfo]:
    """Return the answer, and the zone in which to show its times."""
    from taskman_cli.cli.support.ledger_facts import (
        facts_at,
        facts_of,
        latest_slot,
        record_of,
        recorded_slots,
        scheduler_facts,
    )
    from taskman_cli.insight.why import Calendar, diagnose, find_latest_slot, find_slot
    from taskman_cli.ledger.queries.horizon import latest_ahead

    on_record = facts_of(ledger, name)
    if on_record is None:
        from taskman_cli.cli.options.arguments import not_found
        from taskman_cli.ledger.queries.reader import job_names

        raise not_found("the ledger has no job", name, job_names(ledger))
    facts = on_record.corrected(now_ns)
    calendar = Calendar(_job(facts), facts)
    zone = _zone(calendar, ledger)
    asked = None if moment is None else _read(moment, zone, now_ns)
    if asked is not None:
        facts = facts_at(ledger, on_record, asked.at_ns).corrected(now_ns)
        calendar = Calendar(_job(facts), facts)
    if asked is None:
        sought = find_latest_slot(calendar, latest_slot(ledger, facts, now_ns=now_ns), now_ns=now_ns)
    else:
        sought = find_slot(calendar, asked, recorded_slots(ledger, facts, asked.windows, at_ns=asked.at_ns))
    found = [slot_ns for slot_ns in (sought.slot_ns, sought.recorded_ns) if slot_ns is not None]
    records = {slot_ns: record_of(ledger, facts, slot_ns) for slot_ns in found}
    scheduler = replace(
        scheduler_facts(ledger, facts).judged(now_ns),
        is_running=is_running,
        trouble=told.trouble,
        waits=told.waits,
        ahead_ns=latest_ahead(ledger, facts.id, now_ns=now_ns),
    )
    return diagnose(calendar, asked, sought, records, scheduler=scheduler, now_ns=now_ns), zone


def _is_running(directory: Path) -> bool | None:
    """Tell whether a taskman runs; None: unknown."""
    from taskman_cli.instance.lock import holder

    try:
        return holder(directory) is not None
    except TaskmanError:
        return None


def _job(facts: JobFacts) -> Job:
    """Return the job as recorded; without a recorded definition, a job that is never due."""
    from taskman_cli.core.engine.definition import job_from
    from taskman_cli.core.model import Job
    from taskman_cli.core.schedule import Reboot
    from taskman_cli.insight.why.slots import NO_DEFINITION

    if facts.definition == NO_DEFINITION:
        return Job(facts.name, Reboot("UTC"), ())
    return job_from(facts.name, facts.definition)


def _zone(calendar: Calendar, ledger: sqlite3.Connection) -> ZoneInfo:
    """Return the zone of the job, or that of the scheduler if its schedule has none."""
    from taskman_cli.cli.options.zones import find_zone
    from taskman_cli.cli.support.slots import zone_of
    from taskman_cli.errors import ScheduleError
    from taskman_cli.jobfile.settings import local_zone
    from taskman_cli.ledger.queries.reader import timezone_of

    default = find_zone(timezone_of(ledger)) or local_zone()
    if calendar.is_known:
        with suppress(ScheduleError):  # the machine may no longer know it
            return zone_of(calendar.job, default)
    return default


def _read(text: str, zone: ZoneInfo, now_ns: int) -> TimeQuery:
    """Read --at; raises click.BadParameter, which shows the place of the error."""
    from taskman_cli.cli.options.moment import bad_time
    from taskman_cli.insight.why import parse_time_query

    try:
        return parse_time_query(text, timezone=zone.key, now_ns=now_ns)
    except TimespecError as error:
        raise bad_time(error, text, option="--at") from error


def _width() -> int:
    """Return the maximal length of a line."""
    if not sys.stdout.isatty():
        return _WIDTH
    return min(max(shutil.get_terminal_size((_WIDTH, 24)).columns, _MIN_WIDTH), _MAX_WIDTH)
