"""The tables, indexes and triggers that a ledger of some version has, and whether a file has them.

The version number in a file's header may be damaged. The tables tell which version it is.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: A file that has these tables is ours, whatever its header says.
_OURS = frozenset({"events", "job_state", "runs", "attempts"})

#: One row into each table, as the writer does it; `{}`: the number after the last.
_TRIAL = (
    "INSERT INTO events (seq, at_ns, kind) SELECT coalesce(max(seq), 0) + 1, 0, 'trial' FROM events",
    "INSERT INTO job_state (name, definition, since_ns, anchor_ns) VALUES ('/', '{\"x\": 1}', 0, 0)",
    "UPDATE job_state SET since_ns = 2, anchor_ns = 1 WHERE name = '/'",
    "INSERT INTO runs (id, job, slot_ns, trigger, due_ns, state, queued_ns)"
    " SELECT coalesce(max(id), 0) + 1, 1, 0, 'slot', 0, 'queued', 0 FROM runs",
    "UPDATE runs SET state = 'running', begun_ns = 1 WHERE id = (SELECT max(id) FROM runs)",
    "INSERT INTO attempts (run, task, number, state, supervisor, begun_ns)"
    " SELECT coalesce(max(run), 0) + 1, 'main', 1, 'running', 1, 1 FROM attempts",
    "UPDATE runs SET state = 'lost', ended_ns = 2, ended_seq = 1 WHERE id = (SELECT max(id) FROM runs)",
    "INSERT INTO skips (id, job, slot_ns, slot_to_ns, count, reason, detail, at_ns, at_to_ns)"
    " SELECT coalesce(max(id), 0) + 1, 1, 0, 0, 1, 'missed', '', 0, 0 FROM skips",
    "INSERT INTO once_jobs VALUES ('/', '{}')",
    "INSERT OR REPLACE INTO needs VALUES (0, '/', 1)",
    "INSERT INTO rates VALUES ('/', 1, 1)",
    "INSERT INTO sinks (name, cursor) VALUES ('/', 0)",
    "INSERT INTO reports SELECT coalesce(max(seq), 0) + 1, 0, 'trial', NULL, '{}', '{}' FROM reports",
    "INSERT OR REPLACE INTO refused VALUES ('/', 0, 0, '')",
    "INSERT OR REPLACE INTO troubles VALUES ('/', '/', '/', 0, 0, '')",
    "INSERT OR REPLACE INTO decided VALUES ('/', 0)",
    "UPDATE standing SET accounted_ns = 1, last_run = last_run, offset_ns = 0",
)


@dataclass(frozen=True, slots=True)
class Structure:
    """What is in a schema."""

    #: Columns by table, in their order.
    tables: Mapping[str, tuple[str, ...]]
    #: Statements that make indexes and triggers, by name.
    others: Mapping[str, tuple[str, str]]

    def wanting(self, found: Structure) -> str | None:
        """Say which table of this structure another lacks or has wrong; None: it has all."""
        for table, columns in self.tables.items():
            if table not in found.tables:
                return f"it has no table {table}"
            if found.tables[table] != columns:
                return f"its table {table} has the wrong columns"
        return None


def structures(migrations: Sequence[str]) -> list[Structure]:
    """Return the structure of each version, from 0 on, up to a migration that fails."""
    found = [Structure({}, {})]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection, suppress(sqlite3.Error):
        for migration in migrations:
            connection.executescript(migration)
            found.append(read_structure(connection))
    return found


def read_structure(connection: sqlite3.Connection) -> Structure:
    """Return what is in a schema. Raises sqlite3.Error, and UnicodeError for unreadable text."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    tables = {
        name: tuple(row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(name)})"))
        for kind, name, _ in rows
        if kind == "table"
    }
    others = {name: (kind, sql) for kind, name, sql in rows if kind in ("index", "trigger") and sql}
    return Structure(tables, others)


def sharing(connection: sqlite3.Connection) -> list[str]:
    """Return the tables and indexes that begin on the page of another one, as in no good file."""
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE rootpage IN"
        " (SELECT rootpage FROM sqlite_schema WHERE rootpage > 0 GROUP BY rootpage HAVING count(*) > 1)"
    )
    return sorted(name for (name,) in rows)


def version_of(found: Structure, known: Sequence[Structure]) -> int | None:
    """Return the version whose tables, and no others of ours, a schema has; None: no version has these."""
    tables = {name: columns for name, columns in found.tables.items() if not name.startswith("sqlite_")}
    for version in range(len(known) - 1, 0, -1):
        if tables == known[version].tables:
            return version
    return None


def is_ours(found: Structure) -> bool:
    """Tell whether a schema has the tables that every ledger has."""
    return found.tables.keys() >= _OURS


def make_others(connection: sqlite3.Connection, wanted: Structure, found: Structure) -> None:
    """Make the indexes and triggers that are missing or wrong."""
    for name, (kind, sql) in wanted.others.items():
        if found.others.get(name) == (kind, sql):
            continue
        if name in found.others:
            connection.execute(f"DROP {found.others[name][0]} {_quoted(name)}")
        connection.execute(sql)


def try_writing(connection: sqlite3.Connection) -> None:
    """Write a row into each table and roll it back. Raises sqlite3.Error if a table refuses it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _TRIAL:
            connection.execute(statement)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
