"""When a line is due, as cronie, busybox's crond and supercronic read its columns; Debian's: `fields`.

Each column becomes one of taskman's own grammar. cronie and supercronic reject what they do not know; in a
range that runs backwards cronie finds no value, supercronic an error, and busybox wraps around.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.core.schedule import ScheduleError
from taskman_cli.core.schedule.fields import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    WEEKDAY,
    YEAR,
    parse_field,
)
from taskman_cli.jobfile.crontab.fields import BadField, Column, rows_of

if TYPE_CHECKING:
    from taskman_cli.core.schedule.fields import FieldKind

_ITEM = re.compile(
    r"(?:(?P<star>\*)|(?P<first>[0-9A-Za-z]+)(?:-(?P<last>[0-9A-Za-z]+))?)(?:/(?P<step>[0-9]+))?"
)
_RANDOM = re.compile(r"(?P<first>[0-9A-Za-z]*)~(?P<last>[0-9A-Za-z]*)")
_NTH = re.compile(r"(?P<day>[0-9A-Za-z]+)(?:L|#[1-5])", re.IGNORECASE)
_MONTH_DAY = re.compile(r"L|LW|(0?[1-9]|[12][0-9]|3[01])W", re.IGNORECASE)
_MAX_DIGITS = 9

#: How many values busybox counts: it has a day 0 of the month, and no second number for Sunday.
_BUSYBOX_SIZES = {MINUTE: 60, HOUR: 24, DAY: 32, MONTH: 12, WEEKDAY: 7}
_MANY = 10**_MAX_DIGITS
#: Longer names that supercronic does not know.
_UNUSUAL = ("TUES", "WEDS", "THUR", "THURS", "SEPT")
#: The highest year of supercronic.
_LAST_YEAR = 2099


@dataclass(frozen=True, slots=True)
class _Item:
    """One item of a list, split but not checked."""

    is_star: bool
    first: int
    #: None: a single value.
    last: int | None
    #: None: not given.
    step: int | None


# --- cronie ---


def read_cronie(index: int, text: str, kind: FieldKind) -> Column:
    """Read a column as cronie does."""
    kept: dict[str, None] = {}
    is_whole = True
    for item in text.split(","):
        if match := _RANDOM.fullmatch(item):
            kept[_random(index, match, item, kind)] = None
            continue
        found = _split(index, item, kind, kind.names, low=0, high=_MANY)
        if found.is_star:
            kept[item] = None
            continue
        if found.last is None and found.step is not None:
            raise _bad(index, item, kind, "a step needs a range or *")
        last = found.first if found.last is None else found.last
        if last == 0 and found.first > 0 and found.step is None:
            last = 7  # for "sat-sun", but in all columns
            is_whole = is_whole and kind is WEEKDAY
            item = f"{found.first}-7" if found.first < last else "7"
        if values := range(found.first, last + 1, found.step or 1):
            if not (kind.low <= values[0] and values[-1] <= kind.high):
                raise _bad(index, item, kind, f"not in {kind.low}-{kind.high}")
            # The end of a range may be beyond if no step leads to it.
            kept[item if last <= kind.high else rows_of(values)] = None
        else:
            is_whole = False
    return Column.of(text, list(kept), kind, note="" if is_whole else _part(text, kept, kind, "cronie"))


def _random(index: int, match: re.Match[str], item: str, kind: FieldKind) -> str:
    """Return a random range as `H`, which is as random, but the same at every start."""
    first = _value(index, match["first"], item, kind, kind.names) if match["first"] else kind.low
    last = _value(index, match["last"], item, kind, kind.names) if match["last"] else kind.high
    if first > last:
        raise _bad(index, item, kind, "the range runs backwards")
    return f"H({first}-{last})" if first < last else str(first)


# --- busybox ---


def read_busybox(index: int, text: str, kind: FieldKind) -> Column:
    """Read a column as busybox's crond does; whether all its days match, `is_full` says."""
    size = _BUSYBOX_SIZES[kind]
    low = 0 if kind is DAY else kind.low
    values: set[int] = set()
    notes = []
    for item in text.split(","):
        found = _split(index, item, kind, kind.names, low=low, high=_MANY)
        end = found.first if found.last is None else found.last
        if end >= low + size:  # it wraps the first value of a range, and would never get to this one
            raise _bad(index, item, kind, f"not in {low}-{low + size - 1}")
        if found.is_star:
            first, last = 0, size - 1
        else:
            first = (found.first - low) % size
            last = first if found.last is None else found.last - low
            if found.last is None and found.step is not None:
                notes.append(_part(item, [str(found.first)], kind, "busybox's crond"))
        walked = range(first, first + (last - first) % size + 1, found.step or 1)
        values.update(low + value % size for value in walked)
    is_full = len(values) == size
    values.discard(0 if kind is DAY else -1)
    note = "; ".join(notes)
    if is_full:
        return Column("*", is_star=True, note=note)
    if kind in (MINUTE, HOUR) and re.fullmatch(r"\*/[0-9]+", text):
        return Column(text, is_star=True, note=note)
    return Column(rows_of(values), is_star=False, note=note)


