"""The time of day of a cron expression in words; different sets of times always differ in words."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from taskman_cli.insight.explain.listing import joined, step_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.core.schedule.expression import Expression

#: Up to this many times of day are listed one by one.
_FEW = 6


def time_words(expression: Expression) -> str:
    """Describe the times of the slots on a matching day."""
    seconds, minutes, hours = expression.second.values, expression.minute.values, expression.hour.values
    if seconds == (0,):
        return _minutes_of_day(minutes, hours)
    if len(seconds) * len(minutes) * len(hours) <= _FEW:
        return _at([f"{h:02}:{m:02}:{s:02}" for h, m, s in product(hours, minutes, seconds)])
    if len(minutes) == 60 and len(hours) == 24:
        return _of(_within("second", seconds), "every minute")
    day = _minutes_of_day(minutes, hours)
    return _of(_within("second", seconds), f"these minutes: {day[0].lower()}{day[1:]}")


def _minutes_of_day(minutes: Sequence[int], hours: Sequence[int]) -> str:
    if len(minutes) * len(hours) <= _FEW:
        return _at([f"{h:02}:{m:02}" for h, m in product(hours, minutes)])
    if len(hours) == 24:
        if minutes == (0,):
            return "Every hour, on the hour"
        return _of(_within("minute", minutes), "every hour")
    if len(minutes) == 1:
        return _hourly(minutes[0], hours)
    is_row = step_of(hours) == 1 or len(hours) == 1
    if is_row and (even := _even_step(minutes)):
        first, last = f"{hours[0]:02}:{minutes[0]:02}", f"{hours[-1]:02}:{minutes[-1]:02}"
        return f"Every {_many(even, 'minute')} from {first} to {last}"
    where = f"{hours[0]} to {hours[-1]}" if step_of(hours) == 1 else joined([str(hour) for hour in hours])
    return _of(_within("minute", minutes), f"hour{'' if len(hours) == 1 else 's'} {where}")


def _hourly(minute: int, hours: Sequence[int]) -> str:
    """Describe one minute of several, but not all, hours."""
    step = step_of(hours)
    if step is None:
        return _at([f"{hour:02}:{minute:02}" for hour in hours])
    return f"Every {_many(step, 'hour')} from {hours[0]:02}:{minute:02} to {hours[-1]:02}:{minute:02}"


def _within(unit: str, values: Sequence[int]) -> str:
    """Describe minutes of an hour, or seconds of a minute."""
    if (even := _even_step(values)) and values[0] == 0:
        return f"Every {_many(even, unit)}"
    if step := step_of(values):
        return f"Every {_many(step, unit)} from {unit} {values[0]} to {values[-1]}"
    return f"At {unit}{'' if len(values) == 1 else 's'} {joined([str(value) for value in values])}"


def _of(part: str, whole: str) -> str:
    """Combine both parts; an evenly spaced whole needs no further words."""
    is_all = " from " not in part and part.startswith("Every") and whole.startswith("every")
    return part if is_all else f"{part} of {whole}"


def _even_step(values: Sequence[int]) -> int | None:
    """Return the step if it stays even across the end of the hour or minute."""
    step = values[1] - values[0] if len(values) == 2 else step_of(values)
    return step if step is not None and step * len(values) == 60 else None


def _many(count: int, unit: str) -> str:
    return unit if count == 1 else f"{count} {unit}s"


def _at(times: Sequence[str]) -> str:
    return f"At {joined(times)}"
