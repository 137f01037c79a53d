"""One field of a cron expression: from text to sorted values.

The grammar is that of Debian's cron (get_list, get_range and get_number in its entry.c), made strict: what
Debian silently ignores, such as the end of "1-5-7" or "1.5", is rejected, and so is a backward range, which
never fires there. In addition there are `L`, `L5`, `FRI#2` and `15W` as in croniter, and `H`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from taskman_cli.core.escapes import quoted_ascii
from taskman_cli.errors import ScheduleError


@dataclass(frozen=True, slots=True, eq=False)
class FieldKind:
    """The kind of a field: one of the six below, compared by identity."""

    title: str
    low: int
    high: int
    #: Names of the values from `low` on, in any case.
    names: tuple[str, ...] = ()
    #: The highest value of `H`, so that it occurs in every month and week.
    hash_high: int = 0


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

_WHOLE_NAMES = (
    *("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "WEDS", "THURSDAY", "FRIDAY", "SATURDAY", "JANUARY"),
    *("FEBRUARY", "MARCH", "APRIL", "JUNE", "JULY", "AUGUST", "SEPTEMBER", "OCTOBER", "NOVEMBER", "DECEMBER"),
)

SECOND = FieldKind("second", 0, 59, hash_high=59)
MINUTE = FieldKind("minute", 0, 59, hash_high=59)
HOUR = FieldKind("hour", 0, 23, hash_high=23)
DAY = FieldKind("day of month", 1, 31, hash_high=28)
MONTH = FieldKind("month", 1, 12, _MONTHS, hash_high=12)
WEEKDAY = FieldKind("day of week", 0, 7, _WEEKDAYS, hash_high=6)


@dataclass(frozen=True, slots=True)
class Field:
    """A parsed field. Sunday is 0 in `values`, however it was written."""

    text: str
    values: tuple[int, ...]
    #: Starts with `*`: decides between AND and OR of the day fields, and between wildcard and fixed jobs.
    is_star: bool = False
    #: The whole field in croniter's spelling if it has `L`, `W` or `#` (`values` is empty then), else "".
    special: str = ""


_ITEM = re.compile(
    r"(?:(?P<star>\*)|(?P<first>[0-9A-Za-z]+)(?:-(?P<last>[0-9A-Za-z]+))?)(?:/(?P<step>[0-9]+))?"
)
_HASH = re.compile(r"H(?:\((?P<first>[0-9]+)-(?P<last>[0-9]+)\))?(?:/(?P<step>[0-9]+))?", re.IGNORECASE)
_LAST_DAY = re.compile(r"L", re.IGNORECASE)
_NEAREST_WEEKDAY = re.compile(r"(?P<day>[0-9]+)W", re.IGNORECASE)
_LAST_WEEKDAY = re.compile(r"L(?P<day>[0-9]+)", re.IGNORECASE)
_RANDOM = re.compile(r"R(?:\(.*)?(?:/.*)?", re.IGNORECASE)
_LAST_OR_NEAREST = re.compile(r"L[0-9W]*|[0-9]+[LW]|W[0-9]*", re.IGNORECASE)
_NTH_WEEKDAY = re.compile(r"(?P<day>[0-9A-Za-z]+)#(?P<nth>[0-9]+)")


def parse_field(text: str, kind: FieldKind, *, name: str) -> Field:
    """Parse the text of one field; `name` is what `H` is hashed from."""
    if match := _HASH.fullmatch(text):
        return Field(text, _fold_sunday(_hashed(match, text, kind, name), kind))
    return _parse_plain(text, kind)


@lru_cache(maxsize=4096)
def _parse_plain(text: str, kind: FieldKind) -> Field:
    items = text.split(",")
    if kind is DAY and (special := _special_days(items)):
        return Field(text, (), special=special)
    if kind is WEEKDAY and (special := _special_weekdays(items)):
        return Field(text, (), special=special)
    values = {value for item in items for value in _range(item, kind)}
    return Field(text, _fold_sunday(values, kind), is_star=text.startswith("*"))


def field_error(kind: FieldKind, item: str, problem: str) -> ScheduleError:
    """Build the error for a wrong item of a field."""
    return ScheduleError(f"{kind.title} {quoted_ascii(item)}: {problem}", field=kind.title, item=item)


def _range(item: str, kind: FieldKind) -> range:
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
    if match["last"] is None:
        if match["step"]:
            raise field_error(
                kind, item, f'a step needs a range or "*", such as {match["first"]}-{kind.high}/{step}'
            )
        return range(first, first + 1)
    last = _value(match["last"], kind, item)
    if first > last:
        raise field_error(kind, item, f"the range runs backwards{_forwards(match, kind)}")
    return range(first, last + 1, step)


def _forwards(match: re.Match[str], kind: FieldKind) -> str:
    """Suggest how to write a range that wraps around the end of its field."""
    first, last = (_value(match[name], kind, match[0]) for name in ("first", "last"))
    if kind is WEEKDAY and last == 0:
        step = f"/{match['step']}" if match["step"] else ""
        return f'; Sunday is 7 at the end of a range: write "{match["first"]}-7{step}"'
    if kind is DAY:
        return ""  # months differ in length
    high, count = (6, 7) if kind is WEEKDAY else (kind.high, kind.high - kind.low + 1)
    first = kind.low + (first - kind.low) % count
    is_named = match["first"].upper() in kind.names
    if match["step"]:
        values = range(first, last + count * (first > last) + 1, _number(match["step"]))
        parts = [(value, value) for value in values]
    else:
        parts = [(first, high), (kind.low, last)] if first > last else [(first, last)]
    written = []
    for begin, end in parts:
        begin, end = (kind.low + (value - kind.low) % count for value in (begin, end))
        names = [kind.names[value - kind.low] if is_named else str(value) for value in (begin, end)]
        written.append("-".join(names if begin < end else names[:1]))
    return f': write "{",".join(written)}"'


def _value(word: str, kind: FieldKind, item: str) -> int:
    if word.upper() in kind.names:
        return kind.low + kind.names.index(word.upper())
    if not word.isdigit():
        raise field_error(kind, item, _explain(word, item, kind))
    value = _number(word)
    if not kind.low <= value <= kind.high:
        raise field_error(kind, item, f"{_subject(word, item)}not in {kind.low}-{kind.high}")
    return value


def _number(digits: str) -> int:
    """Read ASCII digits, cut off where the number is too large anyway: int() rejects thousands of them."""
    return int((digits.lstrip("0") or "0")[:9])


def _fold_sunday(values: set[int] | range, kind: FieldKind) -> tuple[int, ...]:
    return tuple(sorted({value % 7 for value in values} if kind is WEEKDAY else values))


def _special_days(items: list[str]) -> str:
    """Return a day field with `L` or `W` in croniter's spelling, or ""."""
    if len(items) == 1 and (match := _NEAREST_WEEKDAY.fullmatch(items[0])):
        return f"{_value(match['day'], DAY, items[0])}w"
    plain = [item for item in items if not _LAST_DAY.fullmatch(item)]
    if len(plain) == len(items):
        return ""
    days = {day for item in plain for day in _range(item, DAY)}
    return ",".join([*map(str, sorted(days)), "l"])


