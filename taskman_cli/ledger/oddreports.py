"""Rows about sinks that cannot be read: set aside one by one, so that nothing that waits is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.ledger import values
from taskman_cli.ledger.texts import matching

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    Row = dict[str, Any]
    Rows = Callable[[str], Iterable[Row]]
    #: Keeps a row in `set_aside`: from its table, the row, what is wrong with it, and the words for people.
    Keep = Callable[[str, Row, str, str], None]


def set_aside_odd_reports(connection: sqlite3.Connection, rows: Rows, keep: Keep) -> None:
    """Set aside what cannot be read of sinks. Reports themselves are looked at when they are delivered."""
    # A report has the number of its line, whose table may have been damaged.
    (last,) = connection.execute(
        "SELECT max((SELECT coalesce(max(seq), 0) FROM events), (SELECT coalesce(max(seq), 0) FROM reports))"
    ).fetchone()
    for row in rows("SELECT * FROM sinks"):
        if why := _problem_of_sink(row, last):
            keep("sinks", row, why, f"how far a sink has got ({why}): it may be told again what it knows")
            connection.execute("DELETE FROM sinks WHERE id IS ?", (row["id"],))
            if values.is_name(row["name"]):
                seq = row["delivered_seq"]
                cursor = seq if values.is_int(seq, 0, last) else 0
                connection.execute("INSERT INTO sinks (name, cursor) VALUES (?, ?)", (row["name"], cursor))
    for table, problem_of, what in (
        ("refused", _problem_of_refused, "a report that a sink would not take"),
        ("troubles", _problem_of_trouble, "when a sink was told of trouble"),
    ):
        for row in rows(f"SELECT * FROM {table}"):  # noqa: S608 (ours)
            if why := problem_of(row):
                keep(table, row, why, f"{what} ({why}): it is forgotten")
                where, bound = matching(row)
                connection.execute(f"DELETE FROM {table} WHERE {where}", bound)  # noqa: S608
    connection.execute(
        "UPDATE standing SET identity = lower(hex(randomblob(6))) WHERE typeof(identity) != 'text'"
    )


def _problem_of_sink(row: Row, last: int) -> str:
    """Return what is wrong with a row; beyond the last line a sink would miss what comes next."""
    return _first_bad(
        row,
        {
            "name": values.is_name,
            "cursor": lambda value: values.is_int(value, 0, last),
            "delivered": _is_line,
            "delivered_seq": lambda value: value is None or _is_line(value),
            "delivered_ns": values.is_instant_or_none,
            "failing_ns": values.is_instant_or_none,
            "answer": _is_text_or_none,
            "error": _is_text_or_none,
            "cut_seq": lambda value: value is None or values.is_int(value, 0, last),
        },
    )


def _problem_of_refused(row: Row) -> str:
    return _first_bad(
        row, {"sink": values.is_name, "seq": _is_line, "at_ns": values.is_instant, "why": _is_text}
    )


def _problem_of_trouble(row: Row) -> str:
    return _first_bad(
        row,
        {
            "job": values.is_name,
            "sink": values.is_name,
            "trouble": _is_text,
            "told_ns": values.is_instant,
            "untold": _is_line,
            "run": _is_text,
        },
    )


def _first_bad(row: Row, checks: dict[str, Callable[[object], bool]]) -> str:
    for name, is_good in checks.items():
        if not is_good(row[name]):
            return f"{name} is {values.shown(row[name])}"
    return ""


def _is_line(value: object) -> bool:
    return values.is_int(value, 0, values.MOST_ROW)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)
