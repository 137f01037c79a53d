"""How a ledger at rest can be damaged: bytes, pages, ends, rows, values, schema, what lies beside it."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from fuzz import odd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = 4096
_PATIENCE_S = 1.0
NUMBERS: list[object] = [
    0, -1, 1, 2**31, 2**62, 2**63 - 1, -(2**63), "NULL", 1_700_000_000_000_000_000, "x'ff'", "'text'", 1.5
]  # fmt: skip
_LARGE = "zeroblob(3000000)"
TEXTS = [
    *odd.TEXTS, "{}", "[]", '{"x": 1}', "{", "[1]", "true", "2026-01-01", "skip", "running", "queued", "lost",
    '{"cron": 5}', '{"every_ns": 0}', '{"every_ns": "x", "timezone": []}', "[" * 5000,
    "once-99999999999999999999",
]  # fmt: skip


def some_bytes(chance: random.Random, path: Path) -> None:
    """Change some bytes."""
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 1, 20, 500])):
        # The first page, where the schema is, is met as often as all others together.
        at = chance.randrange(min(PAGE, len(data)) if chance.random() < 0.5 else len(data))
        data[at : at + chance.choice([1, 1, 8])] = chance.randbytes(1)
    path.write_bytes(data)


def pages(chance: random.Random, path: Path) -> None:
    """Zero a page, fill it with junk, or put another in its place."""
    data = bytearray(path.read_bytes())
    count = len(data) // PAGE
    for _ in range(chance.choice([1, 1, 3])):
        at = chance.randrange(count) * PAGE
        other = chance.randrange(count) * PAGE
        data[at : at + PAGE] = chance.choice(
            [bytes(PAGE), b"\xff" * PAGE, chance.randbytes(PAGE), bytes(data[other : other + PAGE])]
        )
    path.write_bytes(data)


def the_end(chance: random.Random, path: Path) -> None:
    """Take the end away, or put something behind it."""
    size = path.stat().st_size
    if chance.random() < 0.8:
        os.truncate(path, chance.choice([0, 1, 100, PAGE, chance.randrange(size)]))
    else:
        with path.open("ab") as file:
            file.write(chance.randbytes(chance.choice([1, PAGE])))


def some_values(chance: random.Random, path: Path) -> None:
    """Give some columns of some rows other values, of any type."""
    with _open(path) as ledger:
        tables = _tables(ledger)
        if chance.random() < 0.5:  # values of other types than the schema has them
            _loosen(ledger)
        for _ in range(chance.choice([1, 1, 5, 30])):
            table = chance.choice(tables)
            columns = ledger.execute(f"PRAGMA table_info({table})").fetchall()
            column, kind = chance.choice([(row[1], row[2]) for row in columns])
            if kind == "TEXT" and chance.random() < 0.9:
                raw = chance.choice(TEXTS).encode("utf-8", "surrogateescape")
                # A task of another name is one that nobody can tell from a right one.
                raw += chance.choice([b"", b"", b"\xff", b"\0"] if column != "task" else [b"\xff", b"\0"])
                value: object = f"CAST(X'{raw.hex()}' AS TEXT)"
            elif chance.random() < 0.05:
                value = _LARGE
            else:
                value = chance.choice(NUMBERS)
            if (column == "job" and value == 1) or (column == "task" and value in NUMBERS):
                continue  # another job's rows, a task of another name: nobody can tell
            number = "run" if table == "attempts" else "rowid"
            last = f"{number} = (SELECT max({number}) FROM {table})"
            which = chance.choice(["1", f"{number} % 3 = 0", last])
            if value == _LARGE:  # in all rows it would be gigabytes
                which = last
            with suppress(sqlite3.Error):  # what the schema does not let anybody write
                ledger.execute(f"UPDATE OR IGNORE {table} SET {column} = {value} WHERE {which}")


def rows(chance: random.Random, path: Path) -> None:
    """Remove rows."""
    with _open(path) as ledger, suppress(sqlite3.Error):
        table = chance.choice(_tables(ledger))
        number = "run" if table == "attempts" else "rowid"
        ledger.execute(f"DELETE FROM {table} WHERE {chance.choice(['1', f'{number} % 2 = 0'])}")


def the_schema(chance: random.Random, path: Path) -> None:
    """Rename, drop or add a table, a column, an index or a trigger, or change its words."""
    with _open(path) as ledger:
        table = chance.choice(_tables(ledger))
        column = chance.choice([row[1] for row in ledger.execute(f"PRAGMA table_info({table})")])
        change = chance.choice(
            [
                f"ALTER TABLE {table} RENAME TO other",
                f"ALTER TABLE {table} RENAME COLUMN {column} TO other",
                f"ALTER TABLE {table} DROP COLUMN {column}",
                f"ALTER TABLE {table} ADD COLUMN other",
                f"DROP TABLE {table}",
                "DROP INDEX runs_of_job", "DROP INDEX runs_open", "DROP TRIGGER definition_replaced",
                f"CREATE TABLE other AS SELECT * FROM {table}",
                f"DROP TABLE {table}; CREATE VIEW {table} AS SELECT 1 AS id",
                f"CREATE TRIGGER t BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END",
                f"CREATE TRIGGER t AFTER UPDATE ON {table} BEGIN DELETE FROM events; END",
                f"CREATE UNIQUE INDEX other ON {table} ({column})",
                f"PRAGMA user_version = {chance.choice([0, 1, 5, 99, 2**31 - 1, -1])}",
                f"PRAGMA application_id = {chance.choice([0, 1, -1])}",
                "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET"
                " sql = replace(sql, 'INTEGER', 'INTEGEB')",
                f"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = {chance.randrange(40)}"
                f" WHERE name = '{table}'",
                "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = CAST(x'ff' || sql AS TEXT)",
                f"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = NULL WHERE name = '{table}'",
                "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE rowid % 4 = 0",
            ]
        )  # fmt: skip
        with suppress(sqlite3.Error):
            ledger.executescript(change)


def what_lies_beside(chance: random.Random, path: Path) -> None:
    """Leave a log or a journal there, damaged or of another file."""
    suffix = chance.choice(["-wal", "-wal", "-shm", "-journal"])
    beside = path.with_name(path.name + suffix)
    kind = chance.randrange(5)
    if os.path.lexists(beside) and not stat.S_ISREG(beside.lstat().st_mode):
        return
    if kind == 0 and not beside.exists():
        beside.mkdir()
    elif kind == 1 and not beside.exists():
        beside.symlink_to(chance.choice([beside.name, path.name, "nothing"]))
    elif kind == 2 and not beside.exists():
        os.mkfifo(beside)
    elif beside.exists() and beside.stat().st_size:
        chance.choice([some_bytes, the_end])(chance, beside)
    else:
        magic = chance.choice([b"", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7\0\0\0\1", b"\x37\x7f\x06\x82"])
        beside.write_bytes(magic + chance.randbytes(chance.choice([10, 600, 3 * PAGE])))


def the_file(chance: random.Random, path: Path) -> None:
    """Put something else in its place."""
    path.unlink()
    kind = chance.randrange(5)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        path.symlink_to(chance.choice([path.name, "nothing", "/dev/null"]))
    elif kind == 2:
        os.mkfifo(path)
    elif kind == 3:
        path.write_bytes(chance.randbytes(chance.choice([1, 200, 3 * PAGE])))


DAMAGES: list[Callable[[random.Random, Path], None]] = [
    some_bytes, some_bytes, pages, the_end, some_values, some_values, some_values, rows, the_schema,
    what_lies_beside, the_file,
]  # fmt: skip


def damage(chance: random.Random, path: Path) -> str:
    """Damage a ledger in one way, or two; return their names."""
    done = []
    chosen = chance.choices(DAMAGES, k=chance.choice([1, 1, 1, 2]))
    # SQLite may go round in circles in what is damaged already.
    for one in sorted(chosen, key=lambda one: one not in (some_values, rows, the_schema)):
        if not path.is_file() or path.is_symlink() or path.stat().st_size < 2 * PAGE:
            break
        done.append(one.__name__)
        with suppress(sqlite3.Error, UnicodeDecodeError, IndexError):  # the first has left nothing to damage
            one(chance, path)
    return " and ".join(done)


def _open(path: Path) -> closing[sqlite3.Connection]:
    ledger = sqlite3.connect(path, isolation_level=None)
    until = time.monotonic() + _PATIENCE_S
    # With its keys changed on the way, SQLite may go through a table for ever.
    ledger.set_progress_handler(lambda: time.monotonic() > until, 100)
    ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return closing(ledger)


def _tables(ledger: sqlite3.Connection) -> list[str]:
    return [name for (name,) in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]


def _loosen(ledger: sqlite3.Connection) -> None:
    """Let the columns take what a damaged page may hold."""
    ledger.executescript(
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(replace(replace(sql,"
        " ') STRICT, WITHOUT', ') WITHOUT'), ') STRICT', ')'), ' NOT NULL', '') WHERE"
        " type = 'table'; PRAGMA writable_schema = RESET;"
    )
