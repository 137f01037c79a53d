"""`taskman check`: read job files as `run` would, and report all errors and warnings.

Errors go to standard error, as those of every other command do, and standard output has only the jobs. With
`--json` the errors are data, and go to standard output.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.crontabs import crontab_options, merged
from taskman_cli.cli.options.files import FileName, job_files, trust_option
from taskman_cli.cli.options.instance import with_directory_if_any
from taskman_cli.cli.options.zones import zone_heading
from taskman_cli.cli.render import as_users, day_and_time, note, say, show, show_rows
from taskman_cli.cli.support.check_report import say_coloured, say_number, show_errors
from taskman_cli.cli.support.findings import PlacedFinding, once
from taskman_cli.cli.support.linting import lint
from taskman_cli.cli.support.slots import upcoming
from taskman_cli.cli.synonyms import mistaken_dash
from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.schedule import Reboot, load_zone
from taskman_cli.insight.lint import Severity
from taskman_cli.jobfile import JobFileError
from taskman_cli.jobfile.programs import load_to_run
from taskman_cli.trust import standing_trust
from taskman_cli.ui.amounts import countdown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from zoneinfo import ZoneInfo

    from taskman_cli.core.model import Job
    from taskman_cli.jobfile import JobFile, Problem
    from taskman_cli.jobfile.source import Source


@click.command(
    "check",
    cls=Command,
    examples={
        "taskman check jobs.toml": "",
        "taskman check --strict jobs.toml": "for CI: warnings fail too",
        "taskman check --json jobs.toml": "",
    },
)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=FileName())
@crontab_options
@trust_option
@click.option("--strict", is_flag=True, help="Exit with 1 if there are warnings.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document: errors, warnings, and the number of jobs.",
)
@with_directory_if_any
def check(
    *,
    directory: Path | None,
    files: tuple[str, ...],
    user_crontabs: tuple[str, ...],
    dialect: str | None,
    skip_bad: bool,
    trusted: tuple[str, ...],
    strict: bool,
    as_json: bool,
) -> int:
    """Check job files and show the next slot of each job.

    It reports every error with its place, at the end their number, and exits with 2. Errors of whole files
    and of general tables come first; many with one cause are told once. Without errors, it prints one line
    per job, and warnings about likely mistakes on standard error. The comment `# taskman: allow NAME`
    suppresses the warning NAME.

    The files are checked together, as `taskman run` would load them: no two of them may define the same job.
    Without a FILE it is ./jobs.toml; for root, /etc/taskman/jobs.toml.
    """
    files = job_files(files, user_crontabs)
    sources: list[Source] = []
    trust = standing_trust(os.environ, named=trusted)
    try:
        job_file = load_to_run(
            [Path(name) for name in files],
            user_crontabs=user_crontabs,
            skip_bad=skip_bad,
            dialect=dialect,
            trust=trust,
            now_ns=time.time_ns(),
            sources=sources,
        )
    except JobFileError as error:
        if as_json:
            show(_document(error.problems, [], jobs=error.jobs), (), as_json=True)
        else:
            show_errors(error.problems)
            if hint := mistaken_dash(files).strip():
                say(hint, err=True)
        return error.exit_code
    found = lint(job_file.jobs, sources, directory, trust)
    if not as_json:
        say_coloured(one.warning() for one in merged(job_file.notes))
        say_coloured(one.render() for one in once(found))
    warnings = [*map(_of_crontab, job_file.notes), *found]
    now_ns = time.time_ns() // SECOND_NS * SECOND_NS
    if not job_file.jobs and not as_json:
        note("no errors, and no jobs")
    if as_json:
        show(_document([], warnings, jobs=len(job_file.jobs)), (), as_json=True)
    else:
        zone = load_zone(job_file.timezone)
        show_rows(_rows(job_file, zone, now_ns=now_ns), elastic=0, spare=(1,), heading=zone_heading(zone))
        say_number(warnings=[one.problem for one in warnings if one.severity is Severity.WARNING])
    return int(strict and any(warning.severity is Severity.WARNING for warning in warnings))


def _document(
    problems: Sequence[Problem], warnings: Sequence[PlacedFinding], *, jobs: int
) -> dict[str, object]:
    """Return the JSON document; `jobs` is the number of jobs without errors."""
    return {
        "errors": [_problem(problem) for problem in problems],
        "jobs": jobs,
        "warnings": [
            {"name": one.name, "severity": one.severity, **_problem(one.problem), "fix": one.fix}
            for one in warnings
        ],
    }


def _of_crontab(note: Problem) -> PlacedFinding:
    """Turn a note on a crontab into a finding."""
    return PlacedFinding(
        note.name or "crontab", Severity.INFO if note.is_info else Severity.WARNING, note, ""
    )


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "message": problem.message,
    }


def _rows(job_file: JobFile, zone: ZoneInfo, *, now_ns: int) -> Iterator[tuple[str, ...]]:
    """Yield each job's id, schedule, next slot and user."""
    for job in job_file.jobs:
        row = job.id, job.schedule.text, *_next_slot(job, zone, now_ns=now_ns)
        yield (*row, as_users(job.users)) if job.users else row


def _next_slot(job: Job, zone: ZoneInfo, *, now_ns: int) -> tuple[str, str]:
    """Return a job's next slot and how far off it is, or why there is none."""
    if not job.enabled:
        return "disabled", ""
    for slot_ns, _ in upcoming([job], start_ns=now_ns):
        return day_and_time(wall_time(slot_ns, zone)), countdown(slot_ns - now_ns)
    return "at start" if isinstance(job.schedule, Reboot) else "never", ""
