"""The captured output on disk: `JOB/RUN.TASK.ATTEMPT.log`, kept for the runs of each job that ended last.

The directory is the only record of what is in it: no file is remembered here. So attempts that write
nothing cost next to nothing, and what an earlier life left, or a command's child wrote late, counts like all
else. Which runs are over, and in what order they ended, the ledger knows: nothing of a run that is not over
is ever removed, and what the ledger does not keep any more goes with its rows. The clock's loop counts runs,
and so knows when a directory can be over its bound; looking and removing is for a thread of this module's
own, since a disk may be slow and the clock must not be.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    #: Tells of runs a number that grows with the order of the ends, None for those that are not over, and
    #: nothing of those that it does not know; or None, where it cannot tell now.
    Ends = Callable[[Iterable[str]], Mapping[str, int | None] | None]

#: Runs of a job whose output is kept, where the job does not say.
KEPT_OUTPUTS = 100
#: Files kept of one task in one run, those of its latest attempts.
MAX_ATTEMPTS = 100
#: A directory may hold this part of `keep_runs` too much before it is read again, so that each end costs the
#: same however many runs are kept. With fewer than this to keep, there is never one too many.
_SLACK = 10
#: Having something to do, the thread waits this long for more: a burst of ends is one wakeup and one look.
_GATHER_S = 0.1
#: Directories of jobs that nobody knows any more, as of a ledger that was lost, and that are kept.
KEPT_STRAYS = 100
#: How long the last removals may take at the end.
_CLOSE_S = 2.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Outputs:
    """Names output files, and removes those of a job's older runs."""

    def __init__(self, directory: Path, ends: Ends) -> None:
        self._directory = str(directory)
        self._ends = ends
        self._jobs: dict[str, _JobDirectory] = {}
        self._chores: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closing = threading.Event()

    def path(self, job: str, key: str) -> str:
        """Return where the output of an attempt goes."""
        return f"{self._directory}/{job}/{key}.log"

    def note_attempt(self, job: str, key: str) -> None:
        """Take note that an attempt is over: of very many of one task, only the latest are kept."""
        run, task, number = key.split(".")
        if (attempt := int(number)) > MAX_ATTEMPTS:
            name = f"{run}.{task}.{attempt - MAX_ATTEMPTS}.log"
            self._do(partial(_remove, f"{self._directory}/{job}", [name]))

    def note_run(self, job: str, run: str, *, keep_runs: int) -> None:
        """Count a run that is over and whose output was captured, written or not; keep so many of them."""
        kept = self._jobs.get(job)
        if kept is None:
            kept = self._jobs[job] = _JobDirectory(keep_runs)
        if kept.note(run, keep_runs):
            self._look(job, kept)

    def drop(self, job: str, runs: Collection[str], *, is_departed: bool = False) -> None:
        """Remove the output of runs that are not kept; of a job that is no more, its directory too."""
        if not runs and not is_departed:
            return
        if is_departed:
            self._do(partial(self._clear, job, frozenset(runs)))
            return
        kept = self._jobs.get(job)
        if kept is None:
            kept = self._jobs[job] = _JobDirectory(None)
        kept.dropped.extend(runs)
        if kept.ask():
            self._look(job, kept)

    def sweep(self, jobs: Collection[str]) -> None:
        """Remove what is left of jobs that nobody knows: other ones than `jobs`."""
        self._do(partial(self._sweep, frozenset(jobs)))

    def close(self) -> None:
        """Do what waits, for a moment, and end the thread."""
        self._is_closing.set()
        self._chores.put(None)
        if self._thread:
            self._thread.join(_CLOSE_S)

    def _do(self, chore: Callable[[], None]) -> None:
        if self._thread is None and not self._is_closing.is_set():
            thread = threading.Thread(target=self._run, name="outputs", daemon=True)
            with suppress(RuntimeError):  # there is none to be had: the next chore tries again
                thread.start()
                self._thread = thread
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
        """Remove the files of all runs but those that are kept, and tell when to look again."""
        look = kept.begin_look()
        directory = f"{self._directory}/{job}"
        files = _files(directory)
        surplus = {run for run, _ in files} & look.dropped
        if look.keep_runs is None:
            _remove(directory, [name for run, name in files if run in surplus])
            return
        # What the newest left in the background may still write its file.
        runs = {run for run, _ in files} - surplus | ({look.newest} - {""})
        room = look.keep_runs - len(runs)
        if room < 0 and (ends := self._ends(runs)) is not None:
            too_many = surplus_of(runs, ends, keep_runs=look.keep_runs)
            surplus |= too_many
            room = max(0, room + len(too_many))
        _remove(directory, [name for run, name in files if run in surplus])
        kept.limit = look.counted + max(0, room) + look.keep_runs // _SLACK

    def _clear(self, job: str, runs: frozenset[str]) -> None:
        """Remove the output of some runs, and the directory unless there is something else in it."""
        directory = f"{self._directory}/{job}"
        _remove(directory, [name for run, name in _files(directory) if run in runs])
        self._jobs.pop(job, None)
        with suppress(OSError):
            os.rmdir(directory)  # noqa: PTH106 - a Path costs more than the call

    def _sweep(self, jobs: frozenset[str]) -> None:
        strays: list[tuple[int, str]] = []
        with suppress(OSError), os.scandir(self._directory) as entries:
            strays += [
                (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name)
                for entry in entries
                if entry.name not in jobs and entry.is_dir(follow_symlinks=False)
            ]
        for _, job in sorted(strays)[: max(0, len(strays) - KEPT_STRAYS)]:
            self._clear(job, frozenset(run for run, _ in _files(f"{self._directory}/{job}")))


