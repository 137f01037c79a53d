"""`taskman log`: the captured output of a run; with `--follow` while it is written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.arguments import WholeNumber, not_found, since_ns
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.completions import complete_outputs
from taskman_cli.cli.options.instance import ledger_of, with_directory
from taskman_cli.cli.options.zones import shown_zone
from taskman_cli.cli.render import note, screen, write_bytes
from taskman_cli.cli.support.run_ids import run_of
from taskman_cli.cli.support.run_output import Printer, Selection, follow_output, print_output
from taskman_cli.errors import NotFound

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path


@click.command(
    "log",
    cls=Command,
    examples={
        "taskman log backup": "",
        "taskman log -f -n 20 backup": "until the run has ended",
        "taskman log --since 24h backup": "of all runs since then",
    },
)
@click.argument("target", metavar="RUN|JOB[.TASK]", shell_complete=complete_outputs)
@click.option("-f", "--follow", is_flag=True, help="Continue with new output, until the run has ended.")
@click.option(
    "-n",
    "--count",
    type=WholeNumber(),
    metavar="N",
    help="Print only the last N lines of each output (default: all).",
)
@click.option(
    "--since",
    metavar="TIME",
    help='Print all runs that were running at this time or later: "2h" for two hours ago, or ISO 8601.',
)
@click.option(
    "--attempt",
    "number",
    type=WholeNumber(least=1),
    metavar="N",
    help="Show this attempt (default: the latest of each task).",
)
@click.option("--raw", "is_raw", is_flag=True, help="Print control characters unchanged, also on a terminal.")
@with_directory
def log(
    *,
    directory: Path,
    target: str,
    number: int | None,
    follow: bool,
    count: int | None,
    since: str | None,
    is_raw: bool,
) -> int:
    """Print the captured output of a run.

    JOB is its latest run that has begun; RUN.TASK or JOB.TASK is one task of it. RUN may be the beginning of
    its id. If there are several outputs, each comes under a header with its name. On a terminal only text and
    colours take effect, and other control characters are escaped; a pipe or a file gets every byte.
    """
    start_ns = None if since is None else _start_ns(since, directory)
    with ledger_of(directory) as ledger:
        runs, task = _resolve(ledger, target, start_ns, number)
        if not runs:
            note(f"{target} has not run since {since}")
        lost = 0
        for run in runs:
            if run != runs[0]:
                write_bytes(b"\n")
            selection = Selection(ledger, run, task, number)
            printer = Printer(
                directory,
                selection,
                None if is_raw else screen(),
                lines=count,
                is_one_of_many=len(runs) > 1,
            )
            try:
                if follow and run == runs[-1]:
                    lost += follow_output(ledger, selection, printer, directory)
                else:
                    lost += print_output(selection, printer)
            finally:
                printer.end()
    return 1 if lost else 0


def _start_ns(since: str, directory: Path) -> int:
    return since_ns(since, now_ns=time.time_ns(), zone=shown_zone(directory))


# --- which runs ---


def _resolve(
    ledger: sqlite3.Connection, target: str, start_ns: int | None, number: int | None
) -> tuple[list[int], str | None]:
    """Return the runs of a target, oldest first, and the task if the target names one."""
    from taskman_cli.ledger.queries.attempts import latest_begun, runs_since, tasks_of
    from taskman_cli.ledger.queries.reader import find_job, job_names

    name, dot, rest = target.partition(".")
    task = rest if dot else None
    job = find_job(ledger, name)
    if job is None:
        found = run_of(ledger, name)
        if found is None:
            raise not_found("the ledger has no run and no job", name, job_names(ledger))
        if start_ns is not None:
            raise click.UsageError("give --since with a job, not with a run", click.get_current_context())
        return [found], task
    if start_ns is not None:
        return runs_since(ledger, job.id, start_ns, task=task, number=number), task
    run = latest_begun(ledger, job.id, task=task)
    if run is None and task is not None:
        raise not_found(f"no run of {job.name} has started a task", task, tasks_of(ledger, job.id))
    if run is None:
        raise NotFound(f"{job.name} has not run")
    return [run], task
