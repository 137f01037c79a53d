"""`taskman import`: convert the files of other schedulers to a job file, or to rows of JSON."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.crontabs import dialect_option, print_warnings
from taskman_cli.cli.options.files import FileName
from taskman_cli.cli.render import note, print_data, show_array
from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.crontab.dialect import Dialect
from taskman_cli.jobfile.crontab.source import Form
from taskman_cli.jobfile.crontab.tables import program_hint
from taskman_cli.jobfile.foreign.convert import Converter
from taskman_cli.jobfile.foreign.inputs import Input, inputs
from taskman_cli.jobfile.foreign.write import rows, to_toml, with_comments
from taskman_cli.jobfile.problems import JobFileError, Problem
from taskman_cli.jobfile.source import MAX_BYTES
from taskman_cli.launch.accounts import find_account

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskman_cli.jobfile.foreign.imported import Imported
    from taskman_cli.jobfile.load import JobFile
    from taskman_cli.jobfile.source import Source

#: Named warnings that a converted crontab has given already.
_TOLD = frozenset({"unexpanded", "idle-tz"})


@click.command(
    "import",
    cls=Command,
    examples={
        "taskman import /etc/crontab > system.toml": "",
        "crontab -l | taskman import --user - > mine.toml": "",
        "taskman import backup.timer": "with the service beside it",
    },
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FileName())
@click.option(
    "--system", "form", flag_value=Form.SYSTEM.value, help="A system crontab: each line names a user."
)
@click.option("--user", "form", flag_value=Form.USER.value, help="A user's crontab: no line names a user.")
@dialect_option
@click.option("--skip-bad", is_flag=True, help="Convert what is valid, and make comments of the rest.")
@click.option("--json", "as_json", is_flag=True, help="Print what was read as one JSON array.")
def import_(
    *, files: tuple[str, ...], form: str | None, dialect: str | None, skip_bad: bool, as_json: bool
) -> int:
    """Convert crontabs and other schedulers' files to a job file.

    The job file goes to standard output. FILE is a crontab, an anacrontab, a systemd timer, a YAML file of
    yacron or of a Kubernetes CronJob, an INI file of ofelia, or a directory such as /etc/cron.d or
    /etc/cron.daily; - is standard input. What taskman cannot do as the other scheduler did is reported, and
    written as a comment.

    In a system crontab each line names a user; a crontab in /etc is one. The kind of any other crontab is
    guessed and reported, unless you give --system or --user. The jobs of a crontab in cron's spool directory
    run as the user that the crontab is named after.
    """
    known = None if dialect is None else Dialect(dialect)
    if form == Form.SYSTEM.value and known is not None and not known.has_users:
        raise click.UsageError(f"crontabs of {known.program} name no user: leave out --system")
    converter = Converter(None if form is None else Form(form), known)
    found = [one for file in files for one in _inputs(file, known)]
    imported = converter.convert(found)
    for words in converter.guesses:
        note(words)
    problems = [problem for one in imported for problem in one.problems]
    if as_json:
        print_warnings(warning for one in imported for warning in (*one.notes, *one.warnings))
        show_array(row for one in imported for row in rows(one))
        return JobFileError.exit_code if problems else 0
    if problems and not skip_bad:
        raise JobFileError(problems, jobs=sum(len(one.jobs) for one in imported))
    for one in imported:
        print_warnings(sorted([*one.notes, *one.warnings], key=lambda found: found.line))
    for problem in problems:
        note(f"skipped: {problem}")
    _tell_users(imported)
    print_data(_stated(imported, skip_bad=skip_bad))
    return 0


def _inputs(file: str, dialect: Dialect | None) -> list[Input]:
    if file == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            message = f"larger than {MAX_BYTES >> 20} MiB"
            raise JobFileError([Problem("standard input", 1, 1, "", message)])
        return [Input(Path("standard input"), data, is_piped=True)]
    found, notes = inputs(Path(file), dialect)
    print_warnings(notes)
    return found


def _loaded(imported: Sequence[Imported], *, skip_bad: bool) -> tuple[str, JobFile, list[Source]]:
    """Return the job file as text and as read; jobs that a job file cannot have are refused or skipped."""
    from taskman_cli.jobfile.load import loads

    while True:
        text = to_toml(imported)
        sources: list[Source] = []
        try:
            return text, loads(text, is_run_here=False, sources=sources), sources
        except JobFileError as error:
            problems = _moved(error.problems, imported)
            names = {_job_of(problem.key) for problem in error.problems}
            if not skip_bad or not any(name in one.jobs for one in imported for name in names):
                jobs = sum(len(one.jobs) for one in imported)
                raise JobFileError(problems, jobs=max(0, jobs - len(names))) from None
        for problem in problems:
            note(f"skipped: {problem}")
        for one in imported:
            for name in names & one.jobs.keys():
                one.note(one.lines[name], f"{name} is left out: a job file cannot have it")
                del one.jobs[name]


def _moved(problems: Sequence[Problem], imported: Sequence[Imported]) -> list[Problem]:
    """Return problems of the job file at the places that they come from."""
    places = {name: (one.path, line) for one in imported for name, line in one.lines.items()}
    moved = []
    for problem in problems:
        path, line = places.get(_job_of(problem.key), (imported[0].path, 0))
        message = f"{problem.key}: {problem.message}" if problem.key else problem.message
        where = f"line {line}: " if line else ""
        moved.append(Problem(path, max(line, 1), 1, "", where + message))
    return moved


def _stated(imported: Sequence[Imported], *, skip_bad: bool) -> str:
    """Report what is odd about the jobs, and say in the job file that the other scheduler had it so."""
    from taskman_cli.cli.support.linting import lint_text
    from taskman_cli.insight.lint import Severity

    text, file, sources = _loaded(imported, skip_bad=skip_bad)
    places = {
        name: Problem(one.path, line, 1, name, "", source_line="")
        for one in imported
        for name, line in one.lines.items()
    }
    comments: dict[int, list[str]] = {}
    allowed: dict[int, list[str]] = {}
    told = []
    for finding in lint_text(file.jobs, sources, now_ns=time.time_ns()):
        if finding.severity is not Severity.WARNING:
            continue
        line = finding.problem.line
        if finding.name not in allowed.setdefault(line, []):
            allowed[line].append(finding.name)
            comments.setdefault(line, []).append(finding.problem.message)
        place = places.get(_job_of(finding.problem.key))
        if place is not None and finding.name not in _TOLD:
            words = f"{finding.problem.message}; {finding.fix}"
            told.append(replace(place, message=words, name=finding.name))
    print_warnings(dict.fromkeys(told))
    for line, names in allowed.items():
        comments[line].append(f"taskman: allow {', '.join(names)}")
    return with_comments(text, comments)


def _job_of(key: str) -> str:
    """Return the job that a key belongs to."""
    parts = key.split(".")
    return parts[1] if parts[0] == "jobs" and len(parts) > 1 else ""


def _tell_users(imported: Sequence[Imported]) -> None:
    """Report users that do not exist."""
    for user in sorted(set(_users(imported))):
        if find_account(user) is None:
            hint = program_hint(user, "--user") if all(one.is_told for one in imported) else ""
            words = hint or ", so taskman will not run these jobs here"
            note(f"there is no user {quoted(user)} on this machine{words}")


def _users(imported: Sequence[Imported]) -> Iterator[str]:
    for one in imported:
        for job in one.jobs.values():
            if "user" in job:
                yield job["user"]