def surplus_of(runs: Collection[str], ends: Mapping[str, int | None], *, keep_runs: int) -> set[str]:
    """Return the runs whose output is too much: those that ended first, and before them what nobody knows.

    One that is not over is none of them, and takes nobody's place.
    """
    over = [run for run in runs if ends.get(run, 0) is not None]
    over.sort(key=lambda run: (ends.get(run, -1), run))
    return set(over[: max(0, len(over) - keep_runs)])


class _Look(NamedTuple):
    """What is to be done in a directory."""

    counted: int
    keep_runs: int | None
    newest: str
    dropped: set[str]


@dataclass(slots=True)
class _JobDirectory:
    """How full a job's directory may be. The loop counts, the thread sets the limit; neither waits."""

    #: None: no run has ended in this process's life, so it is not known.
    keep_runs: int | None
    #: The run that ended last.
    newest: str = ""
    #: Runs that are over and may have files, in this process's life.
    counted: int = 0
    #: The directory must be read once `counted` is past this.
    limit: int = 0
    is_look_asked: bool = False
    #: Runs that the ledger has let go since the last look: the loop adds to it, the thread takes them out.
    dropped: deque[str] = field(default_factory=deque)

    def note(self, run: str, keep_runs: int) -> bool:
        """Count a run; tell if the directory must be read, which has not been asked for yet."""
        self.counted += 1
        self.newest = run
        is_changed, self.keep_runs = keep_runs != self.keep_runs, keep_runs
        return (is_changed or self.counted > self.limit) and self.ask()

    def ask(self) -> bool:
        """Tell if a look is not asked for yet, and ask for it."""
        is_new, self.is_look_asked = not self.is_look_asked, True
        return is_new

    def begin_look(self) -> _Look:
        """Return what has been counted and what is kept. What is noted from here on asks anew."""
        self.is_look_asked = False
        dropped = {self.dropped.popleft() for _ in range(len(self.dropped))}
        return _Look(self.counted, self.keep_runs, self.newest, dropped)


@contextmanager
def _listed(directory: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Give what is in a directory, unless that is a link to another."""
    fd = os.open(directory, _DIRECTORY)
    try:
        with os.scandir(fd) as entries:
            yield entries
    finally:
        os.close(fd)


def _files(directory: str) -> list[tuple[str, str]]:
    """Return run and name of each output file; nothing where there is no such directory."""
    files = []
    # scandir lets other threads run between any two names; listdir and a loop over it would not.
    with suppress(OSError), _listed(directory) as entries:
        for entry in entries:
            parts = entry.name.split(".")
            # A supervisor that was killed may have left a `.log.part`.
            if len(parts) >= 4 and parts[3] == "log" and parts[2].isdecimal() and parts[4:] in ([], ["part"]):
                files.append((parts[0], entry.name))
    return files


def _remove(directory: str, names: Sequence[str]) -> None:
    """Remove files of a directory, which must not have become a link by now."""
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
