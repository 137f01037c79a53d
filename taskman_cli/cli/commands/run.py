"""`taskman run`: become the supervisor of a scheduler that runs job files."""

from __future__ import annotations

import errno
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from taskman_cli.cli.options.choice import OneOf
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.crontabs import crontab_options
from taskman_cli.cli.options.duration import Duration
from taskman_cli.cli.options.files import FileName, job_files, trust_option
from taskman_cli.cli.options.instance import with_directory_if_any
from taskman_cli.core.logsettings import LogFormat, LogLevel
from taskman_cli.errors import TaskmanError
from taskman_cli.launch.locale import UTF8
from taskman_cli.supervisor.process import remove_own
from taskman_cli.supervisor.voice import CRITICAL, DEBUG, ERROR, NOTICE, WARNING

if TYPE_CHECKING:
    from typing import NoReturn

_NAME = "taskman"
LEVELS = tuple(level.value for level in LogLevel)
FORMATS = tuple(form.value for form in LogFormat)

#: The scheduler does not start with fewer; each running command takes some more.
_LEAST_DESCRIPTORS = 32


@click.command(
    "run",
    cls=Command,
    examples={
        "taskman run jobs.toml": "until Ctrl-C",
        "taskman run --ephemeral jobs.toml": "the state is removed at the end",
        "taskman run --for 8h /etc/crontab": "stop after 8 hours",
    },
)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=FileName())
@crontab_options
@trust_option
@click.option(
    "--ephemeral",
    is_flag=True,
    help="Keep the state in a private temporary directory that is removed at the end.",
)
@click.option("--no-live", is_flag=True, help="Print log lines instead of the live view, also on a terminal.")
@click.option("--for", "run_for_ns", type=Duration(), metavar="DURATION", help="Stop after this long.")
@click.option("--until-idle", is_flag=True, help="Stop when nothing runs and nothing is scheduled any more.")
@click.option(
    "--log-level",
    type=OneOf(LEVELS),
    help="Log messages of this level and above (default: notice; with the live view: critical).",
)
@click.option(
    "--log-format",
    type=OneOf(FORMATS),
    help="The form of log lines (default: auto, which is journald under systemd, else text).",
)
@click.option("-v", "--verbose", count=True, help="Log a line a run, too; -vv: all that happens.")
@click.option(
    "-q",
    "--quiet",
    is_flag=True,
    help="Log only warnings and errors, and do not say where the state is kept and what to type next.",
)
@with_directory_if_any
def run(
    *,
    directory: Path | None,
    files: tuple[str, ...],
    user_crontabs: tuple[str, ...],
    dialect: str | None,
    skip_bad: bool,
    trusted: tuple[str, ...],
    ephemeral: bool,
    no_live: bool,
    run_for_ns: int | None,
    until_idle: bool,
    log_level: str | None,
    log_format: str | None,
    verbose: int,
    quiet: bool,
) -> NoReturn:
    """Run job files in the foreground.

    A FILE may also be a classic crontab such as /etc/crontab, or a directory of job files or crontabs.
    Without one it is ./jobs.toml; for root, /etc/taskman/jobs.toml.

    On a terminal, a live view shows the queue, the workers and the results; elsewhere, log lines go to
    standard error. Ctrl-C or SIGTERM stops taskman: no new command starts, and running commands get their
    `kill_signal`, then SIGKILL after `kill_timeout`. A second Ctrl-C kills them at once.

    All that happens is recorded in the ledger in the state directory, and the next start continues from
    there: /var/lib/taskman for root, ~/.local/state/taskman for others. To run two schedulers at the same
    time, give one of them a name with -i. With --ephemeral, nothing is left at the end; other commands find
    it if nothing else runs.
    """
    files = job_files(files, user_crontabs)
    address = _address(is_ephemeral=ephemeral)
    level = _level(log_level, verbose=verbose, is_quiet=quiet)
    _need_descriptors()
    from taskman_cli.scheduler.options import Options
    from taskman_cli.ui.terminal import can_draw

    is_live = not no_live and can_draw(sys.stdout)
    try:
        start = os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        raise TaskmanError("the current directory no longer exists: change to another one") from None
    is_hidden = ephemeral and _is_another_meant(directory)
    state, lock_fd = _take_state(directory, trusted, is_ephemeral=ephemeral)
    os.set_inheritable(lock_fd, True)
    options = Options(
        files=files,
        state_directory=str(state),
        is_live=is_live,
        run_for_ns=run_for_ns,
        is_until_idle=until_idle,
        level=level,
        log_format=log_format.lower() if log_format else None,
        user_crontabs=user_crontabs,
        skip_bad=skip_bad,
        dialect=dialect,
        start=start,
        trusted=trusted,
        is_ephemeral=ephemeral,
        is_quiet=quiet,
        address=("--state-dir", str(state)) if is_hidden else address,
        program=_program(),
    )
    # -P: files in the current directory must not replace modules of ours.
    python = [sys.executable, *UTF8, "-P", "-m"]
    argv = [
        *[*python, "taskman_cli.supervisor", "--lock", str(lock_fd)],
        *(["--ephemeral", str(state)] if ephemeral else []),
        *["--log", options.log_format or "auto", str(supervisor_level(level, is_quiet=quiet))],
        "--",
        *[*python, "taskman_cli.scheduler", *options.to_words()],
    ]
    try:
        os.execv(sys.executable, argv)  # noqa: S606 - no shell is wanted
    except OSError as error:
        if ephemeral:
            remove_own(str(state))
        if error.errno == errno.E2BIG:
            raise TaskmanError(
                f"{len(files) + len(user_crontabs):,} file names are too many for a command line: "
                "give their directory, or one file that includes them"
            ) from None
        raise TaskmanError(f"cannot run {sys.executable}: {error.strerror}") from None


