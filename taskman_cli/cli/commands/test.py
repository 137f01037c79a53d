"""`taskman test`: run one job now in the foreground, with everything that the scheduler would give it."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_tasks
from taskman_cli.cli.options.crontabs import dialect_option
from taskman_cli.cli.options.files import FileName, default_file, trust_option
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.options.targets import JobTask, JobTaskType, with_env
from taskman_cli.cli.render import note, say
from taskman_cli.errors import (
    EXIT_COMMAND_NOT_FOUND,
    EXIT_FAILED,
    EXIT_NOT_EXECUTABLE,
    EXIT_TIMED_OUT,
    NotFound,
)
from taskman_cli.trust import user_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskman_cli.cli.support.start_context import StartContext
    from taskman_cli.cli.trial.attempt import Trial
    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.core.model import Job, Task
    from taskman_cli.jobfile import JobFile
    from taskman_cli.launch.spec import Plans
    from taskman_cli.trust import Trust

#: The width before the second column.
_MARGIN = 13
#: The value of `TASKMAN_RUN_ID`: no run in the ledger has this id.
_RUN_ID = "test"


@click.command(
    "test",
    cls=Command,
    examples={
        "taskman test backup": "with the job files of the running scheduler",
        "taskman test backup jobs.toml": "",
        "taskman test --env LEVEL=full backup jobs.toml": "",
    },
)
@click.argument("target", metavar="JOB[.TASK]", type=JobTaskType(), shell_complete=complete_tasks)
@click.argument("files", metavar="[FILE...]", nargs=-1, type=FileName())
@with_env
@trust_option
@dialect_option
@click.option("--quiet", is_flag=True, help="Print only the output of the command.")
@with_running_directory
def test(
    *,
    directory: Path,
    target: JobTask,
    files: tuple[str, ...],
    variables: tuple[tuple[str, str], ...],
    trusted: tuple[str, ...],
    dialect: str | None,
    quiet: bool,
) -> int:
    """Run a job now in the foreground, as the scheduler would.

    The job gets the user, directory, umask, environment and shell that it has under the scheduler. What
    differs from your shell is shown first. Tasks run one after the other, without retries, and nothing is
    recorded. taskman exits with the exit code of the command.

    If a scheduler runs, its environment is used, and its job files if you name none. Otherwise the
    environment is minimal, as under systemd, and the job file is ./jobs.toml; for root,
    /etc/taskman/jobs.toml. A job with an executor runs on it.
    """
    from taskman_cli.cli.support import start_context
    from taskman_cli.cli.support.running_options import trust_of
    from taskman_cli.core.model import Mode

    pid = _scheduler(directory)
    theirs = start_context.bare() if pid is None else start_context.of_scheduler(pid)
    trust = trust_of(pid, trusted)
    job_file = _load(files, pid, trust, dialect)
    job = _find(target, job_file.jobs)
    tasks = [task for task in job.tasks if target.task in (None, task.id)]
    mine = start_context.own()
    plans = _plans(theirs, trust, job_file)
    failed, told = 0, None
    for index, task in enumerate(tasks):
        start = _start(job, task, dict(variables))
        if start.handle:
            spec = plans.remote(start, path=None)
            elsewhere = _executor_of(task, job_file)
            if not quiet:
                _introduce_elsewhere(job, task, elsewhere)
        else:
            spec, elsewhere = plans.spec(start, path=None), None
            if not quiet:
                found = _differences(task, _with_its_own(theirs, spec), mine, spec)
                _introduce(job, task, theirs, spec, found if found != told else [])
                told = found
        code, is_success = _run(task, spec, theirs, elsewhere, job_file, quiet=quiet)
        if len(tasks) == 1:
            return code
        if is_success:
            continue
        failed = failed or code
        if job.policy.mode is Mode.SEQUENCE:
            if not quiet and index + 1 < len(tasks):
                note(f"not run after that: {', '.join(left.id for left in tasks[index + 1 :])}")
            break
    return failed


def _with_its_own(theirs: StartContext, spec: dict[str, Any]) -> StartContext:
    """Return the context with the task's own directory and umask, if it sets them."""
    own = {name: spec[name] for name in ("cwd", "umask") if spec[name] is not None}
    return replace(theirs, **own)


def _scheduler(directory: Path) -> int | None:
    """Return the pid of the taskman that uses this state directory, or None."""
    from taskman_cli.instance.lock import holder

    return holder(directory)


def _load(files: Sequence[str], pid: int | None, trust: Trust, dialect: str | None) -> JobFile:
    """Read the given job files, or else those of the scheduler, as they are now."""
    from taskman_cli.jobfile.programs import load_to_run

    if files:
        return load_to_run([Path(name) for name in files], trust=trust, dialect=dialect)
    if pid is None and (file := default_file()) is not None:
        return load_to_run([Path(file)], trust=trust)
    if pid is None:
        raise click.UsageError(
            "no scheduler runs: give a job file, as in `taskman test JOB jobs.toml`",
            click.get_current_context(),
        )
    from taskman_cli.cli.support.running_options import job_file_of

    return job_file_of(pid, trust)


def _find(target: JobTask, jobs: Sequence[Job]) -> Job:
    """Return the job; raises NotFound with a suggestion."""
    from taskman_cli.core.escapes import quoted
    from taskman_cli.core.nearest import meant_or_known

    found = next((job for job in jobs if job.id == target.job), None)
    if found is None:
        near = meant_or_known(target.job, [job.id for job in jobs])
        raise NotFound(f"there is no job {quoted(target.job)}{near}")
    ids = [task.id for task in found.tasks]
    if target.task is not None and target.task not in ids:
        raise NotFound(f"{found.id} has no task {quoted(target.task)} (its tasks are: {', '.join(ids)})")
    return found


