"""The journal: what happened, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_PAGE = 1000
_COLUMNS = "seq, at_ns, kind, job, run, task, attempt, slot_ns, state, detail, data"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal."""

    seq: int
    at_ns: int
    kind: str
    job: str | None
    run: int | None
    task: str | None
    attempt: int | None
    slot_ns: int | None
    state: str | None
    detail: str | None
    #: A JSON object.
    data: str | None


def latest(
    ledger: sqlite3.Connection, count: int, *, job: str | None = None, since_ns: int | None = None
) -> list[Event]:
    """Return the last lines, of all jobs or one, oldest first; `since_ns`: none of before that instant."""
    condition, values = _condition(job, since_ns)
    rows = ledger.execute(
        f"SELECT {_COLUMNS} FROM events WHERE {condition} ORDER BY seq DESC LIMIT ?",  # noqa: S608
        (*values, count),
    ).fetchall()
    return [Event(*row) for row in reversed(rows)]


def after(
    ledger: sqlite3.Connection,
    seq: int,
    *,
    job: str | None = None,
    since_ns: int | None = None,
    count: int | None = None,
) -> Iterator[Event]:
    """Yield the lines after number `seq`, oldest first: all, or the first `count`."""
    condition, values = _condition(job, since_ns)
    left = count
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = ledger.execute(
            f"SELECT {_COLUMNS} FROM events WHERE {condition} AND seq > ? ORDER BY seq LIMIT ?",  # noqa: S608
            (*values, seq, size),
        ).fetchall()
        yield from (Event(*row) for row in page)
        if len(page) < size:
            return
        seq = page[-1][0]
        left = None if left is None else left - len(page)


def bounds(ledger: sqlite3.Connection) -> tuple[int, int]:
    """Return the numbers of the first and the last line that are kept; (1, 0) if there are none."""
    # Two queries: asked for both at once, SQLite would read all of it.
    (first,) = ledger.execute("SELECT min(seq) FROM events").fetchone()
    (last,) = ledger.execute("SELECT max(seq) FROM events").fetchone()
    return first or 1, last or 0


def _condition(job: str | None, since_ns: int | None) -> tuple[str, tuple[str | int, ...]]:
    """Return the condition for the lines of one job and since an instant, and its values.

    The journal has no index of times: they go back when the clock does.
    """
    parts = {"job = ?": job, "at_ns >= ?": since_ns}
    given = {part: value for part, value in parts.items() if value is not None}
    return " AND ".join(given) or "1", tuple(given.values())
