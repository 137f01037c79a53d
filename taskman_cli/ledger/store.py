"""The ledger's file: opened and migrated by the scheduler, its only writer; set aside when it is broken."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from taskman_cli.core.model import Durability
from taskman_cli.errors import TaskmanError
from taskman_cli.ledger.leftover import Log, left_log
from taskman_cli.ledger.schema import APPLICATION_ID, MIGRATIONS
from taskman_cli.ledger.structure import (
    Structure,
    make_others,
    read_structure,
    sharing,
    structures,
    try_writing,
    version_of,
)
from taskman_cli.ledger.texts import read_any_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "ledger.db"

#: How long to wait at the start for a command that reads, and recovers what a crash left.
OPEN_TIMEOUT_S = 2.0
#: How long a write, and the loop with it, waits for another writer: there should be none.
WRITE_TIMEOUT_S = 0.2

_SYNCHRONOUS = {Durability.PROCESS: "NORMAL", Durability.POWER: "FULL"}
#: The head of a database, in bytes (https://www.sqlite.org/fileformat.html#the_database_header).
_HEAD_BYTES, _MAGIC, _PAGES_AT, _VERSION_AT, _APPLICATION_AT = 100, b"SQLite format 3\0", 28, 60, 68
#: A larger one takes more than a moment to copy.
_LARGE_BYTES = 100 << 20
_TABLES = ("events", "job_state", "runs", "attempts", "skips", "standing")
_WITH_COMPANIONS = ("", "-wal", "-shm", "-journal")
#: What has become of a ledger that is not in its place.
REMOVED, REPLACED = "it was removed", "it was replaced by another file"
#: What SQLite keeps beside a file that is in use.
_OF_A_LOG = ("-wal", "-shm")


class LedgerBroken(Exception):
    """Say that the file is not a ledger, or a damaged one."""


class LedgerUnwritable(Exception):
    """Say why nothing can be written; the write can be tried again."""


def open_store(
    path: Path,
    durability: Durability,
    *,
    boot: str | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> sqlite3.Connection:
    """Open the ledger for writing; make or migrate it if necessary. `boot` names this start of the machine.

    `tell` is told in words of what takes long, before it is begun.

    Raises LedgerBroken for a file that is not a ledger or is damaged, LedgerUnwritable if the disk does not
    take it, TaskmanError for another program's database and for a good ledger that this version cannot use.
    """
    _refuse_odd_files(path)
    refuse_others(path)
    left = None if boot is None else left_log(path)
    try:
        connection = _connect(path)
        try:
            version = _version(connection, path)
            _prepare(connection)
            if left and boot:
                _check_log(connection, left, boot)
            _migrate(connection, path, version, tell)
            if version:
                make_others(connection, _of_version(len(MIGRATIONS)), read_structure(connection))
            connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
            connection.execute(f"PRAGMA busy_timeout = {round(WRITE_TIMEOUT_S * 1000)}")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        known = translated(error)
        # So far only what every ledger has was read.
        raise LedgerBroken(str(error)) if known is error else known from error
    except (UnicodeDecodeError, MemoryError) as error:  # from SQLite's own message about a damaged schema
        raise LedgerBroken("its schema cannot be read") from error
    except OSError as error:
        raise LedgerUnwritable(error.strerror) from error
    return connection


def _refuse_odd_files(path: Path) -> None:
    """Raise LedgerBroken if a file of ours is a link, a directory, a pipe or something else."""
    for suffix in _WITH_COMPANIONS:
        place = _beside(path, suffix)
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LedgerUnwritable(error.strerror) from error
        if not stat.S_ISREG(mode):
            kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "no file")
            raise LedgerBroken(f"{place.name} is {kind}")


_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def translated(error: sqlite3.Error) -> Exception:
    """Translate an error: LedgerUnwritable is for people to fix, LedgerBroken is damage, others are bugs."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return error
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LedgerBroken(str(error))
    if isinstance(error, sqlite3.OperationalError) and code & 0xFF != sqlite3.SQLITE_ERROR:
        return LedgerUnwritable(str(error))
    return error


