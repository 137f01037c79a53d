"""`taskman simulate`: what would happen with job files, played on a model of the machine."""

from __future__ import annotations

import gc
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.arguments import WholeNumber, not_found
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.crontabs import dialect_option
from taskman_cli.cli.options.duration import Duration
from taskman_cli.cli.options.files import FileName, job_files
from taskman_cli.cli.options.instance import with_directory_if_any
from taskman_cli.cli.options.moment import bad_time, check_last, instant_ns
from taskman_cli.cli.options.run_times import read_run_times
from taskman_cli.cli.render import show
from taskman_cli.cli.support.simulated import Simulation, Variant, read_history, this_machine
from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.schedule import load_zone
from taskman_cli.core.timespec import parse_moment
from taskman_cli.errors import TimespecError
from taskman_cli.jobfile import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from zoneinfo import ZoneInfo

    from taskman_cli.jobfile import JobFile

#: As many as a job file takes; columns that still can be read.
_MOST_WORKERS, _MOST_VARIANTS = 100_000, 8
_MOST_CORES = 4096
#: The collector looks again after so many objects: nearly none of them are garbage that it has to find.
_COLLECT_AFTER = 50_000


@click.command(
    "simulate",
    cls=Command,
    examples={
        "taskman simulate jobs.toml": "",
        "taskman simulate jobs.toml --runs backup=40m --workers 2 --workers 8": "",
        "taskman simulate jobs.toml --from 'next sunday' --against new.toml": "",
    },
)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=FileName())
@click.option("--from", "start", metavar="TIME", help="Begin at this time (default: now).")
@click.option(
    "--for",
    "length_ns",
    metavar="DUR",
    type=Duration(),
    default="24h",
    show_default=True,
    help="Stop after this.",
)
@click.option(
    "--workers",
    multiple=True,
    metavar="N",
    type=WholeNumber(least=1, most=_MOST_WORKERS),
    help="Use this max_workers instead of the file's. May be repeated: each is shown beside the others.",
)
@click.option(
    "--cores",
    metavar="N",
    type=WholeNumber(least=1, most=_MOST_CORES),
    help="Number of cores of the model (default: of this machine).",
)
@click.option(
    "--runs",
    multiple=True,
    metavar="history|none|JOB=DUR",
    help="How long commands run: as the ledger says (default: if there is one), not as it says, or this "
    "long. May be repeated.",
)
@click.option(
    "--seed", default=1, show_default=True, metavar="N", type=WholeNumber(most=(1 << 32) - 1), help="Chance."
)
@click.option(
    "--against", multiple=True, metavar="FILE", type=FileName(), help="Show this job file beside the others."
)
@dialect_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_directory_if_any
def simulate(
    *,
    directory: Path | None,
    files: tuple[str, ...],
    start: str | None,
    length_ns: int,
    workers: tuple[int, ...],
    cores: int | None,
    runs: tuple[str, ...],
    seed: int,
    against: tuple[str, ...],
    dialect: str | None,
    as_json: bool,
) -> None:
    """Show what would happen with job files; nothing is executed.

    The scheduler's own engine is played on a virtual clock, as if `taskman run` were started at --from. Its
    commands run on a model of a machine, which slows what overlaps: a model, not the machine. Each command
    takes what one of its recorded runs took, in time, CPU, memory and exit code; or the time of --runs; or
    one second, and a tenth of that CPU time.

    It shows what waits and how long, what is skipped, the busiest minutes, how many run over the day, the
    first deadline missed, and clock changes. --workers and --against show several simulations side by side;
    they differ by that and not by chance.
    """
    if not length_ns:
        raise click.BadParameter("nothing happens in no time: give more than 0", param_hint="--for")
    run_times = read_run_times(runs)
    files = job_files(files)
    sets = [files, *((file,) for file in against)]
    read = [(names, _load(names, dialect)) for names in sets]
    for names, job_file in read:
        if not job_file.jobs:
            raise click.UsageError(f"{' '.join(names)}: there are no jobs to simulate")
    _check_names(read, run_times.given)
    variants = [
        Variant(names, job_file, number)
        for names, job_file in read
        for number in dict.fromkeys(workers) or [None]
    ]
    if len(variants) > _MOST_VARIANTS:
        raise click.UsageError(
            f"that makes {len(variants)} simulations; at most {_MOST_VARIANTS} are shown side by side"
        )
    zone = load_zone(read[0][1].timezone)
    hardware = this_machine()
    if cores is not None:
        hardware = replace(hardware, cores=cores)
    simulation = Simulation(
        variants,
        hardware=hardware,
        history=read_history(directory, [job for _, job_file in read for job in job_file.jobs], run_times),
        given=run_times.given,
        seed=seed,
        from_ns=_from_ns(start, zone, length_ns),
        length_ns=length_ns,
    )
    with _few_collections(), _progress(as_json=as_json) as watch:
        played = simulation.play(watch)
    if as_json:
        from taskman_cli.cli.support.simulation_document import document_of

        show(document_of(simulation, played, zone), (), as_json=True)
    else:
        from taskman_cli.cli.support.simulation_text import print_simulation

        print_simulation(simulation, played, zone)


def _load(names: tuple[str, ...], dialect: str | None) -> JobFile:
    return load([Path(name) for name in names], dialect=dialect, is_run_here=False, now_ns=time.time_ns())


def _check_names(read: list[tuple[tuple[str, ...], JobFile]], given: dict[str, int]) -> None:
    """Refuse a run time for what no file has. Raises NotFound."""
    jobs = {job.id: job for _, job_file in read for job in job_file.jobs}
    for name in given:
        job, _, task = name.partition(".")
        if job not in jobs:
            raise not_found("--runs: there is no job", job, jobs)
        tasks = [
            one.id
            for _, job_file in read
            for other in job_file.jobs
            if other.id == job
            for one in other.commands
        ]
        if task and task not in tasks:
            raise not_found(f"--runs: {job} has no task", task, tasks)


def _from_ns(text: str | None, zone: ZoneInfo, length_ns: int) -> int:
    """Read --from; the whole window must lie in times that can be recorded."""
    now_ns = time.time_ns() // SECOND_NS * SECOND_NS
    if text is None:
        return now_ns
    try:
        found_ns = instant_ns(parse_moment(text, now=wall_time(now_ns, zone), prefer="future"))
    except TimespecError as error:
        raise bad_time(error, text, option="--from") from error
    if found_ns < 0:
        raise click.BadParameter("the clock of a machine begins in 1970", param_hint="--from")
    check_last(found_ns + length_ns, option="--from")
    return found_ns


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the garbage collector look at what is new, and seldom: the jobs stay."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def _progress(*, as_json: bool) -> Iterator[Callable[[float], None] | None]:
    """Show on a terminal how far it is."""
    if as_json or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=1000, label="simulating", file=sys.stderr) as bar:
        yield lambda share: bar.update(int(share * 1000) - bar.pos)
        bar.update(1000 - bar.pos)
