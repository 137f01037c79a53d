"""What sinks are still to be told, read by the scheduler's loop a few rows at a time."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, NamedTuple

from taskman_cli.core.engine.marks import SeriesNoted
from taskman_cli.core.sinks import ReportKind

#: Raised if the ledger cannot be read now.
QueueError = sqlite3.Error
#: A report that lies behind this many lines for others is looked for in several steps.
_MOST_SCANNED = 5_000
#: Reports that were set aside, of each sink, that are told of one by one.
_MOST_TOLD = 100
#: A scheduler that is told to stop says so among its last lines.
_LAST_LINES = 1_000
#: What a report may be of, and its values by the kind they have.
_KINDS = frozenset(map(str, ReportKind))
_TEXTS = frozenset({"task", "run", "state", "reason", "detail", "signal"})
_NUMBERS = frozenset(
    {"attempt", "slot_ns", "started_ns", "ended_ns", "duration_ns", "exit_code", "peak_rss_bytes"}
)
#: Rows removed in one step.
STEP_ROWS = 100


class SinkRow(NamedTuple):
    """How far a sink has got."""

    name: str
    cursor: int
    delivered: int
    delivered_seq: int | None
    delivered_ns: int | None
    answer: str | None
    failing_ns: int | None
    error: str | None
    #: The line of the last report of the message that is on its way, where that gathers several.
    cut_seq: int | None = None


class ReportRow(NamedTuple):
    """A report as it is kept: what it says, and for which sinks."""

    seq: int
    at_ns: int
    kind: str
    job: str
    #: How many like it, for each sink.
    counts: dict[str, int]
    values: dict[str, Any]


class RefusedRow(NamedTuple):
    """A report that a sink would not take."""

    seq: int
    at_ns: int
    why: str
    kind: str
    job: str


class ReportQueue:
    """The reports of a ledger. Raises QueueError; rows that cannot be read are left out."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def identity(self) -> str:
        """Return what tells this ledger from all others."""
        row = self._connection.execute("SELECT identity FROM standing").fetchone()
        return str(row[0]) if row and row[0] else ""

    def sinks(self) -> dict[str, SinkRow]:
        """Return how far each sink has got."""
        rows = self._connection.execute(
            "SELECT name, cursor, delivered, delivered_seq, delivered_ns, answer, failing_ns, error,"
            " cut_seq FROM sinks"
        )
        return {row[0]: SinkRow(*row) for row in rows}

    def last_seq(self) -> int:
        """Return the last line that there is a report of."""
        found = self._connection.execute("SELECT coalesce(max(seq), 0) FROM reports").fetchone()[0]
        return int(found)

    def next_of(self, sink: str, after: int, count: int) -> tuple[list[int], int]:
        """Return the first reports for a sink after a line, and up to which line that is all of them."""
        rows = self._connection.execute(
            "SELECT seq, instr(sinks, ?) FROM (SELECT seq, sinks FROM reports WHERE seq > ? ORDER BY seq"
            " LIMIT ?)",
            (_named(sink), after, _MOST_SCANNED),
        )
        found: list[int] = []
        upto = after
        for seq, is_for_it in rows:
            upto = seq
            if is_for_it:
                found.append(seq)
                if len(found) >= count:
                    break
        return found, upto

    def count(self, sink: str, after: int) -> int:
        """Return how many reports wait for a sink."""
        row = self._connection.execute(
            "SELECT count(*) FROM reports WHERE seq > ? AND instr(sinks, ?)", (after, _named(sink))
        ).fetchone()
        return int(row[0])

    def oldest_ns(self, sink: str, after: int) -> int | None:
        """Return when the first of them was made."""
        row = self._connection.execute(
            "SELECT at_ns FROM reports WHERE seq > ? AND instr(sinks, ?) ORDER BY seq LIMIT 1",
            (after, _named(sink)),
        ).fetchone()
        return None if row is None else int(row[0])

    def read(self, seq: int) -> ReportRow | None:
        """Return a report; None: it is gone, or cannot be read."""
        row = self._connection.execute(
            "SELECT seq, at_ns, kind, job, sinks, report FROM reports WHERE seq = ?", (seq,)
        ).fetchone()
        return None if row is None else _read(*row)

    def first_since(self, at_ns: int) -> int:
        """Return the line before the first report that was made at a time or later."""
        row = self._connection.execute(
            "SELECT coalesce(max(seq), 0) FROM reports WHERE at_ns < ?", (at_ns,)
        ).fetchone()
        return int(row[0])

    def refused(self, sink: str, most: int) -> list[RefusedRow]:
        """Return the reports that a sink would not take, the first of them."""
        rows = self._connection.execute(
            "SELECT refused.seq, refused.at_ns, why, coalesce(kind, ''), coalesce(job, '') FROM refused"
            " LEFT JOIN reports ON reports.seq = refused.seq WHERE sink = ? ORDER BY refused.seq LIMIT ?",
            (sink, most),
        )
        return [RefusedRow(*row) for row in rows]

    def refused_count(self, sink: str) -> int:
        """Return how many reports a sink would not take."""
        row = self._connection.execute("SELECT count(*) FROM refused WHERE sink = ?", (sink,)).fetchone()
        return int(row[0])

    def is_refused(self, sink: str, seq: int) -> bool:
        """Tell whether a report was set aside for a sink."""
        row = self._connection.execute(
            "SELECT 1 FROM refused WHERE sink = ? AND seq = ?", (sink, seq)
        ).fetchone()
        return row is not None

    def line_at(self, sink: str, after: int, count: int) -> int | None:
        """Return the line of the report number `count` after a line."""
        row = self._connection.execute(
            "SELECT seq FROM reports WHERE seq > ? AND instr(sinks, ?) ORDER BY seq LIMIT 1 OFFSET ?",
            (after, _named(sink), count - 1),
        ).fetchone()
        return None if row is None else int(row[0])


