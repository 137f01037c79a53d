"""Reports, sinks and what else belongs to them, as rows: what is written, in the transaction of its event."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import effects
from taskman_cli.core.sinks import ReportKind
from taskman_cli.ledger.texts import stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.ledger.turn import Statement, Turn

_encode = json.JSONEncoder(separators=(",", ":")).encode
_WITH_OUTPUT = frozenset(
    {
        ReportKind.SUCCEEDED, ReportKind.FAILED, ReportKind.TIMED_OUT, ReportKind.LOST, ReportKind.CANCELLED,
        ReportKind.RETRIED, ReportKind.RECOVERED,
    }
)  # fmt: skip


def report_statements(mark: effects.Record | effects.Mark, turn: Turn) -> list[Statement]:
    """Return the statements that keep a report, or a mark about sinks."""
    return _STATEMENTS[type(mark)](mark, turn)


def _reported(record: effects.Reported, turn: Turn) -> list[Statement]:
    values = {name: value for name in _PLAIN if (value := getattr(record, name)) not in ("", None, 0)}
    if (end := record.exit) is not None:
        values |= {"cpu_s": end.cpu_s, "peak_rss_bytes": end.peak_rss_bytes}
        if end.exit_code is not None:
            values["exit_code"] = end.exit_code
        if end.signal is not None:
            values["signal"] = _signal_name(end.signal)
    if record.output_lines and record.attempt and record.kind in _WITH_OUTPUT:
        lines, is_cut = turn.read_output(
            record.job, record.run, record.task, record.attempt, record.output_lines
        )
        if lines:
            values |= {"output": lines, "is_output_cut": is_cut}
    return [
        (
            _INSERT,
            (
                turn.last_seq,
                turn.at_ns,
                str(record.kind),
                record.job or None,
                _encode(dict(record.to)),
                _encode(values),
            ),
        )
    ]


#: The values of a record that are kept as they are.
_PLAIN = (
    "task", "run", "attempt", "slot_ns", "state", "reason", "detail", "started_ns", "ended_ns", "duration_ns"
)  # fmt: skip
#: A report whose own line could not be written must not take the place of another.
_INSERT = (
    "INSERT INTO reports (seq, at_ns, kind, job, sinks, report) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _job_expected(mark: effects.JobExpected, _: Turn) -> list[Statement]:
    text = None if mark.since_ns is None else _encode([mark.since_ns, mark.told_ns])
    return [("UPDATE job_state SET expected = ? WHERE name = ?", (text, mark.job))]


def _series_noted(mark: effects.SeriesNoted, _: Turn) -> list[Statement]:
    values = (mark.job, mark.sink, mark.trouble, mark.told_ns, mark.untold, mark.run)
    return [("INSERT OR REPLACE INTO troubles VALUES (?, ?, ?, ?, ?, ?)", values)]


def _series_over(mark: effects.SeriesOver, _: Turn) -> list[Statement]:
    return [
        (
            "DELETE FROM troubles WHERE job = ? AND sink = ? AND trouble = ?",
            (mark.job, mark.sink, mark.trouble),
        )
    ]


def _sinks_taken(mark: effects.SinksTaken, turn: Turn) -> list[Statement]:
    names = _encode(mark.names)
    return [
        *(
            (f"DELETE FROM {table} WHERE {column} NOT IN (SELECT value FROM json_each(?))", (names,))  # noqa: S608
            for table, column in (("sinks", "name"), ("refused", "sink"), ("troubles", "sink"))
        ),
        *(
            ("INSERT INTO sinks (name, cursor) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, turn.last_seq))
            for name in mark.names
        ),
    ]


def _delivered(mark: effects.SinkDelivered, _: Turn) -> list[Statement]:
    return [
        (
            "UPDATE sinks SET cursor = max(cursor, ?1), cut_seq = NULL, delivered = delivered + ?2,"
            " delivered_seq = ?1, delivered_ns = ?3, answer = CAST(?4 AS TEXT), failing_ns = NULL,"
            " error = NULL WHERE name = ?5",
            (mark.seq, mark.count, mark.at_ns, stored(mark.answer), mark.sink),
        )
    ]


def _failed(mark: effects.SinkFailed, _: Turn) -> list[Statement]:
    return [
        (
            "UPDATE sinks SET failing_ns = coalesce(failing_ns, ?), error = CAST(? AS TEXT) WHERE name = ?",
            (mark.at_ns, stored(mark.why), mark.sink),
        )
    ]


def _report_set_aside(mark: effects.ReportSetAside, _: Turn) -> list[Statement]:
    why = stored(mark.why)
    return [
        (
            "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, CAST(? AS TEXT))",
            (mark.sink, seq, mark.at_ns, why),
        )
        for seq in mark.seqs
    ] + [
        (
            "UPDATE sinks SET cursor = max(cursor, ?), cut_seq = NULL WHERE name = ?",
            (max(mark.seqs), mark.sink),
        )
    ]


def _moved(mark: effects.SinkMoved, _: Turn) -> list[Statement]:
    return [
        ("UPDATE sinks SET cursor = ?, cut_seq = NULL WHERE name = ?", (mark.seq, mark.sink)),
        ("DELETE FROM refused WHERE sink = ? AND seq > ?", (mark.sink, mark.seq)),
    ]


def _cut(mark: effects.DigestCut, _: Turn) -> list[Statement]:
    return [("UPDATE sinks SET cut_seq = ? WHERE name = ?", (mark.seq, mark.sink))]


def _skipped(mark: effects.ReportSkipped, _: Turn) -> list[Statement]:
    return [
        ("DELETE FROM refused WHERE sink = ? AND seq = ?", (mark.sink, mark.seq)),
        (
            "UPDATE reports SET sinks = json_remove(sinks, '$.\"' || ? || '\"')"
            " WHERE seq = ? AND json_valid(sinks)",
            (mark.sink, mark.seq),
        ),
    ]


_STATEMENTS: dict[type, Callable[[Any, Turn], list[Statement]]] = {
    effects.Reported: _reported,
    effects.JobExpected: _job_expected,
    effects.SeriesNoted: _series_noted,
    effects.SeriesOver: _series_over,
    effects.SinksTaken: _sinks_taken,
    effects.SinkDelivered: _delivered,
    effects.SinkFailed: _failed,
    effects.ReportSetAside: _report_set_aside,
    effects.SinkMoved: _moved,
    effects.DigestCut: _cut,
    effects.ReportSkipped: _skipped,
}
