"""The captured output on disk: `JOB/RUN.TASK.ATTEMPT.log`, kept for the latest runs of each job.

The directory is the only record of what is in it: no file is remembered here. So attempts that write
nothing cost next to nothing, and what an earlier life left, or a command's child wrote late, counts like all
else. The clock's loop counts runs, and so knows when a directory can be over its bound; looking and removing
is for a thread of this module's own, since a disk may be slow and the clock must not be.
"""

from __future__ import annotations

import heapq
import os
import queue
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Runs of a job whose output is kept, where the job does not say.
KEPT_OUTPUTS = 100
#: Files kept of one task in one run, those of its latest attempts.
MAX_ATTEMPTS = 100
#: A directory may hold this part of `keep_runs` too much before it is read again, so that each end costs the
#: same however many runs are kept. With fewer than this to keep, there is never one too many.
_SLACK = 10
#: Having something to do, the thread waits this long for more: a burst of ends is one wakeup and one look.
_GATHER_S = 0.1
#: How long the last removals may take at the end.
_CLOSE_S = 2.0


class Outputs:
    """Names output files, and removes those of a job's older runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        self._shelves: dict[str, _Shelf] = {}
        self._chores: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closing = threading.Event()

    def path(self, job: str, key: str) -> str:
        """Return where the output of an attempt goes."""
        return f"{self._directory}/{job}/{key}.log"

    def note(self, job: str, key: str, *, keep_runs: int, oldest: str = "") -> None:
        """Count an attempt whose output was captured, written or not; keep the files of `keep_runs` runs.

        The latest runs are those that were queued last: their ids sort by that. None is kept whose id sorts
        before `oldest`.
        """
        run, task, number = key.split(".")
        shelf = self._shelves.get(job)
        if shelf is None:
            shelf = self._shelves[job] = _Shelf(keep_runs)
        if shelf.note(run, keep_runs, oldest):
            self._do(partial(self._tidy, job, shelf))
        if (attempt := int(number)) > MAX_ATTEMPTS:
            self._do(partial(_remove, self.path(job, f"{run}.{task}.{attempt - MAX_ATTEMPTS}")))

    def close(self) -> None:
        """Do what waits, for a moment, and end the thread."""
        self._is_closing.set()
        self._chores.put(None)
        if self._thread:
            self._thread.join(_CLOSE_S)

    def _do(self, chore: Callable[[], None]) -> None:
        if self._thread is None and not self._is_closing.is_set():
            self._thread = threading.Thread(target=self._run, name="outputs", daemon=True)
            self._thread.start()
        self._chores.put(chore)

    def _run(self) -> None:
        while chore := self._chores.get():
            self._is_closing.wait(_GATHER_S)
            chore()
            for _ in range(self._chores.qsize()):
                if not (chore := self._chores.get()):
                    return
                chore()

    def _tidy(self, job: str, shelf: _Shelf) -> None:
        """Remove the files of all runs but the latest, and tell when to look again."""
        counted, keep_runs, oldest = shelf.begin_look()
        directory = f"{self._directory}/{job}"
        files = _files(directory)
        # What the newest left in the background may still write its file.
        runs = {run for run, _ in files} | {shelf.newest}
        surplus = set(heapq.nsmallest(len(runs) - keep_runs, runs))
        surplus |= {run for run in runs if run < oldest}
        for run, name in files:
            if run in surplus:
                _remove(f"{directory}/{name}")
        room = keep_runs - (len(runs) - len(surplus))
        shelf.first = min(runs - surplus, default="")
        shelf.limit = counted + room + keep_runs // _SLACK


@dataclass(slots=True)
class _Shelf:
    """How full a job's directory may be. The loop counts, the thread sets the limit; neither waits."""

    keep_runs: int
    newest: str = ""
    #: Runs that may have files, in this process's life; one may be counted twice, but none is missed.
    counted: int = 0
    #: The directory must be read once `counted` is past this.
    limit: int = 0
    is_look_asked: bool = False
    #: Runs before this one are too old.
    oldest: str = ""
    #: The oldest that has files, as of the last look.
    first: str = ""

    def note(self, run: str, keep_runs: int, oldest: str) -> bool:
        """Count a run; tell if the directory must be read, which has not been asked for yet."""
        if run != self.newest:
            self.counted += 1
            self.newest = max(run, self.newest)
        is_changed, self.keep_runs = keep_runs != self.keep_runs, keep_runs
        self.oldest = oldest
        if self.is_look_asked or not (is_changed or self.counted > self.limit or self.first < oldest):
            return False
        self.is_look_asked = True
        return True

    def begin_look(self) -> tuple[int, int, str]:
        """Return what has been counted and what is kept. A run that is noted from here on asks anew."""
        self.is_look_asked = False
        return self.counted, self.keep_runs, self.oldest


def _files(directory: str) -> list[tuple[str, str]]:
    """Return run and name of each output file; nothing where there is no such directory."""
    files = []
    # scandir lets other threads run between any two names; listdir and a loop over it would not.
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            parts = entry.name.split(".")
            # A supervisor that was killed may have left a `.log.part`.
            if len(parts) >= 4 and parts[3] == "log" and parts[2].isdecimal() and parts[4:] in ([], ["part"]):
                files.append((parts[0], entry.name))
    return files


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - a Path costs more than the call