def _plans(theirs: StartContext, trust: Trust, job_file: JobFile) -> Plans:
    from taskman_cli.core.sinks import secret_variables
    from taskman_cli.launch.environment import Environments
    from taskman_cli.launch.spec import Plans, shell_name

    hidden = secret_variables(job_file.sinks)
    environments = Environments(theirs.environ, cwd=theirs.cwd, trust=trust, hidden=hidden)
    return Plans(environments, cwd=theirs.cwd, shell_name=shell_name())


def _start(job: Job, task: Task, variables: Mapping[str, str]) -> Any:
    from taskman_cli.core.engine.actions import Start
    from taskman_cli.core.executors import LOCAL
    from taskman_cli.core.model import Trigger

    executor = task.execution.executor
    handle = "" if executor == LOCAL else f"{executor}/{_RUN_ID}"
    key = f"{_RUN_ID}.{task.id}.1"
    return Start(key, _RUN_ID, job.id, task, 1, None, Trigger.MANUAL, variables, handle)


def _executor_of(task: Task, job_file: JobFile) -> ExecutorDefinition:
    return next(one for one in job_file.settings.executors if one.name == task.execution.executor)


def _run(
    task: Task,
    spec: dict[str, Any],
    theirs: StartContext,
    elsewhere: ExecutorDefinition | None,
    job_file: JobFile,
    *,
    quiet: bool,
) -> tuple[int, bool]:
    """Run one task, print its result, and return its exit code and whether it succeeded."""
    from taskman_cli.cli.trial.attempt import attempt
    from taskman_cli.core.model import State
    from taskman_cli.core.sinks import secret_variables
    from taskman_cli.supervisor.program import StartError

    try:
        if elsewhere is None:
            trial = attempt(spec, task.execution, cwd=theirs.cwd, umask=theirs.umask)
        else:
            from taskman_cli.cli.trial.elsewhere import attempt_elsewhere

            hidden = secret_variables(job_file.sinks)
            trial = attempt_elsewhere(spec, task.execution, elsewhere, hidden)
    except StartError as error:
        note(f"{task.id} could not be started: {error}")
        is_missing = str(error).startswith("not found")
        return EXIT_COMMAND_NOT_FOUND if is_missing else EXIT_NOT_EXECUTABLE, False
    if not quiet:
        note(_outcome(task, trial))
    # A command that timed out but exited with 0 must not look successful.
    code = trial.exit_code or (EXIT_TIMED_OUT if trial.state is State.TIMED_OUT else 0)
    if trial.state is State.FAILED:  # an executor may say so in words alone
        code = code or EXIT_FAILED
    return code, trial.state is State.SUCCEEDED


def _outcome(task: Task, trial: Trial) -> str:
    from taskman_cli.core.clock import SECOND_NS
    from taskman_cli.core.engine.policy import describe
    from taskman_cli.ui.amounts import duration

    is_shell = isinstance(task.command, str)
    words = f"{task.id} {trial.state.value.replace('_', ' ')}: {describe(trial.end, is_shell=is_shell)}"
    words += f" after {duration(trial.elapsed_ns)}"
    if not (trial.end.cpu_s or trial.end.peak_rss_bytes):  # its executor does not know
        return words
    peak = f"{'below ' if trial.is_peak_ours else ''}{trial.end.peak_rss_bytes / 1e6:.0f} MB"
    return f"{words}, CPU {duration(round(trial.end.cpu_s * SECOND_NS))}, max RSS {peak}"


def _differences(
    task: Task, there: StartContext, mine: StartContext, spec: dict[str, Any]
) -> list[tuple[str, str]]:
    """Return what is different for a task than in the user's shell."""
    from taskman_cli.cli.trial.differences import differences

    text = task.command if isinstance(task.command, str) else None
    has_tty = any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    return list(differences(there, mine, spec["env"], command=text, has_tty=has_tty))


def _introduce(
    job: Job, task: Task, theirs: StartContext, spec: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    """Print what is run, and what is different."""
    from taskman_cli.core.escapes import printable

    note(f"test of {job.id}.{task.id}; it is not recorded")
    lines = [
        ("scheduler", theirs.whose),
        ("runs", _words(spec)),
        ("user", task.execution.user.name if task.execution.user else user_name(os.geteuid())),
    ]
    if found:
        lines += [("different from your shell:", ""), *found]
    for name, value in lines:
        say(f"  {name:<10} {_cut(printable(value))}" if value else f"  {name}", err=True)


def _introduce_elsewhere(job: Job, task: Task, executor: ExecutorDefinition) -> None:
    """Print what is run, and on which executor."""
    import shlex

    from taskman_cli.core.escapes import printable

    note(f"test of {job.id}.{task.id}; it is not recorded")
    words = task.command if isinstance(task.command, str) else shlex.join(task.command)
    for name, value in (("runs", words), ("on", f"{executor.type} {executor.name}")):
        say(f"  {name:<10} {_cut(printable(value))}", err=True)


def _words(spec: dict[str, Any]) -> str:
    import shlex

    if "direct" in spec:
        return str(spec["argv"][-1])  # the line as the shell would have it, which is left out
    argv = spec["argv"] if len(spec["argv"]) < 100 else [*spec["argv"][:100], "…"]
    return shlex.join(argv)


def _cut(text: str) -> str:
    """Cut a text to one line of the terminal, if there is one."""
    if not sys.stderr.isatty():
        return text
    width = max(40, shutil.get_terminal_size().columns - _MARGIN)
    return text if len(text) <= width else text[: width - 1] + "…"
