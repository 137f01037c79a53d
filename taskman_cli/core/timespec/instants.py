"""Instants in full: ISO 8601 and seconds since the epoch; and how a wall time becomes an instant in a zone.

A repeated wall time means its first pass; a skipped one is rejected.
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from taskman_cli.core.timespec.vocabulary import month_name
from taskman_cli.errors import TimespecError

if TYPE_CHECKING:
    from datetime import tzinfo
    from zoneinfo import ZoneInfo

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
_SOME_OFFSET = "[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?"
_INSTANT = re.compile(rf"{_DATE}[Tt ]{_TIME}(?: ?(?P<offset>{_SOME_OFFSET}))?")
#: The same without separators: 20261224T150000Z. It needs its T.
_BASIC = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})[Tt]([0-9]{2})([0-9]{2})(?:([0-9]{2})(\.[0-9]{1,6})?)?"
    rf"({_SOME_OFFSET})?"
)
#: Recognises an instant, valid or not.
_LIKENESS = re.compile("[0-9]{4}-?[0-9]{2}-?[0-9]{2}[Tt]")
_PIECES = (re.compile(_DATE), re.compile("[Tt ]"), re.compile(_TIME), re.compile(_SOME_OFFSET))
_OFFSET = re.compile(r"[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?")
_EPOCH = re.compile(r"@([0-9]{1,12})(?:\.([0-9]{1,6}))?")
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


def is_instant(text: str) -> bool:
    """Tell whether a text is meant for `parse_instant`, valid or not."""
    return _LIKENESS.match(text) is not None or _INSTANT.fullmatch(text) is not None


def parse_instant(text: str, *, zone: ZoneInfo | tzinfo) -> datetime:
    """Parse an ISO 8601 date and time and return it in `zone`, which is also the default for its offset."""
    basic = _BASIC.fullmatch(text)
    # Upper case, T and all separators: what every Python version accepts.
    extended = _separated(basic) if basic else text
    match = _INSTANT.fullmatch(extended)
    if match is None:
        raise TimespecError(
            'not an ISO 8601 date and time, such as "2026-12-24T15:00" or "2026-12-24T15:00:00+01:00"',
            column=_strange(text),
        )
    offset = match["offset"]
    if offset and not _OFFSET.fullmatch(offset):
        raise TimespecError(f"no such offset: {offset}", column=len(text) - len(offset))
    try:
        given = datetime.fromisoformat(f"{extended[:10]}T{extended[11:].replace(' ', '').upper()}")
    except ValueError as error:
        raise _impossible(text, extended[:10]) or TimespecError(f"no such date or time: {error}") from None
    if not offset:
        return instant_at(given, zone)
    try:
        return given.astimezone(zone)
    except OverflowError:
        raise out_of_range() from None


def _impossible(text: str, date: str) -> TimespecError | None:
    """Explain a day that the month does not have, with a suggestion; None for other errors."""
    year, month, day = map(int, date.split("-"))
    if not (year and 1 <= month <= 12):
        return None
    last = calendar.monthrange(year, month)[1]
    if day <= last:
        return None
    column = 8 if text.startswith(date) else 6
    meant = f"{text[:column]}{last}{text[column + 2 :]}"
    problem = f'{month_name(month)} {year} has {last} days (did you mean "{meant}"?)'
    return TimespecError(f"no such day: {day}; {problem}", column=column)


def parse_epoch(text: str, *, zone: tzinfo) -> datetime:
    """Parse "@" and the seconds since 1970, and return the instant in `zone`."""
    match = _EPOCH.fullmatch(text)
    if match is None:
        raise TimespecError('the @ must be followed by the seconds since 1970, as in "@1700000000"', column=1)
    microseconds = int((match[2] or "").ljust(6, "0"))
    try:
        return (_EPOCH_START + timedelta(seconds=int(match[1]), microseconds=microseconds)).astimezone(zone)
    except OverflowError:
        raise out_of_range() from None


def instant_at(wall: datetime, zone: tzinfo, *, column: int = 0) -> datetime:
    """Return the first instant at which the clocks of `zone` show the naive time `wall`."""
    instant = wall.replace(tzinfo=zone)
    shown = shown_at(wall, zone)
    if shown.replace(tzinfo=None) != wall:
        raise TimespecError(
            f"{wall.isoformat(' ')} does not exist in {zone_name(zone)}: the clocks jump over it; "
            f'did you mean "{shown.replace(tzinfo=None).isoformat()}"?',
            column=column,
        )
    return instant


def shown_at(wall: datetime, zone: tzinfo) -> datetime:
    """Return what the clocks of `zone` show at `wall`, moved past the gap if it is skipped."""
    try:
        return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    except OverflowError:
        raise out_of_range() from None


def zone_name(zone: tzinfo) -> str:
    """Return the name of a zone for a message."""
    return getattr(zone, "key", None) or str(zone)


def out_of_range() -> TimespecError:
    """Return the error for what `datetime` cannot hold."""
    return TimespecError("the time is outside the years 1 to 9999")


def _separated(basic: re.Match[str]) -> str:
    year, month, day, hour, minute, second, fraction, offset = basic.groups(default="")
    return f"{year}-{month}-{day}T{hour}:{minute}{second and ':' + second}{fraction}{offset}"


def _strange(text: str) -> int:
    """Return the column where the text stops being a date and time."""
    column = 0
    for piece in _PIECES:
        match = piece.match(text, column)
        if match is None:
            break
        column = match.end()
    return column
