"""Copies the write-ahead log into the ledger's file, on a thread of its own: a slow disk holds up no start.

SQLite would do so within a commit. Here only a log that grew long in spite of the thread is copied by the
writer itself: while it writes without a pause, the log is never at its end and cannot begin anew. It never
waits for a reader then (PASSIVE): one that holds a snapshot lets the log grow, and the clock go on.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Records after which the log is copied; some 20 of them to a hundred kilobytes.
EVERY_RECORDS = 400
#: A log of so many pages is copied at once.
MOST_PAGES = 4_000
#: How long the last copy may take at the end.
_CLOSE_S = 2.0

_COPY = "PRAGMA wal_checkpoint(PASSIVE)"


class Checkpoints:
    """Counts what is written, and has it copied."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._records = 0
        #: Pages of the log, as of the last copy.
        self._pages = 0
        self._wishes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def note(self, records: int) -> None:
        """Count records that were written just now."""
        self._records += records
        if self._records < EVERY_RECORDS:
            return
        self._records = 0
        if self._pages > MOST_PAGES:
            self._pages = 0
            self._copy_here()
        if self._thread is None and not self._has_started_thread():
            self._copy_here()
        elif self._wishes.empty():
            self._wishes.put(True)

    def _copy_here(self) -> None:
        with suppress(sqlite3.Error):  # the next write will tell of it
            self._connection.execute(_COPY).fetchone()

    def _has_started_thread(self) -> bool:
        """Start the thread; where there is none to be had, the writer copies, and it is tried again."""
        thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._wishes.put(False)
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        is_wanted = self._wishes.get()
        while is_wanted:
            # An error is told by the writer, who meets it too. It may pass, and the log is to be copied then.
            with suppress(sqlite3.Error), closing(_connect(self._path)) as connection:
                while is_wanted:
                    _, self._pages, _ = connection.execute(_COPY).fetchone()
                    is_wanted = self._wishes.get()
                return
            is_wanted = self._wishes.get()


def _connect(path: Path) -> sqlite3.Connection:
    # Never make it: a file that was removed is the writer's to begin anew.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
