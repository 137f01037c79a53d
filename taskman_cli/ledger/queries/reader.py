"""The ledger as commands see it: opened for reading, beside the scheduler that writes.

Nothing here writes, and nothing keeps a snapshot for long: that of a pager left open over night would keep
the scheduler from restarting its write-ahead log. Large results are read in pages, each with its own query
(`history.py`, `journal.py`).
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core.escapes import printable
from taskman_cli.errors import ScheduleError, TaskmanError
from taskman_cli.ledger.schema import APPLICATION_ID, MIGRATIONS
from taskman_cli.ledger.store import NAME
from taskman_cli.ledger.texts import read_any_text, stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: How long to wait for a scheduler that recovers or migrates the ledger; nothing else makes a reader wait.
BUSY_TIMEOUT_S = 5.0

#: SQLite's result codes where it may not create the files beside a ledger that is in use.
_CANNOT_MAKE_FILES = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})


class NoLedger(TaskmanError):
    """Say that a state directory has no ledger yet."""


class JobRow(NamedTuple):
    """A job that the ledger knows."""

    id: int
    name: str


def refuse_blobs(_: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row, as the row_factory of a connection; raise ValueError if a value is a BLOB.

    taskman writes no BLOB, so only damage can put one into a column.
    """
    if any(isinstance(value, bytes) for value in row):
        raise ValueError("a value that is neither a number nor text")
    return row


@contextmanager
def reading(directory: Path) -> Iterator[sqlite3.Connection]:
    """Open the ledger of a state directory for reading.

    Raises NoLedger if there is none, TaskmanError if it cannot be read; so do all queries within.
    """
    path = directory / NAME
    try:
        if path.stat().st_size == 0:
            raise FileNotFoundError
        ledger = _connect(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _no_ledger(directory) from None
    except OSError as error:  # a loop of links, a name that is too long, a disk that fails
        raise TaskmanError(f"cannot read {path}: {error.strerror}") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise TaskmanError(_in_words(error, path)) from error
    with closing(ledger):
        try:
            if not _is_ours(ledger, path):
                raise _no_ledger(directory)
            yield ledger
        except sqlite3.Error as error:
            raise TaskmanError(_in_words(error, path)) from error
        except (
            ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError,
            ScheduleError,
        ) as error:  # fmt: skip
            words = printable(" ".join(str(error).split()))[:200]
            raise TaskmanError(
                f"{path} has a row that no version of taskman wrote: {words} (`taskman doctor` checks the "
                "whole ledger; the next start of `taskman run` sets such rows aside)"
            ) from error


def _no_ledger(directory: Path) -> NoLedger:
    return NoLedger(f"there is no ledger in {directory}: nothing has run with this state directory yet")


def shown_timezone(directory: Path) -> str | None:
    """Return the name of the zone that the scheduler of a state directory shows times in, if it is known."""
    with suppress(TaskmanError), reading(directory) as ledger:
        return timezone_of(ledger)
    return None


def timezone_of(ledger: sqlite3.Connection) -> str | None:
    """Return the name of the zone that the scheduler shows times in, if that is on record."""
    row = ledger.execute("SELECT timezone FROM standing").fetchone()
    return None if row is None or row[0] is None else str(row[0])


def find_job(ledger: sqlite3.Connection, name: str) -> JobRow | None:
    """Return the job of that name, whether or not it is still defined."""
    row = ledger.execute("SELECT id, name FROM job_state WHERE name = ?", (stored(name),)).fetchone()
    return JobRow(*row) if row else None


def runs_once(ledger: sqlite3.Connection, job: int) -> bool:
    """Return whether a job runs once only, at one instant, as those of `taskman once` do."""
    (definition,) = ledger.execute("SELECT definition FROM job_state WHERE id = ?", (job,)).fetchone()
    try:
        found = json.loads(definition)
    except (ValueError, TypeError):
        return False  # it is damaged
    return isinstance(found, dict) and "at_ns" in found and found.get("max_runs") == 1


def job_names(ledger: sqlite3.Connection) -> list[str]:
    """Return the names of all jobs that the ledger knows."""
    return [name for (name,) in ledger.execute("SELECT name FROM job_state ORDER BY name")]


def data_version(ledger: sqlite3.Connection) -> int:
    """Return a number that changes with each write of another process."""
    version: int = ledger.execute("PRAGMA data_version").fetchone()[0]
    return version


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file; if the files beside it cannot be created, as one that nobody writes.

    A reader needs `-shm` and `-wal` like a writer. If they are missing, no scheduler is running; if they
    cannot be created either, the file alone is the whole ledger, unless the log of a killed scheduler was not
    copied into it.
    """
    uri = path.absolute().as_uri()
    try:
        return _opened(f"{uri}?mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _CANNOT_MAKE_FILES:
            raise
        # If the file itself can be read, the trouble is with the files beside it.
        with path.open("rb"):
            pass
    log = path.with_name(f"{NAME}-wal")
    if log.exists() and log.stat().st_size:
        raise TaskmanError(
            f"cannot read {path}: the latest records are in {log.name}, which can only be read where files"
            f" can be created beside it: copy {path.parent} to a directory of your own and give that to"
            " --state-dir"
        )
    return _opened(f"{uri}?mode=ro&immutable=1")


def _opened(uri: str) -> sqlite3.Connection:
    ledger = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    read_any_text(ledger)
    try:
        ledger.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        ledger.close()
        raise
    return ledger


def _is_ours(ledger: sqlite3.Connection, path: Path) -> bool:
    """Refuse a file that is not a ledger of this version; tell if there is anything in it."""
    (is_empty,) = ledger.execute("SELECT count(*) = 0 FROM sqlite_schema").fetchone()
    if is_empty:
        return False  # made a moment ago
    (application_id,) = ledger.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise TaskmanError(f"{path} is a database of another program, not a ledger")
    (version,) = ledger.execute("PRAGMA user_version").fetchone()
    known = len(MIGRATIONS)
    if version > known:
        raise TaskmanError(
            f"{path} was written by a newer taskman (version {version}, this one knows {known}):"
            " use the newer one"
        )
    if version < known:
        raise TaskmanError(
            f"{path} was written by an older taskman (version {version}, this one reads {known}): "
            "`taskman run` will migrate it"
        )
    return True


def _in_words(error: sqlite3.Error | UnicodeDecodeError, path: Path) -> str:
    if isinstance(error, UnicodeDecodeError):  # from SQLite's own message
        return f"{path} is damaged: its schema cannot be read"
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return f"{path} is not a ledger: {error}"
    if code == sqlite3.SQLITE_CORRUPT:
        return f"{path} is damaged: {error}"
    return f"cannot read {path}: {error}"
