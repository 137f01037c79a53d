"""Schedules of other schedulers as the keys of ours, where days of month and of week differ in meaning."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from taskman_cli.core.schedule import Interval, ScheduleError, parse_cron
from taskman_cli.core.timespec import format_duration

if TYPE_CHECKING:
    from taskman_cli.jobfile.foreign.imported import Table

_ZONE = re.compile(r"(?:CRON_)?TZ=(?P<zone>\S+)\s+(?P<rest>.*)", re.DOTALL)
_STEP = re.compile(r"\*/(\d{1,3})")


class Days(Enum):
    """What it means that day of month and day of week are both given."""

    #: yacron: both must match.
    BOTH = "both"
    #: Go's libraries: either suffices, and only a bare * is no restriction.
    EITHER = "either"


class CannotSay(ValueError):
    """A schedule is none, or one that a job file cannot say."""


def schedule_of(text: str, *, days: Days) -> Table:
    """Return `cron` or `every`, and perhaps `timezone`; raises CannotSay."""
    text = " ".join(text.split())
    zone = ""
    if match := _ZONE.fullmatch(text):
        zone, text = match["zone"], match["rest"]
    if text.startswith("@") and " " not in text:
        text = text.lower()
    text = _with_days(text, days)
    try:
        schedule = parse_cron(text, timezone=zone or "UTC")
    except ScheduleError as error:
        raise CannotSay(str(error)) from None
    if isinstance(schedule, Interval):
        return {"every": format_duration(schedule.every_ns)}
    return {"cron": text, "timezone": zone} if zone else {"cron": text}


def _with_days(text: str, days: Days) -> str:
    """Write the days so that they mean here what they mean there."""
    columns = text.split(" ")
    if not 5 <= len(columns) <= 7:
        return text
    at = 3 if len(columns) == 7 or (len(columns) == 6 and not re.fullmatch(r".*\d{4}", columns[5])) else 2
    day, weekday = columns[at], columns[at + 2]
    if day in ("*", "?") or weekday in ("*", "?"):
        return text
    if days is Days.BOTH:
        if day[0] != "*" and weekday[0] != "*":
            raise CannotSay(
                "day of month and day of week must both match there, and no cron expression says that"
            )
        return text
    columns[at] = _STEP.sub(r"1-31/\1", day)
    columns[at + 2] = _STEP.sub(r"0-6/\1", weekday)
    return " ".join(columns)
