"""What the clock changes of the coming year do to a schedule, by Debian cron's rule (see `schedule.cron`)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.schedule.changes import changes_between
from taskman_cli.core.schedule.cron import MAX_CHANGE_S
from taskman_cli.core.schedule.occurrences import Occurrences
from taskman_cli.insight.explain.listing import day_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from taskman_cli.core.schedule import CronSchedule
    from taskman_cli.core.schedule.changes import Change
    from taskman_cli.core.schedule.expression import Expression

_YEAR_NS = 366 * 86_400 * SECOND_NS
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (wall time)
_SECOND = timedelta(seconds=1)


def changes_of_year(timezone: str, *, now_ns: int) -> list[Change]:
    """Return the clock changes of the coming year."""
    return changes_between(now_ns, now_ns + _YEAR_NS, timezone)


def hours_of(changes: Iterable[Change]) -> frozenset[int]:
    """Return the hours that these changes may affect; most schedules have slots at other hours only."""
    hours: set[int] = set()
    for change in changes:
        opening, closing = sorted((change.before, change.after))
        hours.update(range(opening.hour, closing.hour + 1) if opening.date() == closing.date() else range(24))
    return frozenset(hours)


def clock_notes(schedule: CronSchedule, expression: Expression, changes: Iterable[Change]) -> Iterator[str]:
    """Yield a sentence for each clock change that affects a slot."""
    for change in changes:
        touched = _touched(expression, change)
        if touched is not None:
            yield _change_words(change, *touched, is_fixed=schedule.is_fixed)


def offset_note(timezone: str, *, now_ns: int) -> str:
    """Describe the next clock change within a year, for an interval that divides the day; else ""."""
    for change in changes_of_year(timezone, now_ns=now_ns):
        return f"on {_lead(change)}, and it ignores that."
    return ""


def _touched(expression: Expression, change: Change) -> tuple[datetime, datetime] | None:
    """Return the first and last matching wall time that a change skips or repeats."""
    opening, closing = sorted((change.before, change.after))
    first, end = (opening - _EPOCH) // _SECOND, (closing - _EPOCH) // _SECOND
    walls = Occurrences(expression)
    begin, last = walls.next_at(first), walls.previous_at(end - 1)
    if begin is None or last is None or begin >= end:
        return None
    return _EPOCH + begin * _SECOND, _EPOCH + last * _SECOND


def _change_words(change: Change, first: datetime, last: datetime, *, is_fixed: bool) -> str:
    lead = f"On {_lead(change)}: "
    is_one = first == last
    slots = _time(first) if is_one else f"slots from {_time(first)} to {_moment(last, first)}"
    come = "comes" if is_one else "come"
    do = "does" if is_one else "do"
    is_large = abs(change.shift_ns) > MAX_CHANGE_S * SECOND_NS
    if change.is_gap:
        if is_fixed and not is_large:
            return f"{lead}{slots} {do} not exist; the job runs once at {_time(change.after)} instead."
        return f"{lead}{slots} {do} not exist; the job does not run then."
    if is_fixed and not is_large:
        return f"{lead}{slots} {come} twice; the job runs the first time only."
    return f"{lead}{slots} {come} twice; the job runs both times."


def _lead(change: Change) -> str:
    before, after = change.before, change.after
    return f"{day_name(before)} the clocks go from {_time(before)} to {_moment(after, before)}"


def _time(wall: datetime) -> str:
    return f"{wall:%H:%M:%S}" if wall.second else f"{wall:%H:%M}"


def _moment(wall: datetime, said: datetime) -> str:
    """Write a time, with its date if that differs from the one already named."""
    return _time(wall) if wall.date() == said.date() else f"{_time(wall)} on {day_name(wall)}"