def _level(given: str | None, *, verbose: int, is_quiet: bool) -> str | None:
    """Return the level that is asked for; None: what is usual."""
    said = [
        name
        for name, is_given in (("--verbose", verbose), ("--quiet", is_quiet), ("--log-level", given))
        if is_given
    ]
    if len(said) > 1:
        raise click.UsageError(f"give {' or '.join(said)}, not both", click.get_current_context())
    if verbose:
        return (LogLevel.INFO if verbose == 1 else LogLevel.DEBUG).value
    return given.lower() if given else None


def supervisor_level(given: str | None, *, is_quiet: bool) -> int:
    """Return the level of the supervisor's lines until the scheduler has read the job file."""
    usual = WARNING if is_quiet else NOTICE
    known = {
        "debug": DEBUG,
        "info": NOTICE,
        "notice": NOTICE,
        "warning": WARNING,
        "error": ERROR,
        "critical": CRITICAL,
    }
    return known[given] if given else usual


def _address(*, is_ephemeral: bool) -> tuple[str, ...]:
    """Return the options by which other commands find this instance, as they were given."""
    context = click.get_current_context()
    given = {name: context.params[name] for name in ("instance", "state_dir") if context.params[name]}
    if is_ephemeral:
        if any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in given):
            raise click.UsageError(
                "--ephemeral makes a state directory of its own: leave out -i and --state-dir", context
            )
        return ()
    if "state_dir" in given:
        return "--state-dir", given["state_dir"]
    return ("-i", given["instance"]) if "instance" in given else ()


def _is_another_meant(base: Path | None) -> bool:
    """Return whether commands without an option mean another instance than a new throw-away one."""
    if click.get_current_context().params["instance"]:
        return True  # the environment names it
    if base is None:
        from taskman_cli.instance.ephemeral import running_ephemeral

        return bool(running_ephemeral(os.environ))
    from taskman_cli.control.client import running_directories

    return bool(running_directories(base))


def _program() -> str:
    """Return what to type to run this program again: its name, if the shell finds it by that."""
    from shutil import which

    called = sys.argv[0]
    if Path(called).name != _NAME or "/" not in called:
        return _NAME
    found = which(_NAME)
    return _NAME if found and os.path.realpath(found) == os.path.realpath(called) else called


def _take_state(directory: Path | None, trusted: tuple[str, ...], *, is_ephemeral: bool) -> tuple[Path, int]:
    """Return the state directory and its lock, which is held."""
    from taskman_cli.instance.directory import make_state, state_directory
    from taskman_cli.instance.lock import take_lock
    from taskman_cli.trust import standing_trust

    trust = standing_trust(os.environ, named=trusted)
    if is_ephemeral:
        from taskman_cli.instance.ephemeral import make_ephemeral, tidy_ephemeral

        tidy_ephemeral(os.environ, now_s=time.time())
        made, lock_fd = make_ephemeral(os.environ)
        return make_state(made, trust), lock_fd
    if directory is None:  # there is none here: say why
        directory = state_directory(os.environ, is_root=os.geteuid() == 0)
    directory = make_state(directory, trust)
    return directory, take_lock(directory)


def _need_descriptors() -> None:
    """Raise TaskmanError if the limit on open files is too low for the scheduler to start."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < _LEAST_DESCRIPTORS:
        raise TaskmanError(
            f"the limit on open files is {limit}, but taskman needs {_LEAST_DESCRIPTORS}: "
            "raise it (ulimit -n 1024, or LimitNOFILE= in a systemd unit)"
        )
