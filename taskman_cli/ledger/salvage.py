"""Copies what can still be read of a damaged ledger, row by row, into a new one.

Each table is read from both ends up to the damage; the stretch between is halved, and so on, the longest
first. The damaged file is not changed: a copy of it is read.
"""

from __future__ import annotations

import heapq
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.core.model import Durability
from taskman_cli.errors import TaskmanError
from taskman_cli.ledger.store import open_store
from taskman_cli.ledger.structure import read_structure
from taskman_cli.ledger.texts import read_any_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The tables, each with the number by which it is read.
TABLES = {
    "job_state": "id", "runs": "id", "attempts": "run", "skips": "id", "definitions": "id", "events": "seq",
    "once_jobs": "rowid", "needs": "rowid", "rates": "rowid", "standing": "id", "set_aside": "id",
    "sinks": "id", "reports": "seq", "refused": "seq", "troubles": "told_ns",
}  # fmt: skip
#: Tables that older ledgers do not have.
LATER = frozenset({"set_aside", "sinks", "reports", "refused", "troubles"})
_LEAST, _MOST = -(2**63), 2**63 - 1
#: Stretches of a table that are looked at: a page that is damaged may have room for millions of numbers.
_MOST_LOOKS = 4_000
_ROWS_AT_ONCE = 1_000
#: The head of a database, in bytes: its size in pages, its list of free ones; and the size of a page.
_PAGES_AT, _FREE_AT, _PAGE_BYTES = 28, 32, 4096

#: A salvaged ledger is of the past: what was still to do may have been done since, and is not done again.
_CLOSE = (
    "UPDATE runs SET state = 'lost', ended_ns = coalesce(ended_ns, :now),"
    " ended_seq = coalesce(ended_seq, (SELECT coalesce(max(seq), 0) FROM events)),"
    " detail = coalesce(detail, 'its ledger was damaged') WHERE state IN ('queued', 'running')",
    "UPDATE attempts SET state = 'lost', ended_ns = coalesce(ended_ns, :now), next_ns = NULL"
    " WHERE state IN ('queued', 'running')",
    "UPDATE standing SET accounted_ns = :now",
)
_PASSED = "DELETE FROM once_jobs WHERE json_valid(job) AND json_extract(job, '$.at_ns') <= :now"


@dataclass(slots=True)
class Salvaged:
    """The result of one table."""

    rows: int = 0
    #: How many rows were read but refused by the new ledger.
    refused: int = 0
    #: Numbers of the first row and the last of each stretch that could not be read.
    unread: list[tuple[int, int]] = field(default_factory=list)
    #: Why the table could not be read at all.
    trouble: str = ""

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing is missing, as far as can be known."""
        return not (self.refused or self.unread or self.trouble)


def salvage(source: Path, target: Path, *, now_ns: int) -> dict[str, Salvaged]:
    """Copy what can be read of a file into a new ledger, the empty file `target`; return a result by table.

    Raises TaskmanError if nothing can be read, OSError and sqlite3.Error for errors of the new file.
    """
    with (
        tempfile.TemporaryDirectory(prefix=".taskman-salvage-", dir=target.absolute().parent) as name,
        closing(_opened(source, Path(name) / "ledger.db")) as old,
        closing(open_store(target, Durability.PROCESS)) as new,
    ):
        # Runs first: each that succeeded is noted with its job, whose row says which was the last.
        runs = _bring(old, new, "runs", TABLES["runs"])
        found = {
            table: runs if table == "runs" else _bring(old, new, table, number)
            for table, number in TABLES.items()
        }
        if not any(table.rows for table in found.values()):
            raise TaskmanError(f"nothing in {source} can be read")
        for statement in _CLOSE:
            new.execute(statement, {"now": now_ns})
        if passed := new.execute(_PASSED, {"now": now_ns}).rowcount:
            found["once_jobs"].trouble = f"{passed:,} whose time has passed and which may have run"
            found["once_jobs"].rows -= passed
        new.execute("PRAGMA journal_mode = DELETE").fetchone()
    return found


def _opened(source: Path, copy: Path) -> sqlite3.Connection:
    """Open a copy of a file, with its log if there is one that can be read."""
    try:
        with suppress(FileNotFoundError):
            shutil.copyfile(source.with_name(source.name + "-wal"), copy.with_name(copy.name + "-wal"))
        shutil.copyfile(source, copy)
        # SQLite reads the missing part of a cut page as zeros, and takes such rows for complete.
        os.truncate(copy, copy.stat().st_size // _PAGE_BYTES * _PAGE_BYTES)
    except (OSError, shutil.SpecialFileError) as error:
        raise TaskmanError(f"cannot copy {source}: {error}") from error
    for repair in (None, _forget_log, _put_head):
        if repair:
            repair(copy)
        connection = sqlite3.connect(copy, isolation_level=None)
        read_any_text(connection)
        connection.text_factory = _text
        try:
            if read_structure(connection).tables.keys() & TABLES.keys():
                return connection
        except (sqlite3.Error, UnicodeDecodeError):
            pass
        connection.close()
    raise TaskmanError(f"{source} is not a ledger, or nothing in it can be read")


def _text(raw: bytes) -> str | bytes:
    """Return a text; if it is not UTF-8, its bytes, which a cast turns into the same text again."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _forget_log(copy: Path) -> None:
    copy.with_name(copy.name + "-wal").unlink(missing_ok=True)
    copy.with_name(copy.name + "-shm").unlink(missing_ok=True)