def _special_weekdays(items: list[str]) -> str:
    """Return a weekday field with `L5` or `FRI#2` in croniter's spelling, or ""."""
    special = []
    for item in items:
        if match := _LAST_WEEKDAY.fullmatch(item):
            special.append(f"l{_value(match['day'], WEEKDAY, item) % 7}")
        elif match := _NTH_WEEKDAY.fullmatch(item):
            day = _value(match["day"], WEEKDAY, item) % 7
            nth = _number(match["nth"])
            if not 1 <= nth <= 5:
                raise field_error(WEEKDAY, item, f"no month has weekday number {match['nth'][:20]}, only 1-5")
            special.append(f"{day}#{nth}")
    if special and len(special) < len(items):
        raise field_error(WEEKDAY, ",".join(items), 'plain days cannot be combined with "#" or "L"')
    return ",".join(special)


def _hashed(match: re.Match[str], text: str, kind: FieldKind, name: str) -> range:
    low, high = kind.low, kind.hash_high
    if match["first"]:
        low, high = _value(match["first"], kind, text), _value(match["last"], kind, text)
        if low >= high:
            raise field_error(kind, text, "the range of H must run upwards")
    if match["step"] is None:
        chosen = low + _hash(name, kind) % (high - low + 1)
        return range(chosen, chosen + 1)
    step = _number(match["step"])
    if step == 0:
        raise field_error(kind, text, "the step must be at least 1")
    return range(low + _hash(name, kind) % min(step, high - low + 1), high + 1, step)


def _hash(name: str, kind: FieldKind) -> int:
    # A checksum such as croniter's CRC would correlate hour and minute, which must be independent.
    from hashlib import blake2b  # imported late: rarely needed, and it loads OpenSSL

    digest = blake2b(f"{kind.title}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _explain(text: str, item: str, kind: FieldKind) -> str:
    """Explain what is wrong with `text`, an invalid item or a word of one."""
    if not text:
        return "a value is missing before or after a comma"
    if "?" in text:
        return '"?" is not supported; write "*"'
    if _RANDOM.fullmatch(text):
        return '"R" (a random time) is not supported; "H" gives each job a fixed time of its own'
    if _HASH.fullmatch(text):
        return '"H" has to be the whole field: H, H/15, H(0-29) or H(0-29)/10'
    if _LAST_OR_NEAREST.fullmatch(text):
        return (
            'only "L" or a single "15W" as day of month and "L5" (the last Friday) as day of '
            "week are supported"
        )
    if "#" in text:
        return '"#" goes with one day of the week, as in FRI#2'
    names = f" or one of {' '.join(kind.names)}" if kind.names else ""
    return f"{_subject(text, item)}not a number{names}, nor a range or *{_name_hint(text, kind)}"


def _name_hint(text: str, kind: FieldKind) -> str:
    """Suggest the short name for a longer one, or name the field to which a name belongs."""
    name = text[:3].upper()
    if name in kind.names and any(whole.startswith(text.upper()) for whole in _WHOLE_NAMES):
        return f' (did you mean "{name}"?)'
    if text.upper() in (*_MONTHS, *_WEEKDAYS):
        other = MONTH if text.upper() in _MONTHS else WEEKDAY
        return f" (that is a {other.title}; the fields are minute, hour, day of month, month, day of week)"
    return ""


def _subject(text: str, item: str) -> str:
    """Name the word in question, unless it is the whole item, with which the message starts."""
    return "" if text == item else f"{quoted_ascii(text)} is "
