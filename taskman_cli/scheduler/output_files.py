"""The captured output on disk: `JOB/RUN.TASK.ATTEMPT.log`, kept for the latest runs of each job.

Files are not remembered here; the directory itself is the only record. So an attempt without output costs
almost nothing, and files from an earlier life, or written late by a child, count like all others. The ledger
knows which runs are over and in what order they ended: output of a run that is not over is never removed, and
output is removed together with the rows of its run. The loop only counts runs, so it knows when a directory
may exceed its limit. A thread lists and removes files, since a disk may be slow and the loop must not be.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.scheduler.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    #: Returns a number for each run, in the order of the ends; None for runs that are not over. Unknown runs
    #: are missing. It returns None if it cannot tell now.
    Ends = Callable[[Iterable[str]], Mapping[str, int | None] | None]

#: How many runs' output is kept if the job does not say.
KEPT_OUTPUTS = 100
#: Output files kept for one task of one run: those of the latest attempts.
MAX_ATTEMPTS = 100
#: A directory may exceed `keep_runs` by this fraction before it is read again, so that each end costs the
#: same however many runs are kept. If fewer than this are kept, the limit is exact.
_SLACK = 10
#: The thread waits this long for more work, so that a burst of ends costs one wakeup and one look.
_GATHER_S = 0.1
#: How many directories of unknown jobs are kept, as after a lost ledger.
KEPT_STRAYS = 100
#: How long the last removals may take when the program ends.
_CLOSE_S = 2.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Outputs:
    """Names output files, and removes those of older runs."""

    def __init__(self, directory: Path, ends: Ends) -> None:
        self._directory = str(directory)
        self._ends = ends
        self._jobs: dict[str, _JobDirectory] = {}
        #: The jobs that may have files from before, as of the last sweep; None: any may.
        self._with_files: set[str] | None = None
        self._chores: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closing = threading.Event()

    def chore_count(self) -> int:
        """Return how many removals are still to be done."""
        return self._chores.qsize()

    def path(self, job: str, key: str) -> str:
        """Return the path of an attempt's output."""
        return f"{self._directory}/{job}/{key}.log"

    def note_attempt(self, job: str, key: str) -> None:
        """Note that an attempt is over: only the output of the latest attempts of a task is kept."""
        run, task, number = key.split(".")
        if (attempt := int(number)) > MAX_ATTEMPTS:
            name = f"{run}.{task}.{attempt - MAX_ATTEMPTS}.log"
            self._do(partial(_remove, f"{self._directory}/{job}", [name]))

    def note_run(self, job: str, run: str, *, keep_runs: int) -> None:
        """Count a run that is over and whose output was captured, even if there was none."""
        kept = self._jobs.get(job)
        if kept is None:
            kept = self._jobs[job] = _JobDirectory(keep_runs)
            if self._with_files is not None and job not in self._with_files:
                kept.limit = keep_runs + keep_runs // _SLACK
        if kept.note(run, keep_runs):
            self._look(job, kept)

    def drop(self, job: str, runs: Collection[str], *, is_departed: bool = False) -> None:
        """Remove the output of runs that are not kept, and the directory of a job that was removed."""
        if not runs and not is_departed:
            return
        if is_departed:
            if self._with_files is not None:
                self._with_files.add(job)  # it may come back
            self._do(partial(self._clear, job, frozenset(runs)))
            return
        kept = self._jobs.get(job)
        if kept is None:
            kept = self._jobs[job] = _JobDirectory(None)
        kept.dropped.extend(runs)
        if kept.ask():
            self._look(job, kept)

    def sweep(self, jobs: Collection[str]) -> None:
        """Remove the output of jobs other than `jobs`, except for the latest."""
        self._do(partial(self._sweep, frozenset(jobs)))

    def close(self) -> None:
        """Finish the waiting work, for a limited time, and end the thread."""
        self._is_closing.set()
        self._chores.put(None)
        if self._thread:
            self._thread.join(_CLOSE_S)

    def _do(self, chore: Callable[[], None]) -> None:
        if self._thread is None and not self._is_closing.is_set():
            self._thread = start_thread(self._run, name="outputs")  # None: the next chore tries again
        self._chores.put(chore)

    def _run(self) -> None:
        while chore := self._chores.get():
            self._is_closing.wait(_GATHER_S)
            chore()
            for _ in range(self._chores.qsize()):
                if not (chore := self._chores.get()):
                    return
                chore()

    def _look(self, job: str, kept: _JobDirectory) -> None:
        self._do(partial(self._tidy, job, kept))

    def _tidy(self, job: str, kept: _JobDirectory) -> None:
        """Remove the files of runs that are not kept, and note when to look again."""
        look = kept.begin_look()
        directory = f"{self._directory}/{job}"
        files = _files(directory)
        surplus = {run for run, _ in files} & look.dropped
        if look.keep_runs is None:
            _remove(directory, [name for run, name in files if run in surplus])
            return
        # A background process of the newest run may still write its file.
        runs = {run for run, _ in files} - surplus | ({look.newest} - {""})
        room = look.keep_runs - len(runs)
        if room < 0 and (ends := self._ends(runs)) is not None:
            too_many = surplus_of(runs, ends, keep_runs=look.keep_runs)
            surplus |= too_many
            room = max(0, room + len(too_many))
        _remove(directory, [name for run, name in files if run in surplus])
        kept.limit = look.counted + max(0, room) + look.keep_runs // _SLACK

    def _clear(self, job: str, runs: frozenset[str]) -> None:
        """Remove the output of some runs, and the directory if it is empty then."""
        directory = f"{self._directory}/{job}"
        _remove(directory, [name for run, name in _files(directory) if run in runs])
        self._jobs.pop(job, None)
        with suppress(OSError):
            os.rmdir(directory)  # noqa: PTH106 - a Path costs more than the call

    def _sweep(self, jobs: frozenset[str]) -> None:
        strays: list[tuple[int, str]] = []
        found: list[os.DirEntry[str]] = []
        try:
            with os.scandir(self._directory) as entries:
                found += entries
        except FileNotFoundError:  # no attempt has had any output
            pass
        except OSError:  # any job may have files
            self._with_files = None
            return
        self._with_files = {entry.name for entry in found}
        for entry in found:
            with suppress(OSError):
                if entry.name not in jobs and entry.is_dir(follow_symlinks=False):
                    strays.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        for _, job in sorted(strays)[: max(0, len(strays) - KEPT_STRAYS)]:
            self._clear(job, frozenset(run for run, _ in _files(f"{self._directory}/{job}")))


