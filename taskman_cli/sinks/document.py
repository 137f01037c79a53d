"""The JSON of a message, version 1: docs/results.md describes it, docs/message.schema.json says it exactly.

Keys are only ever added to a version. Bytes that are no UTF-8 are written as `\\xe9`, since JSON has none.
"""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.escapes import as_utf8
from taskman_cli.sinks.words import title_of, title_of_report

if TYPE_CHECKING:
    from taskman_cli.sinks.base import Message, Report

#: It changes where a reader of the one before would misunderstand it.
VERSION = 1
#: Texts are cut here: nobody's name or reason is longer, and some receivers take no more than a megabyte.
_LONGEST = 64 << 10


def message_document(message: Message) -> dict[str, Any]:
    """Return what a message says, as JSON has it."""
    return {
        "version": VERSION,
        "key": _text(message.key),
        "test": message.is_test,
        "title": _text(title_of(message)),
        "reports": [report_document(report) for report in message.reports],
    }


def line_documents(message: Message) -> list[dict[str, Any]]:
    """Return each report as a document of its own, for files of JSON lines."""
    return [
        {"version": VERSION, "key": _text(message.key), "test": message.is_test, **report_document(report)}
        for report in message.reports
    ]


def report_document(report: Report) -> dict[str, Any]:
    """Return what one report says; null is what it does not know."""
    return {
        "seq": report.seq,
        "event": str(report.kind),
        "at": _instant(report.at_ns),
        "title": _text(title_of_report(report)),
        "host": _text(report.host),
        "instance": _text(report.instance),
        "job": _text_or_none(report.job),
        "task": _text_or_none(report.task),
        "run": _text_or_none(report.run),
        "attempt": report.attempt or None,
        "slot": _instant(report.slot_ns),
        "state": _text_or_none(report.state),
        "reason": _text_or_none(report.reason),
        "detail": _text_or_none(report.detail),
        "exit_code": report.exit_code,
        "signal": _text_or_none(report.signal),
        "started": _instant(report.started_ns),
        "ended": _instant(report.ended_ns),
        "duration_s": None if report.duration_ns is None else report.duration_ns / SECOND_NS,
        "cpu_s": report.cpu_s,
        "peak_rss_bytes": report.peak_rss_bytes,
        "output": [_text(line) for line in report.output],
        "output_cut": report.is_output_cut,
        "command": _text_or_none(report.command),
        "count": report.count,
    }


def as_json(document: dict[str, Any]) -> bytes:
    """Write a document on one line, in ASCII."""
    return json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def _instant(at_ns: int | None) -> str | None:
    return None if at_ns is None else wall_time(at_ns, UTC).isoformat(timespec="milliseconds")


def _text(text: str) -> str:
    shown = as_utf8(text)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def _text_or_none(text: str) -> str | None:
    return _text(text) if text else None