def sinks_on_record(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return how the sinks of a ledger stand, as the scheduler would say it; their types are not in it."""
    queue = ReportQueue(connection)
    return [
        {
            "sink": row.name,
            "type": None,
            "waiting": queue.count(row.name, row.cursor),
            "oldest_ns": queue.oldest_ns(row.name, row.cursor),
            "cursor": row.cursor,
            "delivered": row.delivered,
            "last_ns": row.delivered_ns,
            "answer": row.answer or "",
            "failing_ns": row.failing_ns,
            "error": row.error or "",
            "set_aside": queue.refused_count(row.name),
            "refused": [refused._asdict() for refused in queue.refused(row.name, _MOST_TOLD)],
        }
        for row in queue.sinks().values()
    ]


def trim_reports(connection: sqlite3.Connection, after: int) -> int | None:
    """Remove some reports after a line that nobody is told of any more; return where to go on, if there is.

    Those of lines that the journal still has are kept, to be told again (`taskman sinks replay`).
    """
    rows = connection.execute(
        "SELECT seq, sinks FROM reports WHERE seq > ? AND seq < (SELECT coalesce(min(seq), 0) FROM events)"
        " ORDER BY seq LIMIT ?",
        (after, STEP_ROWS),
    ).fetchall()
    if not rows:
        return None
    cursors = dict(connection.execute("SELECT name, cursor FROM sinks"))
    last = rows[-1][0]
    refused = {
        seq
        for (seq,) in connection.execute("SELECT seq FROM refused WHERE seq > ? AND seq <= ?", (after, last))
    }
    gone = [
        (seq,)
        for seq, sinks in rows
        if seq not in refused
        and not any(cursor < seq and _named(name) in str(sinks) for name, cursor in cursors.items())
    ]
    if gone:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM reports WHERE seq = ?", gone)
        connection.execute("COMMIT")
    return int(last) if len(rows) == STEP_ROWS else None


def read_series(connection: sqlite3.Connection) -> tuple[SeriesNoted, ...]:
    """Return the trouble that sinks were told of and that goes on."""
    rows = connection.execute("SELECT job, sink, trouble, told_ns, untold, run FROM troubles")
    return tuple(SeriesNoted(*row) for row in rows)


def read_last_end(connection: sqlite3.Connection) -> tuple[bool, bool]:
    """Return whether the last scheduler was told to stop, or there was none; and whether there are sinks."""
    (has_sinks,) = connection.execute("SELECT EXISTS (SELECT 1 FROM sinks)").fetchone()
    row = connection.execute(
        "SELECT kind FROM (SELECT seq, kind FROM events ORDER BY seq DESC LIMIT ?)"
        " WHERE kind IN ('scheduler_started', 'scheduler_stopped') ORDER BY seq DESC LIMIT 1",
        (_LAST_LINES,),
    ).fetchone()
    if row is None:  # or it began long before, and nothing says that it was stopped
        (is_new,) = connection.execute("SELECT NOT EXISTS (SELECT 1 FROM events)").fetchone()
        return bool(is_new), bool(has_sinks)
    return row[0] == "scheduler_stopped", bool(has_sinks)


def _named(sink: str) -> str:
    return f'"{sink}":'


def _read(seq: int, at_ns: int, kind: str, job: str | None, sinks: str, report: str) -> ReportRow | None:
    try:
        counts, values = json.loads(sinks), json.loads(report)
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(counts, dict) or not isinstance(values, dict) or kind not in _KINDS:
        return None
    if not all(_is_as_written(name, value) for name, value in values.items()):
        return None
    return ReportRow(seq, at_ns, kind, job or "", counts, values)


def _is_as_written(name: str, value: object) -> bool:
    """Tell whether a value of a report is of the kind that its name has; an unknown name may have any."""
    if name in _TEXTS:
        return isinstance(value, str)
    if name in _NUMBERS:
        return value is None or type(value) is int
    if name == "cpu_s":
        return value is None or type(value) in (int, float)
    if name == "output":
        return isinstance(value, list) and all(isinstance(line, str) for line in value)
    return True
