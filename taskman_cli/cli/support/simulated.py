"""What `simulate` plays: job files, the machine, and what commands are taken to do."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from taskman_cli.cli.options.instance import ledger_of
from taskman_cli.cli.options.run_times import HISTORY, NONE
from taskman_cli.errors import TaskmanError
from taskman_cli.ledger.queries.reader import NoLedger
from taskman_cli.ledger.queries.samples import attempt_samples, known_needs
from taskman_cli.scheduler.signals import SignalReader
from taskman_cli.simulate.forked import play
from taskman_cli.simulate.habits import Habits, Sample
from taskman_cli.simulate.player import Played, Scenario, Standstill
from taskman_cli.simulate.work import Hardware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from taskman_cli.cli.options.run_times import RunTimes
    from taskman_cli.core.engine.admission import Signals
    from taskman_cli.core.model import Job
    from taskman_cli.jobfile import JobFile
    from taskman_cli.simulate.habits import Owner

#: Another player may become so many times as large as this process is, and no process is smaller than this.
_GROWTH, _LEAST_BYTES = 3, 64 << 20


class Variant(NamedTuple):
    """One of the simulations that are shown side by side."""

    files: tuple[str, ...]
    job_file: JobFile
    #: None: as the file says.
    workers: int | None

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Return its jobs."""
        return self.job_file.jobs


class History(NamedTuple):
    """What the ledger says."""

    samples: Mapping[Owner, Sequence[Sample]] = {}
    needs: Mapping[Owner, int] = {}


def this_machine() -> Hardware:
    """Return the CPUs that we may use and the memory of this machine, as the model has them."""
    memory = None
    with suppress(OSError, ValueError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Hardware(len(os.sched_getaffinity(0)), memory)


def read_history(directory: Path | None, jobs: Iterable[Job], run_times: RunTimes) -> History:
    """Return what the ledger of a state directory says of these jobs, as far as that is wanted.

    Raises TaskmanError if the ledger cannot be read, or if it is asked for and there is none.
    """
    if run_times.is_history_wanted is False:
        return History()
    if directory is None:
        if run_times.is_history_wanted:
            raise click.UsageError(f"--runs {HISTORY}: no state directory is possible here: give --state-dir")
        return History()
    try:
        with ledger_of(directory) as ledger:
            found = attempt_samples(ledger, sorted({job.id for job in jobs}))
            needs = known_needs(ledger)
    except NoLedger:
        if run_times.is_history_wanted:
            raise
        return History()
    except TaskmanError as error:
        raise TaskmanError(f"{error} (--runs {NONE} leaves the history out)") from error
    samples = {owner: [Sample(*sample) for sample in samples] for owner, samples in found.items()}
    return History(samples, needs)


class Simulation:
    """All variants, with what they have in common."""

    def __init__(
        self,
        variants: Sequence[Variant],
        *,
        hardware: Hardware,
        history: History,
        given: Mapping[str, int],
        seed: int,
        from_ns: int,
        length_ns: int,
    ) -> None:
        self.variants = variants
        self.hardware = hardware
        self.seed, self.from_ns, self.length_ns = seed, from_ns, length_ns
        self._history = history
        self.habits = [
            Habits(variant.jobs, history=history.samples, given=given, seed=seed) for variant in variants
        ]

    def play(self, watch: Callable[[float], None] | None = None) -> list[Played]:
        """Play them one after the other; `watch` is told which share of all is done."""
        played = []
        for index, (variant, habits) in enumerate(zip(self.variants, self.habits, strict=True)):
            settings = variant.job_file.settings
            if variant.workers is not None:
                settings = replace(settings, max_workers=variant.workers)
            scenario = Scenario(
                variant.jobs, settings, variant.job_file.timezone, self.from_ns, self.length_ns,
                self.hardware, self._history.needs,
            )  # fmt: skip
            try:
                played.append(
                    play(
                        scenario,
                        habits,
                        most=_most_players,
                        watch=watch and _part_of(watch, index, len(self.variants)),
                    )
                )
            except Standstill as error:
                raise TaskmanError(
                    "the simulation does not get on: the same instant comes again and again. This is a "
                    "fault of taskman; please report it with the job file"
                ) from error
        return played


def _most_players() -> int:
    """Return how many players this machine can take now."""
    reader = SignalReader()
    try:
        return most_players(reader.read(0), _own_bytes())
    finally:
        reader.close()


def most_players(signals: Signals, own_bytes: int) -> int:
    """Return how many processes like this one, which has so much memory, find a CPU and room to grow."""
    most = int(signals.cpus)
    if signals.available_bytes is None:
        return most
    return min(most, 1 + signals.available_bytes // (_GROWTH * max(own_bytes, _LEAST_BYTES)))


def _own_bytes() -> int:
    """Return how much memory this process has; 0: unknown."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def _part_of(watch: Callable[[float], None], index: int, count: int) -> Callable[[float], None]:
    return lambda share: watch((index + share) / count)
