"""One field of a cron expression: from text to sorted values.

The grammar is that of Debian's cron (get_list, get_range and get_number in its entry.c), made strict: what
Debian silently ignores, such as the end of "1-5-7" or "1.5", is rejected. In addition there is what other
programs have: `H`, ranges that wrap around (`22-2`), `0/5`, `?`, whole names, and the rules of `dayrules`.
A crontab takes less: see `jobfile.crontab.fields`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted_ascii
from taskman_cli.core.schedule.dayrules import LAST, DayRule, LastDay, NearestWorking, NthWeekday
from taskman_cli.errors import ScheduleError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, eq=False)
class FieldKind:
    """The kind of a field: one of the seven below, compared by identity."""

    title: str
    low: int
    high: int
    #: Names of the values from `low` on, in any case.
    names: tuple[str, ...] = ()
    #: The highest value of `H`, so that it occurs in every month and week.
    hash_high: int = 0


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

#: Longer names, with the short one of the same value.
_LONG_NAMES = {
    "SUNDAY": "SUN",
    "MONDAY": "MON",
    "TUES": "TUE",
    "TUESDAY": "TUE",
    "WEDS": "WED",
    "WEDNESDAY": "WED",
    "THUR": "THU",
    "THURS": "THU",
    "THURSDAY": "THU",
    "FRIDAY": "FRI",
    "SATURDAY": "SAT",
    "JANUARY": "JAN",
    "FEBRUARY": "FEB",
    "MARCH": "MAR",
    "APRIL": "APR",
    "JUNE": "JUN",
    "JULY": "JUL",
    "AUGUST": "AUG",
    "SEPT": "SEP",
    "SEPTEMBER": "SEP",
    "OCTOBER": "OCT",
    "NOVEMBER": "NOV",
    "DECEMBER": "DEC",
}

SECOND = FieldKind("second", 0, 59, hash_high=59)
MINUTE = FieldKind("minute", 0, 59, hash_high=59)
HOUR = FieldKind("hour", 0, 23, hash_high=23)
DAY = FieldKind("day of month", 1, 31, hash_high=28)
MONTH = FieldKind("month", 1, 12, _MONTHS, hash_high=12)
WEEKDAY = FieldKind("day of week", 0, 7, _WEEKDAYS, hash_high=6)
YEAR = FieldKind("year", 1970, 9999)


@dataclass(frozen=True, slots=True)
class Field:
    """A parsed field. Sunday is 0 in `values`, however it was written."""

    text: str
    values: tuple[int, ...]
    #: Starts with `*`, or is `?`: decides between AND and OR of the day fields, and between wildcard and
    #: fixed jobs.
    is_star: bool = False
    #: What a day field has in addition to `values`.
    rules: tuple[DayRule, ...] = ()


_ITEM = re.compile(
    r"(?:(?P<star>\*)|(?P<first>[0-9A-Za-z]+)(?:-(?P<last>[0-9A-Za-z]+))?)(?:/(?P<step>[0-9]+))?"
)
_HASH = re.compile(r"H(?:\((?P<first>[0-9]+)-(?P<last>[0-9]+)\))?(?:/(?P<step>[0-9]+))?", re.IGNORECASE)
_HASHED = re.compile(r"H(?:[(/-]|$)", re.IGNORECASE)
_LAST_DAY = re.compile(r"L(?:-(?P<before>[0-9]+))?(?P<working>W)?", re.IGNORECASE)
_NEAREST_WORKING = re.compile(r"(?P<day>[0-9]+)W", re.IGNORECASE)
_LAST_WEEKDAY = re.compile(r"L(?P<day>[0-9]+)|(?P<name>[0-9A-Za-z]+)L", re.IGNORECASE)
_RANDOM = re.compile(r"R(?:\(.*)?(?:/.*)?", re.IGNORECASE)
_LAST_OR_NEAREST = re.compile(r"L[0-9W-]*|[0-9]+[LW]|W[0-9]*", re.IGNORECASE)
_NTH_WEEKDAY = re.compile(r"(?P<day>[0-9A-Za-z]+)#(?P<nth>[0-9]+)")


def parse_field(text: str, kind: FieldKind, *, name: str) -> Field:
    """Parse the text of one field; `name` is what `H` is hashed from."""
    if ("H" in text or "h" in text) and any(map(_HASH.fullmatch, text.split(","))):
        return _parse(text, kind, name=name)
    return _parse_plain(text, kind)


@lru_cache(maxsize=4096)
def _parse_plain(text: str, kind: FieldKind) -> Field:
    return _parse(text, kind, name="")


def _parse(text: str, kind: FieldKind, *, name: str) -> Field:
    if text == "?" and kind in (DAY, WEEKDAY):
        return Field(text, _fold_sunday(range(kind.low, kind.high + 1), kind), is_star=True)
    values: set[int] = set()
    rules: dict[DayRule, None] = {}
    for index, item in enumerate(text.split(",")):
        if kind is not YEAR and (match := _HASH.fullmatch(item)):
            values.update(_hashed(match, item, kind, name, index))
        elif rule := _rule(item, kind):
            rules[rule] = None
        else:
            values.update(_range(item, kind))
    return Field(text, _fold_sunday(values, kind), is_star=text.startswith("*"), rules=tuple(rules))


def field_error(kind: FieldKind, item: str, problem: str) -> ScheduleError:
    """Build the error for a wrong item of a field."""
    return ScheduleError(f"{kind.title} {quoted_ascii(item)}: {problem}", field=kind.title, item=item)


def _range(item: str, kind: FieldKind) -> Iterable[int]:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise field_error(kind, item, _explain(item, item, kind))
    step = 1
    if match["step"]:
        step = _number(match["step"])
        if step == 0:
            raise field_error(kind, item, "the step must be at least 1")
    if match["star"]:
        return range(kind.low, kind.high + 1, step)
    first = _value(match["first"], kind, item)
    # A week has seven days, though Sunday has two numbers.
    high = 6 if kind is WEEKDAY else kind.high
    if match["last"] is None:
        if kind is WEEKDAY and match["step"] and 0 < first < 7 and (7 - first) % step == 0:
            word = match["first"]
            problem = (
                f"programs differ on whether this includes Sunday: write {word}-6/{step} or {word}-7/{step}"
            )
            raise field_error(kind, item, problem)
        return range(first % 7 if kind is WEEKDAY else first, high + 1, step) if match["step"] else (first,)
    last = _value(match["last"], kind, item)
    if first <= last:
        return range(first, last + 1, step)
    if kind is YEAR:
        raise field_error(kind, item, "the range runs backwards")
    count = high - kind.low + 1
    steps = range(first - kind.low, first - kind.low + (last - first) % count + 1, step)
    return (kind.low + value % count for value in steps)


def _value(word: str, kind: FieldKind, item: str) -> int:
    name = word.upper()
    name = _LONG_NAMES.get(name, name)
    if name in kind.names:
        return kind.low + kind.names.index(name)
    if not word.isdigit():
        raise field_error(kind, item, _explain(word, item, kind))
    value = _number(word)
    if not kind.low <= value <= kind.high:
        raise field_error(kind, item, f"{_subject(word, item)}not in {kind.low}-{kind.high}")
    return value


def _number(digits: str) -> int:
    """Read ASCII digits, cut off where the number is too large anyway: int() rejects thousands of them."""
    return int((digits.lstrip("0") or "0")[:9])


def _fold_sunday(values: Iterable[int], kind: FieldKind) -> tuple[int, ...]:
    return tuple(sorted({value % 7 for value in values} if kind is WEEKDAY else values))


def _rule(item: str, kind: FieldKind) -> DayRule | None:
    """Return the rule that an item of a day field is; None if it is none."""
    if kind is DAY:
        if match := _LAST_DAY.fullmatch(item):
            before = _number(match["before"] or "0")
            if before > 30:
                raise field_error(DAY, item, f"no month has {match['before'][:20]} days before its last")
            return LastDay(before, match["working"] is not None)
        if match := _NEAREST_WORKING.fullmatch(item):
            return NearestWorking(_value(match["day"], DAY, item))
    elif kind is WEEKDAY:
        if match := _LAST_WEEKDAY.fullmatch(item):
            return NthWeekday(_value(match["day"] or match["name"], WEEKDAY, item) % 7, LAST)
        if match := _NTH_WEEKDAY.fullmatch(item):
            weekday = _value(match["day"], WEEKDAY, item) % 7
            nth = _number(match["nth"])
            if not 1 <= nth <= 5:
                raise field_error(WEEKDAY, item, f"no month has weekday number {match['nth'][:20]}, only 1-5")
            return NthWeekday(weekday, nth)
    return None


def _hashed(match: re.Match[str], text: str, kind: FieldKind, name: str, index: int) -> range:
    low, high = kind.low, kind.hash_high
    if match["first"]:
        low, high = _value(match["first"], kind, text), _value(match["last"], kind, text)
        if low >= high:
            raise field_error(kind, text, "the range of H must run upwards")
    if match["step"] is None:
        chosen = low + _hash(name, kind, index) % (high - low + 1)
        return range(chosen, chosen + 1)
    step = _number(match["step"])
    if step == 0:
        raise field_error(kind, text, "the step must be at least 1")
    return range(low + _hash(name, kind, index) % min(step, high - low + 1), high + 1, step)


def _hash(name: str, kind: FieldKind, index: int) -> int:
    # A checksum such as croniter's CRC would correlate hour and minute, which must be independent.
    from hashlib import blake2b  # imported late: rarely needed, and it loads OpenSSL

    # Each item of a list has a value of its own.
    text = f"{kind.title}\0{name}" + (f"\0{index}" if index else "")
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _explain(text: str, item: str, kind: FieldKind) -> str:
    """Explain what is wrong with `text`, an invalid item or a word of one."""
    if not text:
        return "a value is missing before or after a comma"
    if "?" in text:
        return '"?" is only valid alone, as day of month or day of week; write "*"'
    if "~" in text:
        return f'a random value is H in a job file, the same at every start: write "{_as_hash(text, kind)}"'
    if _RANDOM.fullmatch(text):
        return '"R" (a random time) is not supported; "H" gives each job a fixed time of its own'
    if _HASHED.match(text):
        return '"H" has these forms: H, H/15, H(0-29) or H(0-29)/10'
    if _LAST_OR_NEAREST.fullmatch(text):
        return (
            '"L" and "W" have these forms: L, L-3, LW, L-3W and 15W as day of month, FRIL and L5 (the last '
            "Friday) as day of week"
        )
    if "#" in text:
        return '"#" goes with one day of the week, as in FRI#2'
    names = f" or one of {' '.join(kind.names)}" if kind.names else ""
    return f"{_subject(text, item)}not a number{names}, nor a range or *{_name_hint(text, kind)}"


def _as_hash(text: str, kind: FieldKind) -> str:
    """Write cronie's random range as `H`."""
    first, _, last = text.partition("~")
    return "H" if not first and not last else f"H({first or kind.low}-{last or kind.high})"


def _name_hint(text: str, kind: FieldKind) -> str:
    """Suggest the short name for a misspelt longer one, or name the field to which a name belongs."""
    name = text[:3].upper()
    if name in kind.names and any(whole.startswith(text.upper()) for whole in _LONG_NAMES):
        return f' (did you mean "{name}"?)'
    if text.upper() in (*_MONTHS, *_WEEKDAYS):
        other = MONTH if text.upper() in _MONTHS else WEEKDAY
        return f" (that is a {other.title}; the fields are minute, hour, day of month, month, day of week)"
    return ""


def _subject(text: str, item: str) -> str:
    """Name the word in question, unless it is the whole item, with which the message starts."""
    return "" if text == item else f"{quoted_ascii(text)} is "
