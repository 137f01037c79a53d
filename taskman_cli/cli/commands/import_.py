"""`taskman import`: convert a crontab to a job file, or to rows of JSON."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.crontabs import print_warnings
from taskman_cli.cli.options.files import FileName
from taskman_cli.cli.render import note, print_data, show_array
from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.crontab.parse import read_crontab
from taskman_cli.jobfile.crontab.source import Form, as_text, form_of, guess, notes_on, why
from taskman_cli.jobfile.crontab.spool import SpoolFile
from taskman_cli.jobfile.crontab.suspicious import suspicious_lines, without_allowed
from taskman_cli.jobfile.crontab.tables import convert
from taskman_cli.jobfile.crontab.to_toml import to_toml
from taskman_cli.jobfile.problems import JobFileError, Problem
from taskman_cli.jobfile.source import MAX_BYTES, LineIndex, read_bytes
from taskman_cli.launch.accounts import find_account

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.jobfile.crontab.parse import BadLine, Crontab, CrontabNote


#: The most variables of all jobs together: more would make a job file of many megabytes.
MOST_VARIABLES = 200_000


@click.command(
    "import",
    cls=Command,
    examples={
        "taskman import /etc/crontab > system.toml": "",
        "crontab -l | taskman import --user - > mine.toml": "",
    },
)
@click.argument("file", metavar="FILE", type=FileName())
@click.option(
    "--system", "form", flag_value=Form.SYSTEM.value, help="A system crontab: each line names a user."
)
@click.option("--user", "form", flag_value=Form.USER.value, help="A user's crontab: no line names a user.")
@click.option("--skip-bad", is_flag=True, help="Convert the valid lines, and make comments of the others.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as one JSON array.")
def import_(*, file: str, form: str | None, skip_bad: bool, as_json: bool) -> int:
    """Convert a crontab to a job file.

    The job file goes to standard output. FILE may be - for standard input.

    In a system crontab each line names a user; a crontab in /etc is one. The kind of any other crontab is
    guessed and reported, unless you give --system or --user. The jobs of a crontab in cron's spool directory
    run as the user that the crontab is named after.
    """
    path = Path("standard input" if file == "-" else file)
    data = _read(file)
    text = as_text(data)
    spooled = None if file == "-" else SpoolFile.at(path)
    user = spooled.user if spooled is not None else None
    crontab = read_crontab(text, system=_form(form, path, text) is Form.SYSTEM, user=user)
    notes = [
        *notes_on(data, crontab),
        *without_allowed(suspicious_lines(crontab, is_run_here=False), text)[0],
    ]
    if as_json:
        print_warnings(_problems(path, text, notes))
        show_array(row.row() for row in crontab.rows)
        return JobFileError.exit_code if crontab.bad_lines else 0
    _refuse_many_variables(crontab, path)
    converted = convert(crontab, taken={}, accounts=None)
    bad_lines = sorted([*crontab.bad_lines, *converted.bad_lines], key=lambda bad: bad.line)
    if bad_lines and not skip_bad:
        raise JobFileError(_problems(path, text, bad_lines), jobs=len(converted.entries))
    print_warnings(_problems(path, text, sorted([*notes, *converted.notes], key=lambda found: found.line)))
    for problem in _problems(path, text, bad_lines):
        note(f"skipped: {problem}")
    _tell_users(crontab)
    print_data(to_toml(crontab, converted, name=str(path), left_out=bad_lines))
    return 0


def _refuse_many_variables(crontab: Crontab, path: Path) -> None:
    """Raise JobFileError if the entries have too many variables to repeat in a job file."""
    count = sum(len(entry.env) for entry in crontab.entries)
    if count > MOST_VARIABLES:
        message = (
            f"its {len(crontab.entries):,} entries have {count:,} variables in all, because each gets those "
            f"above it: too many for one file; run the crontab as it is (taskman run {path})"
        )
        raise JobFileError([Problem(str(path), 1, 1, "", message)])


def _read(file: str) -> bytes:
    if file != "-":
        try:
            return read_bytes(Path(file))
        except IsADirectoryError:
            message = "is a directory: give one crontab at a time"
            raise JobFileError([Problem(file, 1, 1, "", message)]) from None
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        message = f"larger than {MAX_BYTES >> 20} MiB"
        raise JobFileError([Problem("standard input", 1, 1, "", message)])
    return data


def _form(given: str | None, path: Path, text: str) -> Form:
    """Return the kind of a crontab, and report it if it was guessed."""
    if given is not None:
        return Form(given)
    known = form_of(path)
    if known is not None:
        return known
    guessed = guess(text) or Form.USER
    other = Form.USER if guessed is Form.SYSTEM else Form.SYSTEM
    note(f"treated as a {guessed} crontab: {why(guessed)}; if it is not, use --{other}")
    return guessed


def _problems(path: Path, text: str, found: Sequence[BadLine | CrontabNote]) -> list[Problem]:
    """Return the findings with their places in the text."""
    lines = LineIndex(str(path), text.replace("\r\n", "\n"))
    problems = []
    for item in found:
        start = lines.offset(item.line, item.column)
        message = item.message if hasattr(item, "message") else item.error
        problem = lines.problem(start, start + item.length, message=message)
        problems.append(replace(problem, name=getattr(item, "name", "")))
    return problems


def _tell_users(crontab: Crontab) -> None:
    """Report users that do not exist."""
    for user in sorted({entry.user for entry in crontab.entries if entry.user is not None}):
        if find_account(user) is None:
            note(f"there is no user {quoted(user)} on this machine, so taskman will not run these jobs here")
