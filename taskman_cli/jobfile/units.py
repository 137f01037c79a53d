"""Readers of values with a unit or a meaning: durations, sizes, instants, zones, signals, paths.

The grammars of times are in `core.timespec`; here their errors get a place.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from taskman_cli.core import timespec
from taskman_cli.core.escapes import quoted
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.core.schedule import load_zone
from taskman_cli.core.timespec.durations import PATTERN
from taskman_cli.errors import ScheduleError, TimespecError
from taskman_cli.jobfile.problems import Fault, Rejected, reject
from taskman_cli.jobfile.shapes import shape_of, shaped, whole
from taskman_cli.jobfile.values import Context, Reader, array, mistyped, out_of_range, read_line, read_text

#: The longest duration: a century.
_LONGEST = "36525d"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_SIZE = re.compile(r"(\d{1,19}) ?([KMGT]i?)?B", re.ASCII)
_NEARLY_SIZE = re.compile(r"(\d{1,19})[ \t]*([KMGT])(|B|I|IB)", re.ASCII | re.IGNORECASE)
_SIZE_UNITS = {"": 1} | {
    letter + i: base ** (power + 1)
    for power, letter in enumerate("KMGT")
    for i, base in (("", 1000), ("i", 1024))
}
_SIGNALS = {member.name.removeprefix("SIG"): member.value for member in signal.Signals}
_UMASK = re.compile(r"0?[0-7]{1,3}")


def duration(low: str, *, or_none: bool = False) -> Reader:
    """Return a reader of durations into nanoseconds; `or_none` accepts `"none"` for no limit."""
    low_ns, high_ns = _duration_ns(low), LONGEST_NS
    no_limit = '; write "none" for no limit' if or_none else ""

    @shaped(type="string", pattern=whole(f"{PATTERN}|none" if or_none else PATTERN))
    def read(value: object, _context: Context) -> int | None:
        if type(value) is not str:
            example = f"{value}s" if type(value) is int and 0 < value < 1_000_000 else "90s"
            raise mistyped(value, "a duration", f': write it with a unit, as in "{example}"{no_limit}')
        if or_none and value == "none":
            return None
        duration_ns = _duration_ns(value)
        if not low_ns <= duration_ns <= high_ns:
            raise out_of_range(value, low, _LONGEST, fix=no_limit)
        return duration_ns

    return read


@lru_cache(maxsize=4096)
def _duration_ns(text: str) -> int:
    try:
        return timespec.parse_duration(text) // _MICROSECOND * 1000
    except TimespecError as error:
        raise Rejected(Fault((), str(error), offset=error.column or None)) from None


#: The same in nanoseconds.
LONGEST_NS = _duration_ns(_LONGEST)


@shaped(type="string")  # also a date-time, which editors treat as a string
def read_instant(value: object, context: Context) -> int:
    """Read a date-time, or a string with one, into nanoseconds since 1970."""
    if type(value) is datetime:
        # Without an offset it is read as text, since `timespec` handles clock changes.
        instant = value if value.tzinfo else _parsed(value.isoformat(), context)
    elif type(value) is str:
        instant = _parsed(value, context)
    else:
        raise mistyped(value, "a date-time", _add_time(value) if type(value) is date else "")
    try:
        instant.astimezone(UTC)
    except OverflowError:
        raise reject(str(timespec.out_of_range())) from None
    return (instant - _EPOCH) // _MICROSECOND * 1000


def _parsed(text: str, context: Context) -> datetime:
    if _is_date(text):
        raise mistyped(date.fromisoformat(text), "a date-time", _add_time(text))
    try:
        instant = timespec.parse_fixed(text, zone=context.zone)
        if instant is None:
            raise reject(_moving(text, context))
    except TimespecError as error:
        raise Rejected(Fault((), str(error), offset=error.column or None)) from None
    return instant


def _is_date(text: str) -> bool:
    """Tell whether this is a date alone, to which at(1) would add the current time of day."""
    try:
        return str(date.fromisoformat(text)) == text
    except ValueError:
        return False


def _add_time(day: date | str) -> str:
    return f": add the time, as in {day}T00:00:00"


def _moving(text: str, context: Context) -> str:
    """Say what to write for a time that depends on when it is read; raises TimespecError if invalid."""
    message = f"{quoted(text)} means a different time whenever the file is read: "
    if context.now is None:
        return message + 'write it in full, as in "2026-12-24T15:00"'
    meant = timespec.parse_timespec(text, now=context.now.astimezone(context.zone))
    return message + f'write "{meant.isoformat(timespec="seconds")}", its value now'


@shaped(type="string")
def read_instant_or_none(value: object, context: Context) -> int | None:
    """Read an instant, or `"none"`."""
    return None if value == "none" else read_instant(value, context)


@shaped(type="string", examples=["UTC", "Europe/Stockholm"])
def read_zone(value: object, context: Context) -> ZoneInfo:
    """Read the name of a time zone."""
    try:
        return load_zone(read_line(value, context))
    except ScheduleError as error:
        raise reject(str(error)) from None


def in_zone(context: Context, table: Mapping[str, Any]) -> Context:
    """Return the context for a table's date-times, with its own `timezone` if that is valid."""
    if "timezone" not in table:
        return context
    try:
        return replace(context, zone=read_zone(table["timezone"], context))
    except Rejected:
        return context  # reported when the key itself is read