def _put_head(copy: Path) -> None:
    """Replace a damaged first page by that of a new ledger, which mostly has the same tables."""
    _forget_log(copy)
    fresh = copy.with_name("fresh.db")
    with closing(open_store(fresh, Durability.PROCESS)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    page = bytearray(fresh.read_bytes()[:_PAGE_BYTES])
    pages = max(1, copy.stat().st_size // _PAGE_BYTES)
    page[_PAGES_AT : _PAGES_AT + 4] = pages.to_bytes(4)
    page[_FREE_AT : _FREE_AT + 8] = bytes(8)
    with copy.open("r+b") as file:
        file.write(page)


def _bring(old: sqlite3.Connection, new: sqlite3.Connection, table: str, number: str) -> Salvaged:
    """Copy one table."""
    found = Salvaged()
    try:
        there = read_structure(old).tables.get(table)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return Salvaged(trouble=str(error))
    if there is None:
        # Older ledgers do not have all columns.
        return Salvaged() if table in LATER else Salvaged(trouble="the table is missing")
    columns = [column for column in read_structure(new).tables[table] if column in there]
    if not columns or (number != "rowid" and number not in columns):
        return Salvaged(trouble="it has other columns")
    if table == "standing":
        new.execute("DELETE FROM standing")
    marks = ", ".join("CAST(? AS TEXT)" if kind == "TEXT" else "?" for kind in _kinds(new, table, columns))
    put = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 (ours)
    select = f"SELECT {number}, {', '.join(columns)} FROM {table} NOT INDEXED"  # noqa: S608 (ours)
    for rows in _readable(old, select, number, found):
        found.rows += _put(new, put, rows, found)
    if table == "standing":
        new.execute("INSERT OR IGNORE INTO standing (id) VALUES (1)")
    return found


def _kinds(new: sqlite3.Connection, table: str, columns: Sequence[str]) -> list[str]:
    kinds = {row[1]: row[2] for row in new.execute(f"PRAGMA table_info({table})")}
    return [kinds[column] for column in columns]


def _put(new: sqlite3.Connection, statement: str, rows: list[Any], found: Salvaged) -> int:
    """Insert rows into the new ledger one by one, so that one bad row does not stop the others."""
    count = 0
    new.execute("BEGIN IMMEDIATE")
    for row in rows:
        try:
            count += new.execute(statement, row).rowcount
        except (sqlite3.IntegrityError, sqlite3.DataError):
            found.refused += 1
    new.execute("COMMIT")
    return count


def _readable(
    old: sqlite3.Connection, select: str, number: str, found: Salvaged
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield all rows that can be read, some at once; note the stretches that cannot."""
    stretches = [(_LEAST - _MOST, _LEAST, _MOST)]
    looks = 0
    while stretches:
        _, low, high = heapq.heappop(stretches)
        looks += 1
        query = f"{select} WHERE {number} BETWEEN ? AND ? ORDER BY {number}"
        reached, is_done = yield from _read(old, query, low, high)
        if is_done:
            continue
        if reached is not None:  # there may be more of this number, but not of the first
            low = max(reached, low + 1)
        reached, is_done = yield from _read(old, f"{query} DESC", low, high)
        if is_done:
            continue
        if reached is not None:
            high = min(reached, high - 1)
        if low >= high or looks >= _MOST_LOOKS:
            if low <= high:
                found.unread.append((low, high))
            continue
        middle = (low + high) // 2
        heapq.heappush(stretches, (low - middle, low, middle))
        heapq.heappush(stretches, (middle + 1 - high, middle + 1, high))
    found.unread = _joined(found.unread)


def _read(old: sqlite3.Connection, query: str, low: int, high: int) -> Any:
    """Yield rows until one cannot be read; return the number of the last one read, and whether all were."""
    last: int | None = None
    rows: list[tuple[Any, ...]] = []
    is_done = False
    try:
        for at, *row in old.execute(query, (low, high)):
            if isinstance(at, int):
                last = at
            rows.append(tuple(row))
            if len(rows) >= _ROWS_AT_ONCE:
                yield rows
                rows = []
        is_done = True
    except (sqlite3.Error, MemoryError, OverflowError):
        pass
    if rows:
        yield rows
    return last, is_done


def _joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return stretches, with adjacent ones merged."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(stretches):
        if joined and joined[-1][1] + 1 >= low:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return joined
