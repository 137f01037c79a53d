"""Copies the write-ahead log into the ledger's file, on its own thread: a slow disk does not delay a start.

By itself SQLite would do so within a commit. Here the writer copies only a log that grew long in spite of the
thread: while it writes without a pause, the log cannot start from its beginning again. It never waits for a
reader (PASSIVE): a reader that holds a snapshot makes the log grow, but does not stop the scheduler.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: The log is copied after so many records, or so many transactions: a record that is written alone takes some
#: five kilobytes, one of many a few hundred bytes.
EVERY_RECORDS = 4_000
EVERY_WRITES = 200
#: A log of this many pages is copied at once.
MOST_PAGES = 4_000
#: How long the last copy may take at the end.
_CLOSE_S = 2.0

_COPY = "PRAGMA wal_checkpoint(PASSIVE)"


class Checkpoints:
    """Counts what is written, and has the log copied."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._records = self._writes = 0
        #: Pages of the log, as of the last copy.
        self._pages = 0
        self._wishes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def note(self, records: int) -> None:
        """Count records that were written just now, in one transaction."""
        self._records += records
        self._writes += 1
        if self._records < EVERY_RECORDS and self._writes < EVERY_WRITES:
            return
        self._records = self._writes = 0
        if self._pages > MOST_PAGES:
            self._pages = 0
            self._copy_here()
        if self._thread is None and not self._has_started_thread():
            self._copy_here()
        elif self._wishes.empty():
            self._wishes.put(True)

    def _copy_here(self) -> None:
        with suppress(sqlite3.Error):  # the next write will report it
            self._connection.execute(_COPY).fetchone()

    def _has_started_thread(self) -> bool:
        """Start the thread; if that fails, the writer copies, and the next call tries again."""
        thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError):
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
            # The writer meets the same error and reports it. It may pass, so try again.
            with suppress(sqlite3.Error), closing(_connect(self._path)) as connection:
                while is_wanted:
                    _, self._pages, _ = connection.execute(_COPY).fetchone()
                    is_wanted = self._wishes.get()
                return
            is_wanted = self._wishes.get()


def _connect(path: Path) -> sqlite3.Connection:
    # Never create it: if the file was removed, the writer makes a new one.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