def refuse_others(path: Path) -> None:
    """Raise TaskmanError for another program's database; call it while this process does not have it open.

    It reads the file itself: SQLite would recover what its owner left, or copy our log into it.
    """
    head = b""
    with suppress(OSError):
        # Without waiting: it may be a pipe.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            head = os.read(fd, _HEAD_BYTES)
        finally:
            os.close(fd)
    if len(head) == _HEAD_BYTES and head.startswith(_MAGIC):
        version, application_id = (
            int.from_bytes(head[at : at + 4], signed=True) for at in (_VERSION_AT, _APPLICATION_AT)
        )
        # The first page of a new ledger is empty: all of it is in the log.
        is_empty = int.from_bytes(head[_PAGES_AT : _PAGES_AT + 4]) <= 1
        is_like_ours = (application_id == APPLICATION_ID or is_empty) and version <= len(MIGRATIONS)
        if not is_like_ours and not _has_our_tables(path):
            _refuse(path, version, application_id, is_empty=is_empty)


def _has_our_tables(path: Path) -> bool:
    """Tell whether a file is a ledger by its tables, or too damaged to tell; it is not changed."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as file:
            read_any_text(file)
            return version_of(read_structure(file), structures(MIGRATIONS)) is not None
    except (sqlite3.Error, UnicodeDecodeError):
        return True


class Place:
    """Where the ledger's file is, and that it is still the one that was opened there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # By its path: closing another descriptor of the file would release all locks on it.
        self._fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._companions = {suffix: _identity(_beside(path, suffix)) for suffix in _OF_A_LOG}

    def check(self) -> None:
        """Raise LedgerBroken if the file at the path is not the one that is written to."""
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            raise LedgerBroken(REMOVED) from None
        except OSError as error:
            raise LedgerUnwritable(error.strerror) from error
        opened = os.fstat(self._fd)
        if (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
            raise LedgerBroken(REPLACED)
        if found.st_size == 0:
            raise LedgerBroken("it was emptied")

    def strays(self) -> tuple[str, ...]:
        """Return the suffixes of our log files beside a file that is not ours.

        A program that opens that file would read them into it.
        """
        opened = os.fstat(self._fd)
        if _identity(self._path) in (None, (opened.st_dev, opened.st_ino)):
            return ()
        return tuple(
            suffix
            for suffix, identity in self._companions.items()
            if identity is not None and _identity(_beside(self._path, suffix)) == identity
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def set_aside(path: Path, now_ns: int, suffixes: tuple[str, ...] = _WITH_COMPANIONS) -> Path | None:
    """Rename a broken ledger and its log; return the new name, or None if it is gone."""
    base = path.with_name(f"{path.name}.broken-{now_ns // 1_000_000_000}")
    target, number = base, 1
    while any(os.path.lexists(_beside(target, suffix)) for suffix in _WITH_COMPANIONS):
        number += 1
        target = base.with_name(f"{base.name}-{number}")
    is_there = os.path.lexists(path)
    for suffix in suffixes:
        with suppress(FileNotFoundError):
            _beside(path, suffix).rename(_beside(target, suffix))
    return target if is_there else None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what identifies a file; None: it does not exist."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: Path) -> sqlite3.Connection:
    # SQLite gives `-wal` and `-shm` the mode of the file itself.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, timeout=OPEN_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    read_any_text(connection)
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # see checkpoint.py
    connection.execute("PRAGMA journal_size_limit = 8000000")
    connection.execute("PRAGMA temp_store = MEMORY")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a ledger, 0 for a new one; a file that is not one, or too new, is not changed.

    The tables tell the version; if the file's header has another number, that is corrected.
    """
    application_id: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    found = read_structure(connection)
    if not found.tables:
        return 0
    is_plausible = application_id == APPLICATION_ID and 0 < version <= len(MIGRATIONS)
    wanting = _of_version(version).wanting(found) if is_plausible else None
    if is_plausible and wanting is None:
        if mixed := sharing(connection):
            raise LedgerBroken(f"{' and '.join(mixed)} are in the same place of it")
        return version
    actual = version_of(found, structures(MIGRATIONS))
    if actual is None:
        _refuse(path, version, application_id, is_empty=False)
        raise LedgerBroken(wanting or f"its tables are not those of version {version}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {actual}")
    return actual


def _of_version(version: int) -> Structure:
    return structures(("".join(MIGRATIONS[:version]),))[-1]


def _check_log(connection: sqlite3.Connection, left: Log, boot: str) -> None:
    """Raise LedgerBroken if the end of the log was lost since the machine was started."""
    frames = 0
    if left.is_long_enough:
        _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if left.is_whole(frames):
        return
    (last,) = connection.execute("SELECT boot FROM standing").fetchone() or (None,)
    if last == boot:
        raise LedgerBroken("its log is damaged: the latest records are missing")


def check_writing(connection: sqlite3.Connection) -> None:
    """Raise LedgerBroken or sqlite3.Error if a row cannot be added to a table."""
    try:
        try_writing(connection)
    except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InternalError) as error:
        raise LedgerBroken(f"no row can be added to it: {error}") from error


def _refuse(path: Path, version: int, application_id: int, *, is_empty: bool) -> None:
    if not is_empty and application_id != APPLICATION_ID:
        raise TaskmanError(
            f"{path} is a database of another program: move it elsewhere, "
            "or give taskman its own state directory (--state-dir)"
        )
    if version > len(MIGRATIONS):
        raise TaskmanError(
            f"{path} was written by a newer taskman (version {version}, this one knows {len(MIGRATIONS)}): "
            "use the newer one, or give this one its own state directory (--state-dir)"
        )


def _migrate(connection: sqlite3.Connection, path: Path, version: int, tell: Callable[[str], object]) -> None:
    if version == len(MIGRATIONS):
        return
    size = path.stat().st_size
    if version and size >= _LARGE_BYTES:
        tell(
            f"the ledger was written by an earlier version and is large ({size >> 20} MiB): it is copied and"
            " changed before anything starts, which may take minutes"
        )
    backup = _back_up(connection, path, version) if version else None
    # One transaction: a crash leaves the old version or the new one.
    statements = "".join(MIGRATIONS[version:])
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {statements} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;"
        )
    except sqlite3.Error as error:
        if backup is None or translated(error) is not error:
            raise
        if not _fails_anyway(version):
            raise LedgerBroken(f"it cannot be migrated: {error}") from error
        # The fault is in the migration: the records are good.
        raise TaskmanError(
            f"{path} cannot be migrated from version {version} to {len(MIGRATIONS)} ({error}). It is "
            f"unchanged, and {backup} is a copy: use the taskman that wrote it, or move it away to start "
            "a new ledger"
        ) from error


def _fails_anyway(version: int) -> bool:
    """Tell whether the migrations from a version on fail for an empty ledger too."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript("".join(MIGRATIONS[:version]))
        try:
            connection.executescript("".join(MIGRATIONS[version:]))
        except sqlite3.Error:
            return True
    return False


def check_tables(connection: sqlite3.Connection) -> None:
    """Raise LedgerBroken if one of the tables is gone."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if gone := [table for table in _TABLES if table not in names]:
        raise LedgerBroken(f"it has no table {gone[0]}")


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    """Copy the ledger to a file beside it, completely or not at all; return its path."""
    backup = path.with_name(f"{path.name}.version-{version}")
    part = backup.with_name(backup.name + ".part")
    part.unlink(missing_ok=True)
    part.touch(0o600, exist_ok=False)
    # By SQLite itself: a copy of the file would lack what a reader keeps in the log, and to close another
    # descriptor of the file would be to lose all locks on it.
    with closing(sqlite3.connect(part)) as copy:
        connection.backup(copy)
    part.rename(backup)
    return backup