# --- supercronic ---


def read_supercronic(index: int, text: str, kind: FieldKind) -> Column:
    """Read a column as supercronic does."""
    values: set[int] = set()
    rules: dict[str, None] = {}
    high = 6 if kind is WEEKDAY else _LAST_YEAR if kind is YEAR else kind.high
    items = [item for item in text.split(",") if item]
    if not items:
        raise _bad(index, text, kind, "the value is missing")
    if any(item in ("*", "?") for item in items):
        return Column("*", is_star=True)
    for item in items:
        if (kind is DAY and _MONTH_DAY.fullmatch(item)) or (kind is WEEKDAY and _is_nth(item)):
            rules[item] = None
            continue
        found = _split(
            index, item, kind, kind.names, high=high if kind is YEAR else None, has_long_names=True
        )
        if found.is_star:
            first, last = kind.low, high
        else:
            first = found.first % 7 if kind is WEEKDAY else found.first
            last = (
                (first if found.step is None else high)
                if found.last is None
                else (found.last % 7 if kind is WEEKDAY else found.last)
            )
            if last < first:
                raise _bad(index, item, kind, "the range runs backwards, which supercronic rejects")
        if found.step is not None and found.step > high:
            raise _bad(index, item, kind, f"supercronic's steps end at {high}")
        values.update(range(first, last + 1, found.step or 1))
    if kind in (SECOND, MINUTE, HOUR) and re.fullmatch(r"\*/[0-9]+", text):
        return Column(text, is_star=True)
    plain = rows_of(values) if values else ""
    return Column(",".join(filter(None, (plain, *rules))), is_star=False)


def _is_nth(item: str) -> bool:
    match = _NTH.fullmatch(item)
    if match is None:
        return False
    try:
        parse_field(item, WEEKDAY, name="")
    except ScheduleError:
        return False
    return True


# --- all ---


def _split(
    index: int,
    item: str,
    kind: FieldKind,
    names: Iterable[str],
    *,
    low: int | None = None,
    high: int | None = None,
    has_long_names: bool = False,
) -> _Item:
    """Split `*`, a value or a range, with a step."""
    match = _ITEM.fullmatch(item)
    if match is None:
        raise _unknown(index, item, kind)
    step = int(match["step"][:_MAX_DIGITS]) if match["step"] else None
    if step == 0:
        raise _bad(index, item, kind, "the step must be at least 1")
    if match["star"]:
        return _Item(True, 0, None, step)
    bounds = low, high
    first = _value(index, match["first"], item, kind, names, bounds=bounds, has_long_names=has_long_names)
    last = (
        _value(index, match["last"], item, kind, names, bounds=bounds, has_long_names=has_long_names)
        if match["last"]
        else None
    )
    return _Item(False, first, last, step)


def _value(
    index: int,
    word: str,
    item: str,
    kind: FieldKind,
    names: Iterable[str],
    *,
    bounds: tuple[int | None, int | None] = (None, None),
    has_long_names: bool = False,
) -> int:
    """Return the value of a number or a name."""
    low = kind.low if bounds[0] is None else bounds[0]
    high = kind.high if bounds[1] is None else bounds[1]
    if word.isdigit():
        value = int((word.lstrip("0") or "0")[:_MAX_DIGITS])
        if not low <= value <= high:
            raise _bad(index, item, kind, f"not in {low}-{high}")
        return value
    is_known = word.upper() in names or (has_long_names and len(word) > 3 and word.upper() not in _UNUSUAL)
    if not is_known:
        raise _unknown(index, item, kind)
    try:
        (value,) = parse_field(word, kind, name="").values
    except (ScheduleError, ValueError):
        raise _unknown(index, item, kind) from None
    return value


def _bad(index: int, item: str, kind: FieldKind, problem: str) -> BadField:
    return BadField(index, f"{kind.title} {quoted(item)}: {problem}")


def _unknown(index: int, item: str, kind: FieldKind) -> BadField:
    """Return the error for an item that this cron does not know; taskman may."""
    try:
        parse_field(item, kind, name="")
    except ScheduleError as error:
        return BadField(index, str(error))
    return _bad(index, item, kind, "valid in a taskman job file, but not in this crontab")


def _part(text: str, kept: Iterable[str], kind: FieldKind, title: str) -> str:
    read = ",".join(kept)
    return f"{title} reads {kind.title} {quoted(text)} as {quoted(read) if read else 'no value'}"
