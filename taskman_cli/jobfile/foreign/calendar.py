"""systemd's calendar events (`OnCalendar=`) as cron expressions, as far as these can say them.

After systemd.time(7); checked against `systemd-analyze calendar`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.core.schedule import ScheduleError, load_zone

if TYPE_CHECKING:
    from collections.abc import Callable

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
#: cron's numbers of these days.
_CRON_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_SHORTCUTS = {
    "minutely": "*-*-* *:*:00", "hourly": "*-*-* *:00:00", "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00", "monthly": "*-*-01 00:00:00", "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00", "anually": "*-01-01 00:00:00", "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00", "semi-annually": "*-01,07-01 00:00:00",
    "biannually": "*-01,07-01 00:00:00", "bi-annually": "*-01,07-01 00:00:00",
}  # fmt: skip
_WEEKDAYS = re.compile(r"[A-Za-z]+(?:(?:\.\.|-|,)[A-Za-z]+)*,?")
_ITEM = re.compile(
    r"(?P<first>\*|\d+(?:\.\d+)?)(?:\.\.(?P<last>\d+(?:\.\d+)?))?(?:/(?P<step>\d+(?:\.\d+)?))?"
)
_DATE = re.compile(r"(?:(?P<year>[^-~:]+)-)?(?P<month>[^-~:]+)(?P<sign>[-~])(?P<day>[^-~:]+)")
#: The weeks of a month, as days: `MON#1` to `MON#5`.
_WEEKS = {
    frozenset(range(first, min(first + 7, 32))): number for number, first in enumerate(range(1, 32, 7), 1)
}
_LATEST_YEAR = 2199


class NotACalendar(ValueError):
    """A text is no calendar event, or one that no cron expression says."""


@dataclass(frozen=True, slots=True)
class CronTimes:
    """A cron expression and its zone; "": the machine's."""

    cron: str
    timezone: str = ""


def to_cron(text: str) -> CronTimes:
    """Return the cron expression for a calendar event; raises NotACalendar."""
    words = text.split()
    if not words:
        raise NotACalendar("empty")
    words, timezone = _zone(words)
    if len(words) == 1 and (full := _SHORTCUTS.get(words[0].lower())):
        words = full.split()
    weekdays: frozenset[int] | None = None
    if words and words[0].startswith("@"):
        raise NotACalendar("an instant: write at = … with it")
    if words and _WEEKDAYS.fullmatch(words[0]):
        weekdays = _weekdays(words.pop(0))
    if len(words) == 1 and "T" in words[0]:
        words = words[0].split("T", 1)
    date, time = _parts(words, text)
    return CronTimes(_expression(weekdays, date, time), timezone)


def _zone(words: list[str]) -> tuple[list[str], str]:
    last = words[-1]
    is_name = len(words) > 1 and last[:1].isalpha() and not re.search(r"\d.*:", last)
    if not is_name or last.lower() in _SHORTCUTS:
        return words, ""
    try:
        load_zone(last)
    except ScheduleError:
        if _WEEKDAYS.fullmatch(last):
            raise NotACalendar(f"{quoted(last)} is no time zone") from None
        return words, ""
    return words[:-1], last


def _weekdays(text: str) -> frozenset[int]:
    found: set[int] = set()
    for item in text.rstrip(",").split(","):
        first, separator, last = re.sub(r"\.\.|-", "..", item).partition("..")
        start = _weekday(first)
        end = _weekday(last) if separator else start
        if end < start:
            raise NotACalendar(f"{quoted(item)} runs backwards")
        found.update(range(start, end + 1))
    return frozenset(found)


def _weekday(name: str) -> int:
    for names in (_DAYS, _DAY_NAMES):
        if name.lower() in names:
            return names.index(name.lower())
    raise NotACalendar(f"{quoted(name)} is no day of the week")


def _parts(words: list[str], text: str) -> tuple[str, str]:
    """Return the date and the time of an event."""
    match words:
        case []:
            return "*-*-*", "00:00:00"
        case [one] if ":" in one:
            return "*-*-*", one
        case [one]:
            return one, "00:00:00"
        case [date, time] if ":" in time:
            return date, time
    raise NotACalendar(f"{quoted(text)} is no calendar event of systemd")


def _expression(weekdays: frozenset[int] | None, date: str, time: str) -> str:
    found = _DATE.fullmatch(date)
    if found is None:
        raise NotACalendar(f"{quoted(date)} is no date")
    units = time.split(":")
    if len(units) not in (2, 3):
        raise NotACalendar(f"{quoted(time)} is no time")
    year = _year(found["year"] or "*")
    month = _text(_values(found["month"], 1, 12), 1, 12)
    hour = _text(_values(units[0], 0, 23), 0, 23)
    minute = _text(_values(units[1], 0, 59), 0, 59)
    second = _text(_values(units[2], 0, 59), 0, 59) if len(units) == 3 else "0"
    is_from_end = found["sign"] == "~"
    days = _values(found["day"], 1, 31, is_from_end=is_from_end)
    day, weekday = (_from_end if is_from_end else _from_start)(days, weekdays)
    seconds = f"{second} " if second != "0" else ""
    return f"{seconds}{minute} {hour} {day} {month} {weekday}{year}"


