"""Checked days and times of day, made from numbers; impossible ones are rejected with a suggestion.

at(1) accepts 31 days for any month in some forms, 24:59 and 10:60, and lets them overflow; taskman does not.
"""

from __future__ import annotations

import calendar

from taskman_cli.core.timespec.spec import Clock, FullDate
from taskman_cli.core.timespec.vocabulary import Kind, Token, month_name
from taskman_cli.errors import TimespecError

#: Used for days without a year.
_LEAP_YEAR = 2000


def clock_of_parts(token: Token) -> Clock:
    """Read "4:30", "4h30" or "15:00:30"."""
    if token.kind is Kind.HOUR_MINUTE_SECOND:
        hour, minute, second = token.text.split(":")
        return Clock(int(hour), int(minute), int(second))
    return Clock(int(token.text[:-3]), int(token.text[-2:]))


def checked(clock: Clock) -> Clock:
    """Return the time of day, or raise TimespecError if it does not exist."""
    hour, minute, second = clock.hour, clock.minute, clock.second or 0
    if hour > 24:
        raise TimespecError(f"no such hour: {hour}; the last is 23", column=clock.column)
    if minute > 59:
        raise TimespecError(f"no such minute: {minute}; the last is 59", column=clock.column)
    if second > 59:
        raise TimespecError(f"no such second: {second}; the last is 59", column=clock.column)
    if hour == 24 and (minute or second):
        raise TimespecError(
            f'the day ends at 24:00; did you mean "00:{minute:02} tomorrow"?', column=clock.column
        )
    return clock


def full_date(token: Token, *, year: str, month: int, day: int) -> FullDate:
    """Return a full date from a year of two or four digits; `token` is its place."""
    number = int(year)
    if len(year) == 2:
        number += 2000 if number < 70 else 1900
    if not 1 <= month <= 12:
        raise TimespecError(f"no such month: {month}{_month_hint(token, day, year)}", column=token.column)
    if not number:
        raise TimespecError("no such year: 0", column=token.column)
    check_day(token, year=number, month=month, day=day)
    return FullDate(number, month, day)


def check_day(token: Token, *, year: int | None, month: int, day: int) -> None:
    """Reject a day that the month does not have; without a year, in no year."""
    last = calendar.monthrange(year or _LEAP_YEAR, month)[1]
    if 1 <= day <= last:
        return
    name = month_name(month)
    if not day:
        problem = "the first is 1"
    elif year:
        problem = f'{name} {year} has {last} days (did you mean "{year}-{month:02}-{last:02}"?)'
    else:
        # 29 February is not in every year.
        at_most, meant = ("at most ", 28) if month == 2 else ("", last)
        problem = f'{name} has {at_most}{last} days (did you mean "{name[:3]} {meant}"?)'
    raise TimespecError(f"no such day: {day}; {problem}", column=token.column)


def refuse_time_for_year(token: Token, *, month: int, day: int) -> None:
    """Reject a remote year that was probably meant as a time: "Jul 31 2300"."""
    digits = token.text
    is_far = digits <= "1900" or "2100" <= digits < "2400"
    if len(digits) == 4 and digits[2:] < "60" and is_far:
        raise TimespecError(
            f'is "{digits}" a year or a time of day? write "{digits}-{month:02}-{day:02}" for the year, '
            f'"{digits[:2]}:{digits[2:]} {month_name(month)[:3]} {day}" for the time',
            column=token.column,
        )


def explain_missing_year(month: int, day: int, text: str) -> str:
    """Suggest what to write for "9/11"; if both parts are at most 12, the month is ambiguous."""
    if 1 <= month <= 12 and 1 <= day <= 12:
        one, other = (f"{month_name(m)[:3]} {d}" for m, d in ((month, day), (day, month)))
        return f'"{month}/{day}" is ambiguous: write "{one}" or "{other}"'
    return f'the year is missing: "{text}/{day}/26", month first'


def _month_hint(token: Token, day: int, year: str) -> str:
    """Suggest what was probably meant by numbers in the wrong order."""
    digits = token.text
    if token.kind is Kind.DIGITS and len(digits) == 8 and 1 <= int(digits[4:6]) <= 12:
        return f' (did you mean "{digits[:4]}-{digits[4:6]}-{digits[6:]}"?)'
    if token.kind is Kind.DIGITS and len(digits) <= 2 and 1 <= day <= 12:
        return f' (the month comes first: did you mean "{day}/{digits}/{year}"?)'
    return "; there are 12"
