"""`taskman why`: what happened to a run or a slot of a job, or why a time is not a slot, and what to do."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_outputs
from taskman_cli.cli.options.instance import ledger_of, with_directory, with_instance
from taskman_cli.cli.render import show
from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.errors import TaskmanError, TimespecError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from taskman_cli.cli.support.last_lines import Tail
    from taskman_cli.cli.support.told import Told
    from taskman_cli.core.model import Job
    from taskman_cli.insight.why import Advice, Calendar, Diagnosis, TimeQuery
    from taskman_cli.insight.why.facts import JobFacts, SlotRecord
    from taskman_cli.insight.why.slots import FoundSlot

#: Widths: of a pipe or a file, and the limits for a terminal; longer lines are hard to read.
_WIDTH = 80
_MAX_WIDTH = 120
_MIN_WIDTH = 20


@click.command(
    "why",
    cls=Command,
    examples={
        "taskman why backup": "the latest run, or why there was none",
        "taskman why backup --at 02:30": "",
        "taskman why backup --at 2026-03-29T02:30 --json": "",
    },
)
@click.argument("target", metavar="RUN|JOB[.TASK]", shell_complete=complete_outputs)
@click.option(
    "--at",
    "moment",
    metavar="T",
    help='Explain this time, not the latest run: "14:30", "2026-12-24T14:30", or "2h" for two hours ago.',
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_directory
def why(*, directory: Path, target: str, moment: str | None, as_json: bool) -> None:
    """Explain why a job ran or did not run, and what to do.

    Without --at, it explains the latest run of a job, or the latest slot if that got none, and names the next
    slot. A slot is one scheduled time of a job. RUN is one run, JOB.TASK the latest run of a task. A time
    without an offset is in the time zone of the job. If no slot is at that time, it says why, and names the
    nearest slot. The answer ends with the last lines of the output and with what to type next.
    """
    from taskman_cli.cli.support.last_lines import shown_lines
    from taskman_cli.cli.support.told import Told, told_of
    from taskman_cli.insight.why import advice, document, paragraph
    from taskman_cli.ledger.queries.reader import refuse_blobs

    is_running = _is_running(directory)
    with ledger_of(directory) as ledger:
        ledger.row_factory = refuse_blobs
        asked = _resolve(ledger, target, moment)
        diagnosis, zone = _look_up(
            ledger,
            asked,
            moment,
            now_ns=time.time_ns(),
            is_running=is_running,
            told=told_of(directory, asked.job) if is_running else Told(),
        )
        # Inside `with`: reading may reveal rows that no version of taskman wrote.
        text = paragraph(diagnosis, zone)
        advised = [
            one._replace(command=with_instance(one.command)) for one in advice(diagnosis, task=asked.task)
        ]
        tail = _tail(directory, diagnosis, asked.task)
        facts = document(diagnosis, zone, text=text)
    facts |= {
        "output": None if tail is None else tail._asdict(),
        "advice": [one._asdict() for one in advised],
    }
    rows = [
        *_wrapped(f"{text} (Times in {zone}.)"),
        *shown_lines(tail, width=_width() if sys.stdout.isatty() else None),
        *_advice_lines(advised),
    ]
    show(facts, [(row,) for row in rows], as_json=as_json)


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, _width(), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _tail(directory: Path, diagnosis: Diagnosis, task: str | None) -> Tail | None:
    """Return the last lines of the output of the run that the answer is about."""
    from taskman_cli.cli.support.last_lines import last_lines

    run = diagnosis.run
    if run is None:
        return None
    attempts = [attempt for attempt in run.attempts if task in (None, attempt.task)]
    return last_lines(directory, diagnosis.calendar.job.id, run.id, run.state, attempts)


def _advice_lines(advised: Sequence[Advice]) -> Iterator[str]:
    """Yield what to do: first what has to be known, then what to type."""
    if advised:
        yield ""
        yield "What to do:"
    for one in advised:
        if not one.command:
            yield from _wrapped(f"  - {one.words}", "    ")
    commands = [one for one in advised if one.command]
    longest = max((len(one.command) for one in commands), default=0)
    for one in commands:
        line = f"  {one.command.ljust(longest)}  {one.words}"
        # A long command stands alone, so that it can be copied.
        yield from [line] if len(line) <= _width() else [f"  {one.command}", f"      {one.words}"]


class _Asked(NamedTuple):
    """What was asked about."""

    job: str
    #: The number of the run; None: the latest.
    run: int | None
    task: str | None


def _resolve(ledger: sqlite3.Connection, target: str, moment: str | None) -> _Asked:
    """Return the job, the run and the task that a target names."""
    from taskman_cli.cli.options.arguments import not_found
    from taskman_cli.cli.support.run_ids import run_of
    from taskman_cli.ledger.queries.attempts import find_run, latest_begun, tasks_in, tasks_of
    from taskman_cli.ledger.queries.reader import find_job, job_names

    name, dot, rest = target.partition(".")
    task = rest if dot else None
    job = find_job(ledger, name)
    if job is None:
        number = run_of(ledger, name)
        run = None if number is None else find_run(ledger, number)
        if run is None:
            raise not_found("the ledger has no run and no job", name, job_names(ledger))
        if moment is not None:
            raise click.UsageError("give --at with a job, not with a run", click.get_current_context())
        if task is not None and task not in (known := tasks_in(ledger, run.run)):
            raise not_found(f"run {encode_run_id(run.run)} of {run.job} has started no task", task, known)
        return _Asked(run.job, run.run, task)
    if task is None:
        return _Asked(job.name, None, None)
    latest = latest_begun(ledger, job.id, task=task)
    if latest is None:
        raise not_found(f"no run of {job.name} has started a task", task, tasks_of(ledger, job.id))
    return _Asked(job.name, latest if moment is None else None, task)


def _look_up(
    ledger: sqlite3.Connection,
    target: _Asked,
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
        record_of,
        record_of_run,
        recorded_slots,
        scheduler_facts,
    )
    from taskman_cli.insight.why import Calendar, diagnose, find_run_slot, find_slot
    from taskman_cli.ledger.queries.horizon import latest_ahead

    on_record = facts_of(ledger, target.job)
    assert on_record is not None  # its name was found there
    facts = on_record.corrected(now_ns)
    calendar = Calendar(_job(facts), facts)
    zone = _zone(calendar, ledger)
    asked = None if moment is None else _read(moment, zone, now_ns)
    records: dict[int, SlotRecord] = {}
    latest_ns = None
    if asked is not None:
        facts = facts_at(ledger, on_record, asked.at_ns).corrected(now_ns)
        calendar = Calendar(_job(facts), facts)
        sought = find_slot(calendar, asked, recorded_slots(ledger, facts, asked.windows, at_ns=asked.at_ns))
    elif target.run is not None:
        at_ns, record = record_of_run(ledger, facts, target.run)
        records[at_ns] = record
        sought = find_run_slot(calendar, at_ns, now_ns=now_ns)
    else:
        sought, latest_ns = _find_latest(ledger, calendar, records, now_ns=now_ns)
    for slot_ns in (sought.slot_ns, sought.recorded_ns):
        if slot_ns is not None and slot_ns not in records:
            records[slot_ns] = record_of(ledger, facts, slot_ns)
    scheduler = replace(
        scheduler_facts(ledger, facts).judged(now_ns),
        is_running=is_running,
        trouble=told.trouble,
        waits=told.waits,
        ahead_ns=latest_ahead(ledger, facts.id, now_ns=now_ns),
    )
    answer = diagnose(
        calendar, asked, sought, records, scheduler=scheduler, now_ns=now_ns, latest_ns=latest_ns
    )
    return answer, zone


def _find_latest(
    ledger: sqlite3.Connection, calendar: Calendar, records: dict[int, SlotRecord], *, now_ns: int
) -> tuple[FoundSlot, int | None]:
    """Return the slot of the latest run, or a later slot that got none; then also that of the run."""
    from taskman_cli.cli.support.ledger_facts import latest_run, latest_slot, record_of_run
    from taskman_cli.insight.why import find_latest_slot, find_run_slot

    facts = calendar.facts
    sought = find_latest_slot(calendar, latest_slot(ledger, facts, now_ns=now_ns), now_ns=now_ns)
    found = latest_run(ledger, facts, now_ns=now_ns)
    if found is None:
        return sought, None
    number, queued_ns = found
    at_ns, record = record_of_run(ledger, facts, number)
    if at_ns == sought.slot_ns:
        return sought, None
    records.setdefault(at_ns, record)
    if sought.slot_ns is None or not queued_ns < sought.slot_ns <= now_ns:
        # It came after the latest slot, whatever it was for.
        return find_run_slot(calendar, at_ns, now_ns=now_ns), None
    return sought, at_ns


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