def surplus_of(runs: Collection[str], ends: Mapping[str, int | None], *, keep_runs: int) -> set[str]:
    """Return the runs whose output exceeds the limit: unknown runs first, then those that ended first.

    Runs that are not over are never among them and do not count.
    """
    over = [run for run in runs if ends.get(run, 0) is not None]
    over.sort(key=lambda run: (ends.get(run, -1), run))
    return set(over[: max(0, len(over) - keep_runs)])


class _Look(NamedTuple):
    """Work for the thread in one directory."""

    counted: int
    keep_runs: int | None
    newest: str
    dropped: set[str]


@dataclass(slots=True)
class _JobDirectory:
    """The fill level of a job's directory. The loop counts, the thread sets the limit; neither waits."""

    #: None: no run has ended in this process's life, so it is not known.
    keep_runs: int | None
    #: The run that ended last.
    newest: str = ""
    #: Runs that are over and may have files, counted since this process started.
    counted: int = 0
    #: The directory must be read when `counted` exceeds this.
    limit: int = 0
    is_look_asked: bool = False
    #: Runs that the ledger has removed since the last look: the loop adds them, the thread takes them out.
    dropped: deque[str] = field(default_factory=deque)

    def note(self, run: str, keep_runs: int) -> bool:
        """Count a run; tell if the directory must be read and that was not requested yet."""
        self.counted += 1
        self.newest = run
        is_changed, self.keep_runs = keep_runs != self.keep_runs, keep_runs
        return (is_changed or self.counted > self.limit) and self.ask()

    def ask(self) -> bool:
        """Request a look; tell if none was requested yet."""
        is_new, self.is_look_asked = not self.is_look_asked, True
        return is_new

    def begin_look(self) -> _Look:
        """Return what was counted and what is kept. From now on, a new look can be requested."""
        self.is_look_asked = False
        dropped = {self.dropped.popleft() for _ in range(len(self.dropped))}
        return _Look(self.counted, self.keep_runs, self.newest, dropped)


@contextmanager
def _listed(directory: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Yield the entries of a directory, unless it is a symbolic link."""
    fd = os.open(directory, _DIRECTORY)
    try:
        with os.scandir(fd) as entries:
            yield entries
    finally:
        os.close(fd)


def _files(directory: str) -> list[tuple[str, str]]:
    """Return run and name of each output file; nothing if there is no such directory."""
    files = []
    # scandir lets other threads run between two names; listdir would not.
    with suppress(OSError), _listed(directory) as entries:
        for entry in entries:
            parts = entry.name.split(".")
            # A killed supervisor may have left a `.log.part`.
            if len(parts) >= 4 and parts[3] == "log" and parts[2].isdecimal() and parts[4:] in ([], ["part"]):
                files.append((parts[0], entry.name))
    return files


def _remove(directory: str, names: Sequence[str]) -> None:
    """Remove files of a directory, unless it has become a symbolic link."""
    if not names:
        return
    with suppress(OSError):
        fd = os.open(directory, _DIRECTORY)
        try:
            for name in names:
                with suppress(OSError):
                    os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)
