"""A ledger for a test, with the real writer, and its tables as rows to compare."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from unit.engine_driver import START

from taskman_cli.core.clock import Now
from taskman_cli.core.model import Durability
from taskman_cli.ledger.store import NAME, open_store
from taskman_cli.ledger.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from taskman_cli.core.engine import effects

TABLES = ("events", "job_state", "runs", "attempts", "skips", "standing")
SUPERVISOR = 77


def second(count: float) -> Now:
    """Return the moment so many seconds after the start."""
    return Now(START.wall_ns + int(count * 10**9), START.elapsed_ns + int(count * 10**9))


def wall(count: float) -> int:
    """Return the instant so many seconds after the start, on the wall clock."""
    return second(count).wall_ns


class Written:
    """A ledger that is written to."""

    def __init__(self, directory: Path, supervisor: int = SUPERVISOR) -> None:
        self.path = directory / NAME
        self.connection = open_store(self.path, Durability.PROCESS)
        self.writer = Writer(self.connection, supervisor)

    def write(self, *records: effects.Record | effects.Mark, at: float = 0) -> None:
        """Write a batch, so many seconds after the start."""
        self.writer.write(records, second(at))

    def rows(self, table: str, *columns: str, where: str = "1") -> list[Any]:
        """Return the rows of a table, or of one column its values."""
        query = f"SELECT {', '.join(columns) or '*'} FROM {table} WHERE {where} ORDER BY rowid"
        if table == "attempts":
            query = query.replace("rowid", "run, task, number")
        rows = self.connection.execute(query).fetchall()
        return [row[0] for row in rows] if len(columns) == 1 else rows

    def close(self) -> None:
        self.connection.close()


def dump(connection: sqlite3.Connection, *, without: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """Return all tables, row by row, but for some columns ("table.column")."""
    tables = {}
    for table in TABLES:
        cursor = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
        names = [column[0] for column in cursor.description]
        tables[table] = [
            {name: value for name, value in zip(names, row, strict=True) if f"{table}.{name}" not in without}
            for row in cursor
        ]
    return tables


def read_ledger(directory: Path, query: str) -> list[Any]:
    """Look into a ledger as anybody else would."""
    with closing(sqlite3.connect(directory / "ledger.db")) as connection:
        rows = connection.execute(query).fetchall()
    return [row[0] for row in rows] if rows and len(rows[0]) == 1 else rows
