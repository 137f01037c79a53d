"""Convert times in replies of the scheduler from nanoseconds to ISO 8601 and to words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.cli.render import column_time
from taskman_cli.core.clock import wall_time
from taskman_cli.ui.amounts import countdown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, tzinfo

#: Not imported: the import would take longer than a small command.
_SECOND_NS = 1_000_000_000
#: The note on records from a time when the clock was ahead, in the words of `why`.
AHEAD = "the clock was ahead"
#: Names of instants in JSON that differ from the name without `_ns`.
_NAMES = {"started_ns": "started_at", "ended_ns": "ended_at", "queued_ns": "queued_at"}
#: Durations, which are in seconds in JSON.
_DURATIONS = {"timeout_ns": "timeout_s", "stopped_ns": "stopped_s"}


def document(reply: Any) -> Any:
    """Return a reply with all times in ISO 8601, and without the fields of the protocol."""
    if isinstance(reply, list):
        return [document(item) for item in reply]
    if not isinstance(reply, dict):
        return reply
    return dict(_item(key, value) for key, value in reply.items() if key != "ok")


class Documents:
    """Does the same with many objects: a hundred thousand jobs have a few hundred different times."""

    def __init__(self) -> None:
        self._moments: dict[int, str | None] = {}

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return an object as `document` does."""
        found: dict[str, Any] = {}
        for key, value in item.items():
            if isinstance(value, int) and key.endswith("_ns") and key not in _DURATIONS:
                if value not in self._moments:
                    self._moments[value] = moment(value)
                found[_NAMES.get(key, key.removesuffix("_ns"))] = self._moments[value]
            elif isinstance(value, str) or (not value and not key.endswith("_ns")):
                found[key] = value
            elif key != "ok":
                name, shown = _item(key, value)
                found[name] = shown
        return found


def _item(key: str, value: Any) -> tuple[str, Any]:
    if key in _DURATIONS:
        return _DURATIONS[key], None if value is None else value / _SECOND_NS
    if not key.endswith("_ns"):
        return key, document(value)
    name = _NAMES.get(key, key.removesuffix("_ns"))
    return name, [moment(one) for one in value] if isinstance(value, list) else moment(value)


def moment(at_ns: int | None) -> str | None:
    """Format an instant in ISO 8601, in the machine's zone."""
    return None if at_ns is None else wall_time(at_ns, None).isoformat()


def in_seconds(at_ns: int, zone: tzinfo | None) -> datetime:
    """Return an instant as a time in a zone, in whole seconds; None is the machine's zone."""
    return wall_time(at_ns // _SECOND_NS * _SECOND_NS, zone)


def stops(job: dict[str, Any]) -> Iterator[str]:
    """Yield which runs of a job `pause --stop` has stopped, and which it could not stop."""
    is_one = len(job["running"]) == 1
    # An older scheduler does not send them.
    if stopped := job.get("stopped"):
        yield "stopped" if is_one else f"stopped: {' '.join(stopped)}"
    if unstopped := job.get("unstopped"):
        yield "cannot be stopped: goes on" if is_one else f"cannot be stopped: {' '.join(unstopped)}"


def parked(park: dict[str, Any], *, now_ns: int, zone: tzinfo | None) -> str:
    """Return how it goes on with a parked job; "": only when somebody resumes or tries it."""
    until_ns = park["until_ns"]
    if park.get("trial"):
        return f"run {park['trial']} tries it"
    if until_ns is not None and until_ns <= now_ns:
        return "its next slot is tried"
    return until(until_ns, now_ns=now_ns, zone=zone)


def until(at_ns: int | None, *, now_ns: int, zone: tzinfo | None) -> str:
    """Return "until TIME (in DURATION)"; "" if there is no end."""
    if at_ns is None:
        return ""
    return f"until {column_time(at_ns, now_ns=now_ns, zone=zone)} ({countdown(at_ns - now_ns)})"
