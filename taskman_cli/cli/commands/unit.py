"""`taskman unit`: the systemd unit that runs job files with this installation."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

import taskman_cli
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.crontabs import crontab_options, print_warnings
from taskman_cli.cli.options.files import FileName, job_files, trust_option
from taskman_cli.cli.render import note, print_data
from taskman_cli.cli.support.check_report import show_errors
from taskman_cli.cli.support.systemd_unit import (
    INSTANCE,
    INSTANCE_FILE,
    UnitFor,
    tmpfiles_text,
    unit_text,
)
from taskman_cli.core.escapes import as_utf8, printable
from taskman_cli.errors import TaskmanError
from taskman_cli.instance.directory import state_directory
from taskman_cli.instance.ephemeral import PREFIX
from taskman_cli.jobfile import JobFileError
from taskman_cli.jobfile.programs import load_to_run
from taskman_cli.trust import Trust, Untrusted, standing_trust

if TYPE_CHECKING:
    from taskman_cli.jobfile import JobFile

#: As an instance may be called, which systemd takes unescaped.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: What is there is gone after the next boot.
_VOLATILE = ("/tmp/", "/run/", "/dev/", "/proc/", "/var/tmp/")  # noqa: S108
#: Variables of the user's that the state directory depends on, and that a service does not get.
_PLACES = ("XDG_STATE_HOME",)


@click.command(
    "unit",
    cls=Command,
    examples={
        "taskman unit /etc/taskman/jobs.toml": "",
        "taskman unit --user jobs.toml > taskman.service": "",
        "taskman unit --template > taskman@.service": "for each file in /etc/taskman",
    },
)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=FileName())
@click.option(
    "--user", "is_user", is_flag=True, help="For your own systemd (systemctl --user), without root."
)
@click.option("--name", metavar="NAME", help="For the instance of this name, beside others.")
@click.option(
    "--template", is_flag=True, help="Print taskman@.service: taskman@NAME runs /etc/taskman/NAME.toml."
)
@click.option(
    "--tmpfiles", is_flag=True, help="Print lines for systemd-tmpfiles: which directories are made."
)
@crontab_options
@trust_option
def unit(
    *,
    files: tuple[str, ...],
    is_user: bool,
    name: str | None,
    template: bool,
    tmpfiles: bool,
    user_crontabs: tuple[str, ...],
    dialect: str | None,
    skip_bad: bool,
    trusted: tuple[str, ...],
) -> int:
    """Print a systemd unit that runs these job files.

    Write it to the file that its first line names. It calls this installation of taskman, and gets its
    directories for state and socket from systemd. It takes rights away from the jobs; comments say which, and
    the lines that your jobs cannot run with can be left out.

    The job files are checked first, as `taskman check` does. For a unit of the system, only root may be able
    to change them and this installation. Without a FILE it is ./jobs.toml; for root, /etc/taskman/jobs.toml.
    """
    context = click.get_current_context()
    if (template or tmpfiles) and (files or user_crontabs or name is not None or (template and tmpfiles)):
        raise click.UsageError(
            "--template and --tmpfiles are for any job file: leave out FILE, --name and the other of them",
            context,
        )
    if tmpfiles:
        print_data(tmpfiles_text(is_user=is_user, ephemeral=PREFIX))
        return 0
    if name is not None and not _NAME.fullmatch(name):
        raise click.BadParameter('use up to 64 letters, digits, "-" and "_"', context, param_hint="--name")
    # At boot nobody has called sudo.
    trust = Trust(is_checked=False) if is_user else standing_trust({}, named=trusted, is_at_boot=True)
    program = _program(trust)
    environment = tuple((place, os.environ[place]) for place in _PLACES if is_user and os.environ.get(place))
    if template:
        print_data(unit_text(UnitFor(program, (INSTANCE_FILE,), INSTANCE, is_user, environment=environment)))
        return 0
    files = tuple(map(_lasting, job_files(files, user_crontabs)))
    user_crontabs = tuple(map(_lasting, user_crontabs))
    try:
        job_file = load_to_run(
            list(map(Path, files)),
            user_crontabs=user_crontabs,
            skip_bad=skip_bad,
            dialect=dialect,
            trust=trust,
            now_ns=time.time_ns(),
        )
    except JobFileError as error:
        show_errors(error.problems)
        return error.exit_code
    print_warnings(job_file.notes)
    arguments = [
        *[word for path in user_crontabs for word in ("--user-crontab", path)],
        *(["--dialect", dialect] if dialect else []),
        *(["--skip-bad"] if skip_bad else []),
        *[word for one in trusted for word in ("--trust", one)],
        *files,
    ]
    wanted = UnitFor(
        program,
        tuple(arguments),
        name or "",
        is_user,
        needs=(*files, *user_crontabs),
        hang_after_ns=job_file.settings.hang_after_ns,
        sends_mail=_sends_mail(job_file),
        environment=environment,
    )
    print_data(unit_text(wanted))
    _warn(wanted)
    return 0


def _program(trust: Trust) -> tuple[str, ...]:
    """Return the words that call this installation. Raises TaskmanError if another user can change it."""
    called = shutil.which(sys.argv[0]) if Path(sys.argv[0]).name == "taskman" else None
    # A module has no program of its own: the interpreter does.
    words = (os.path.abspath(called),) if called else (sys.executable, "-P", "-m", "taskman_cli")  # noqa: PTH100
    try:
        for path in (words[0], sys.executable, str(Path(taskman_cli.__file__).parent)):
            trust.check(path)
    except Untrusted as error:
        raise TaskmanError(
            f"root would run this installation of taskman, and {error}; "
            "or install it where only root can write; or print a unit of your own with --user"
        ) from None
    return words


def _lasting(name: str) -> str:
    """Return the full path of a file that can still be read at the next boot."""
    path = os.path.abspath(name)  # noqa: PTH100 - links stay as they are
    if as_utf8(path) != path:
        raise click.UsageError(
            f"{printable(path)} is not UTF-8, and systemctl could not show a unit with this name in it: "
            "rename the file, or make a link to it",
            click.get_current_context(),
        )
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):  # noqa: PTH110, PTH112, PTH113
        raise click.UsageError(
            f"{name} is neither a file nor a directory: a unit needs one that is there at the next boot",
            click.get_current_context(),
        )
    return path


def _sends_mail(job_file: JobFile) -> bool:
    """Tell if mail is sent with the machine's sendmail, which mostly has the rights of a group."""
    has_sink = any(sink.type == "mail" and "host" not in sink.settings for sink in job_file.sinks)
    return has_sink or job_file.settings.crontab_mail


def _warn(wanted: UnitFor) -> None:
    for path in (*wanted.needs, wanted.program[0]):
        if path.startswith(_VOLATILE):
            note(f"{path} may be gone after the next boot: move it to a directory that stays")
    if wanted.is_user and os.geteuid() == 0:
        note("this is a unit for the systemd of the user root; without --user it is one of the system")
    base = state_directory(os.environ, is_root=os.geteuid() == 0)
    if wanted.is_user and os.environ.get("STATE_DIRECTORY"):
        note(f"STATE_DIRECTORY is set here ({base}), but the service does not get it")
