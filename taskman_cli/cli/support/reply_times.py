"""Times in the scheduler's replies: nanoseconds there, ISO 8601 and words here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.cli.render import column_time
from taskman_cli.core.clock import wall_time
from taskman_cli.ui.amounts import countdown

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

#: Not that of the model, which takes longer to load than all that a small command does.
_SECOND_NS = 1_000_000_000
#: Of what was recorded in a future that was none, as `why` says it.
AHEAD = "the clock was ahead"
#: Names that instants have in JSON, where it is not the name before `_ns`.
_NAMES = {"started_ns": "started_at", "ended_ns": "ended_at", "queued_ns": "queued_at"}
#: No instants: how long, in seconds.
_DURATIONS = {"timeout_ns": "timeout_s", "stopped_ns": "stopped_s"}


def document(reply: Any) -> Any:
    """Return what a reply says with all times in ISO 8601, and without what is the protocol's own."""
    if isinstance(reply, list):
        return [document(item) for item in reply]
    if not isinstance(reply, dict):
        return reply
    return dict(_item(key, value) for key, value in reply.items() if key != "ok")


def _item(key: str, value: Any) -> tuple[str, Any]:
    if key in _DURATIONS:
        return _DURATIONS[key], None if value is None else value / _SECOND_NS
    if not key.endswith("_ns"):
        return key, document(value)
    name = _NAMES.get(key, key.removesuffix("_ns"))
    return name, [moment(one) for one in value] if isinstance(value, list) else moment(value)


def moment(at_ns: int | None) -> str | None:
    """Write an instant in ISO 8601, as the machine's clock shows it."""
    return None if at_ns is None else wall_time(at_ns, None).isoformat()


def in_seconds(at_ns: int, zone: tzinfo | None) -> datetime:
    """Return the time that a clock in a zone shows at an instant, for people: in whole seconds.

    None is the machine's zone.
    """
    return wall_time(at_ns // _SECOND_NS * _SECOND_NS, zone)


def until(at_ns: int | None, *, now_ns: int, zone: tzinfo | None) -> str:
    """Say until when, and how long that is; "" where there is no end."""
    if at_ns is None:
        return ""
    return f"until {column_time(at_ns, now_ns=now_ns, zone=zone)} ({countdown(at_ns - now_ns)})"
