"""What a line says besides its message: names and values for programs, which stay what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

#: The names, in the order in which they are written. docs/logs.md describes each.
FIELDS = (
    "event", "job", "task", "run", "attempt", "state", "reason", "detail", "trigger", "slot", "slot_to",
    "count", "exit_code", "signal", "duration_s", "cpu_s", "peak_rss_bytes", "retry_in_s",
    "output", "output_error", "pid", "by", "error",
)  # fmt: skip


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a record, as `extra` of `logging` has put them there."""
    values = record.__dict__
    return {name: values[name] for name in FIELDS if name in values}
