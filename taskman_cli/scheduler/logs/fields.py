"""What a line says besides its message: names and values for programs, which stay what they are."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable

if TYPE_CHECKING:
    import logging

#: The names, in the order in which they are written. docs/logs.md describes each.
FIELDS = (
    "event", "job", "task", "run", "attempt", "sink", "state", "reason", "detail", "trigger", "slot",
    "slot_to", "count", "exit_code", "signal", "duration_s", "cpu_s", "peak_rss_bytes", "retry_in_s",
    "output", "output_error", "pid", "by", "error",
)  # fmt: skip


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a record, as `extra` of `logging` has put them there."""
    values = record.__dict__
    return {name: values[name] for name in FIELDS if name in values}


def make_safe(record: logging.LogRecord) -> None:
    """Escape what handlers of others would pass on as it is: control characters and odd bytes."""
    message = record.getMessage()
    if not message.isprintable():
        record.msg, record.args = printable(message), None
    for name, value in fields_of(record).items():
        if isinstance(value, str) and not value.isprintable():
            setattr(record, name, printable(value))
    if record.exc_info and not record.exc_text:
        text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        record.exc_text = printable(text, kept="\n\t")