def _values(text: str, low: int, high: int, *, is_from_end: bool = False) -> frozenset[int]:
    """Return the values of a component."""
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise NotACalendar(f"{quoted(item)} is no value of a date or time")
        if any("." in (part or "") and float(part) % 1 for part in match.groups()):
            raise NotACalendar(f"{quoted(item)}: cron expressions have no fractions of seconds")
        step = _whole(match["step"], 0)
        if match["step"] is not None and step == 0:
            raise NotACalendar(f"{quoted(item)}: a step of 0")
        if match["first"] == "*":
            if step and low:
                raise NotACalendar(f"{quoted(item)}: systemd takes no step after the * of a month or day")
            found.update(range(low, high + 1, step or 1))
            continue
        first = _whole(match["first"], low)
        last = _whole(match["last"], first)
        if not low <= first <= high or not first <= last <= high:
            raise NotACalendar(f"{quoted(item)} is not within {low} and {high}")
        if step and match["last"] is None:
            # From the end of the month, the days up to its last are counted.
            found.update(range(first, 0, -step) if is_from_end else range(first, high + 1, step))
        else:
            found.update(range(first, last + 1, step or 1))
    return frozenset(found)


def _whole(text: str | None, otherwise: int) -> int:
    return otherwise if text is None else int(float(text))


def _year(text: str) -> str:
    """Return the column of the year with a space before it; "" for every year."""
    if text == "*":
        return ""
    if re.fullmatch(r"\d{2}", text):
        text = str(int(text) + (2000 if int(text) < 70 else 1900))
    return " " + _text(_values(text, 1970, _LATEST_YEAR), 1970, _LATEST_YEAR)


def _from_start(days: frozenset[int], weekdays: frozenset[int] | None) -> tuple[str, str]:
    """Return the columns for days of the month and of the week, which must both match."""
    is_any = len(days) == 31
    if weekdays is None or len(weekdays) == 7:
        return ("*" if is_any else _text(days, 1, 31)), "*"
    if is_any:
        return "*", _weekday_text(weekdays)
    weeks = _weeks(days)
    if weeks is None:
        raise NotACalendar(
            "days of the week that are certain days of the month too: a cron expression has them only "
            "for whole weeks (1..7, 8..14, …)"
        )
    return "*", ",".join(f"{_CRON_DAYS[day]}#{week}" for week in weeks for day in sorted(weekdays))


def _weeks(days: frozenset[int]) -> list[int] | None:
    """Return the weeks that days are; None if they are no whole weeks."""
    left, found = set(days), []
    for week, number in _WEEKS.items():
        if week <= left:
            left -= week
            found.append(number)
    return None if left else found


def _from_end(days: frozenset[int], weekdays: frozenset[int] | None) -> tuple[str, str]:
    """Return the columns for days that are counted from the end of the month, from 1."""
    if weekdays is None or len(weekdays) == 7:
        if len(days) == 31:
            return "*", "*"
        return ",".join("L" if day == 1 else f"L-{day - 1}" for day in sorted(days, reverse=True)), "*"
    if days == frozenset(range(1, 8)):
        return "*", ",".join(f"L{(day + 1) % 7}" for day in sorted(weekdays))
    if len(days) == 31:
        return "*", _weekday_text(weekdays)
    raise NotACalendar(
        "days of the week that are certain days from the end of the month too: a cron expression has them "
        "only for the last seven (~07/1)"
    )


def _weekday_text(weekdays: frozenset[int]) -> str:
    return ",".join(_runs(sorted(weekdays), lambda day: _CRON_DAYS[day]))


def _text(values: frozenset[int], low: int, high: int) -> str:
    """Write values as a column."""
    size = high - low + 1
    ordered = sorted(values)
    if len(ordered) == size:
        return "*"
    steps = {after - before for before, after in pairwise(ordered)}
    if len(steps) == 1 and ordered[0] == low and (step := steps.pop()) > 1:
        is_even = size % step == 0 and ordered[-1] + step > high
        if is_even:
            return f"*/{step}"
    return ",".join(_runs(ordered, str))


def _runs(ordered: list[int], name: Callable[[int], str]) -> list[str]:
    """Write ascending values with ranges for three or more in a row."""
    words: list[str] = []
    start = 0
    for at in range(1, len(ordered) + 1):
        if at < len(ordered) and ordered[at] == ordered[at - 1] + 1:
            continue
        run = ordered[start:at]
        if len(run) > 2:
            words.append(f"{name(run[0])}-{name(run[-1])}")
        else:
            words += [name(value) for value in run]
        start = at
    return words
