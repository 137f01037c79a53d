"""What goes into the ledger: the records and marks of some steps of the engine, in one transaction."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from taskman_cli.ledger.rows import Rows
from taskman_cli.ledger.skips import SkipRows
from taskman_cli.ledger.store import check_tables, translated
from taskman_cli.ledger.turn import ReadOutput, no_output
from taskman_cli.ledger.writable import writable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine import effects

    Record = effects.Record | effects.Mark


class Writer:
    """Writes one transaction at a time; nothing else may write to the file."""

    def __init__(
        self, connection: sqlite3.Connection, supervisor: int, read_output: ReadOutput = no_output
    ) -> None:
        self._connection = connection
        self._read_output = read_output
        self._supervisor = supervisor
        self._job_ids: dict[str, int] = {}
        #: The last line of the journal.
        self._last_seq = 0
        self._skips = SkipRows(connection)
        self._forget_all()

    def write(self, records: Iterable[effects.Record | effects.Mark], now: Now) -> None:
        """Make records durable, all or none. Raises LedgerUnwritable or LedgerBroken, with none written."""
        with self._transaction():
            self._store(records, now)

    def salvage(self, records: Iterable[Record], now: Now) -> list[tuple[Record, Exception, bool]]:
        """Write the records one by one after `write` failed because of one of them.

        Return each that could not be written as it is, why, and whether it was written with its texts
        escaped. Raises LedgerUnwritable or LedgerBroken, with none written.
        """
        found: list[tuple[Record, Exception, bool]] = []
        with self._transaction():
            check_tables(self._connection)
            for record in records:
                error = self._try(record, now)
                if error is not None:
                    found.append((record, error, self._try_escaped(record, now)))
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise translated(error) from error
        except BaseException:
            self._roll_back()
            raise

    def _store(self, records: Iterable[Record], now: Now) -> None:
        rows = Rows(
            self._job_id, self._skips, self._supervisor, now, last_seq=self._last_seq,
            read_output=self._read_output,
        )  # fmt: skip
        for record in records:
            rows.add(record)
        rows.store(self._connection)
        self._last_seq = rows.last_seq

    def _try_escaped(self, record: Record, now: Now) -> bool:
        try:
            escaped = writable(record)
        except (TypeError, ValueError):
            return False
        return self._try(escaped, now) is None

    def _try(self, record: Record, now: Now) -> Exception | None:
        """Write one record, or return why it cannot be."""
        connection = self._connection
        connection.execute("SAVEPOINT one")
        try:
            self._store((record,), now)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and translated(error) is not error:
                raise  # it is the disk, not the record
            connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
            self._forget_all()
            return error
        connection.execute("RELEASE one")
        return None

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._forget_all()

    def _forget_all(self) -> None:
        """Read what is in the file again."""
        try:
            self._job_ids = dict(self._connection.execute("SELECT name, id FROM job_state"))
            (self._last_seq,) = self._connection.execute(
                # A report has the number of its line, whose table may have been damaged.
                "SELECT coalesce(max(seq), 0) FROM (SELECT max(seq) AS seq FROM events"
                " UNION ALL SELECT max(seq) FROM reports)"
            ).fetchone()
            self._skips.forget_all()
        except sqlite3.Error as error:
            raise translated(error) from error

    def forget_job(self, name: str) -> None:
        """Forget a job whose rows were removed."""
        self._job_ids.pop(name, None)
        self._skips.end_row(name)

    def _job_id(self, name: str, now: Now, last_seq: int) -> int:
        """Return the id of a job; an unknown job is not defined any more, and gets a row as such."""
        job_id = self._job_ids.get(name)
        if job_id is None:
            cursor = self._connection.execute(
                "INSERT INTO job_state (name, definition, since_ns, anchor_ns, removed_ns, removed_seq)"
                " VALUES (?, '{}', 0, 0, ?, ?)",
                (name, now.wall_ns, last_seq),
            )
            assert cursor.lastrowid is not None
            job_id = self._job_ids[name] = cursor.lastrowid
        return job_id