def _size_hint(text: str) -> str:
    """Suggest the correct unit for a size whose number is valid."""
    match = _NEARLY_SIZE.fullmatch(text.strip())
    if match is None:
        return ""
    prefix, is_binary = match[2].upper(), match[3].lower() in ("", "i", "ib")
    return f' (did you mean "{match[1]}{prefix}{"iB" if is_binary else "B"}"?)'


def _size(most: str) -> Reader:
    """Return a reader of numbers of bytes, with or without a unit."""
    most_bytes = _bytes(most)

    @shaped(
        anyOf=[
            {"type": "integer", "minimum": 1, "maximum": most_bytes},
            {"type": "string", "pattern": whole(_SIZE.pattern)},
        ]
    )
    def read(value: object, context: Context) -> int:
        if type(value) is int:
            size = value
        else:
            if type(value) is not str:
                raise mistyped(value, "a size", ': write bytes, or for example "64KiB" or "10MB"')
            size = _bytes(value)
        if not 1 <= size <= most_bytes:
            raise out_of_range(str(value) if type(value) is str else size, "1", most)
        return size

    return read


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        wrong = f'{quoted(text)} is not a valid size: write bytes, or for example "64KiB" or "10MB"'
        raise reject(wrong + _size_hint(text))
    unit: int = _SIZE_UNITS[match[2] or ""]
    return int(match[1]) * unit


read_size = _size("1TiB")
#: Memory, of which a machine may have more.
read_memory = _size("1024TiB")


@shaped(
    anyOf=[
        {"enum": [*_SIGNALS, *(f"SIG{name}" for name in _SIGNALS)]},
        {"type": "integer", "minimum": 1, "maximum": int(signal.SIGRTMAX)},
    ]
)
def read_signal(value: object, context: Context) -> int:
    """Read a signal by name, with or without SIG, or by number."""
    if type(value) is int:
        if value not in signal.valid_signals():
            raise out_of_range(value, "1", f"{signal.SIGRTMAX}")
        return value
    name = read_line(value, context)
    number = _SIGNALS.get(name.removeprefix("SIG"))
    if number is None:
        raise reject(
            f"{quoted(name)} is not a valid signal{did_you_mean(name.removeprefix('SIG'), _SIGNALS)}"
        )
    return number


@shaped(type="string", pattern=whole(_UMASK.pattern))
def read_umask(value: object, context: Context) -> int:
    """Read a mask of permission bits: octal digits in quotes.

    Not a number, since people who write `umask = 22` mean 0o22, but TOML reads 0o26.
    """
    if type(value) is not str:
        raise mistyped(value, "a string", ': write octal digits in quotes: umask = "022"')
    text = read_line(value, context)
    if not _UMASK.fullmatch(text):
        raise reject(f'{quoted(text)} is not a valid umask: write octal digits, as in "022"')
    return int(text, 8)


@shaped(type="string", pattern="^/")
def read_shell(value: object, context: Context) -> str:
    """Read the absolute path of a shell."""
    path = read_text(value, context)
    if not path.startswith("/"):
        raise reject(f'{quoted(path)} is not an absolute path: write the shell as in "/bin/bash"')
    return path


@shaped(type="string", minLength=1)
def read_pattern(value: object, context: Context) -> str:
    """Read a path that may have wildcards, with `~` expanded."""
    text = read_text(value, context)
    if not text:
        raise reject("empty: leave the key out or name a path")
    if text[0] != "~":
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise reject(f"{quoted(text)}: no such home directory") from None


@shaped(type="string", minLength=1)
def read_path(value: object, context: Context) -> str:
    """Read a path and make it absolute, relative to the job file's directory."""
    path = read_pattern(value, context)
    return path if path[0] == "/" else str(context.directory / path)


_paths = array(read_path, example='["a.env", "b.env"]')


@shaped(anyOf=[shape_of(read_path), shape_of(_paths)])
def read_paths(value: object, context: Context) -> tuple[str, ...]:
    """Read a path or an array of paths."""
    if type(value) is list:
        paths: tuple[str, ...] = _paths(value, context)
        return paths
    return (read_path(value, context),)


@shaped(anyOf=[{"type": "integer", "minimum": 0}, shape_of(read_path)])
def read_trusted(value: object, context: Context) -> int | str:
    """Read a user id or a path, made absolute."""
    if type(value) is int:
        if value < 0:
            raise reject("a user id cannot be negative")
        return value
    return read_path(value, context)
