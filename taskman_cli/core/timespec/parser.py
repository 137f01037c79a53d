"""The entry point: a time as a person types it, in any form."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.timespec.durations import PATTERN, parse_duration
from taskman_cli.core.timespec.instants import is_instant, out_of_range, parse_epoch, parse_instant
from taskman_cli.core.timespec.spec import Spec
from taskman_cli.errors import TimespecError

if TYPE_CHECKING:
    from datetime import tzinfo

    from taskman_cli.core.timespec.resolve import Prefer

#: Recognises a duration, valid or not; "16h30" is a time of day instead, as in at(1).
_DURATION = re.compile(PATTERN, re.IGNORECASE | re.ASCII)
#: The same, counted from now.
_RELATIVE = re.compile(
    rf"(?P<ahead>in[ \t]+|\+[ \t]*)?(?P<length>{PATTERN})[ \t]*(?P<way>ago|from[ \t]+now)?",
    re.IGNORECASE | re.ASCII,
)
_FROM_NOW = re.compile(r"now|in\b|\+|[0-9]+[ \t]*(?:mo|y)", re.IGNORECASE)
_BLANKS = " \t\r\n"
#: The `now` for times that do not depend on it.
_ANY = datetime(2000, 1, 1, tzinfo=UTC)


def parse_timespec(text: str, *, now: datetime) -> datetime:
    """Parse when something is to happen, and return the instant in the zone of `now`.

    Accepts everything that at(1) does, ISO 8601, "@1700000000" and durations from now ("1h30m", "in 2
    hours"); the rules are in `resolve`. As in at(1), a time without seconds means a full minute, and "now" is
    the current minute. Raises TimespecError for invalid and impossible times and for the past.
    """
    return _parse(text, now=now, prefer="future", is_past_fine=False)[1]


def parse_moment(text: str, *, now: datetime, prefer: Prefer) -> datetime:
    """Parse a time that may be in the past, and return the instant in the zone of `now`.

    Like `parse_timespec`, but a day without a time starts at midnight; and with `prefer="past"` a duration is
    how long ago, and a time of day, a weekday or a day without a year is the latest one.
    """
    return _parse(text, now=now, prefer=prefer, is_past_fine=True)[1]


def is_duration(text: str) -> bool:
    """Tell whether a text is a duration, valid or not, rather than a time."""
    return _DURATION.fullmatch(text.strip(_BLANKS)) is not None


def is_relative(text: str) -> bool:
    """Tell whether a text is a duration from now, valid or not: "2h", "2 hours ago", "in 2h"."""
    return _relative(text.strip(_BLANKS)) is not None


def is_from_now(text: str) -> bool:
    """Tell whether a valid time is relative to now: "2h", "in 2 months", "now + 3 days"."""
    stripped = text.strip(_BLANKS)
    return _relative(stripped) is not None or _FROM_NOW.match(stripped) is not None


def parse_ago(text: str) -> timedelta | None:
    """Parse how long ago: "2h" or "2 hours ago"; None for any other text. Raises TimespecError."""
    relative = _relative(text.strip(_BLANKS))
    return None if relative is None or relative.sign > 0 else relative.duration()


def is_day(text: str) -> bool:
    """Tell whether a valid time is a day without a time of day."""
    stripped = text.strip(_BLANKS)
    if stripped[0] == "@" or _relative(stripped) or is_instant(stripped):
        return False
    from taskman_cli.core.timespec.grammar import parse_spec

    spec = parse_spec(stripped)
    return spec.day is not None and spec.clock is None


def parse_fixed(text: str, *, zone: tzinfo) -> datetime | None:
    """Parse a time that does not depend on now, past or not; None for one that does.

    Accepts ISO 8601, "@1700000000", and at(1) times with a year and a time of day. Raises TimespecError for
    invalid and impossible times.
    """
    stripped = text.strip(_BLANKS)
    if (relative := _relative(stripped)) is not None:
        relative.duration()
        return None
    spec, instant = _parse(text, now=_ANY.astimezone(zone), prefer="future", is_past_fine=True)
    is_fixed = spec is None or spec.is_fixed or stripped[0] == "@"
    return instant if is_fixed else None


def _parse(text: str, *, now: datetime, prefer: Prefer, is_past_fine: bool) -> tuple[Spec | None, datetime]:
    """Return the instant and its specification; None if it was written in full or is relative."""
    if now.tzinfo is None:
        raise ValueError("now needs a zone")
    stripped = text.strip(_BLANKS)
    if not stripped:
        raise TimespecError('the time is empty; write for example "4pm tomorrow" or "2026-12-24 15:00"')
    try:
        spec, instant = _read(stripped, now, prefer, from_midnight=is_past_fine)
        if not is_past_fine:
            _refuse_past(instant, spec, now)
        # Fails here rather than in later computations if it is out of range.
        instant.astimezone(UTC)
    except TimespecError as error:
        blanks = len(text) - len(text.lstrip(_BLANKS))
        raise TimespecError(str(error), column=error.column + blanks) from None
    except OverflowError:
        raise out_of_range() from None
    return spec, instant


def _read(text: str, now: datetime, prefer: Prefer, *, from_midnight: bool) -> tuple[Spec | None, datetime]:
    zone = now.tzinfo
    assert zone is not None  # the caller checked it
    if text[0] == "@":
        return Spec(), parse_epoch(text, zone=zone)
    if (relative := _relative(text)) is not None:
        sign = relative.sign or (-1 if prefer == "past" else 1)
        return None, (now.astimezone(UTC) + sign * relative.duration()).astimezone(zone)
    if is_instant(text):
        return None, parse_instant(text, zone=zone)
    # Imported late: commands that read only durations do not need the grammar.
    from taskman_cli.core.timespec.grammar import parse_spec
    from taskman_cli.core.timespec.resolve import resolve

    spec = parse_spec(text)
    if spec.is_length and prefer == "past":
        spec = replace(spec, shifts=tuple(shift.times(-1) for shift in spec.shifts))
    return spec, resolve(spec, now=now, prefer=prefer, from_midnight=from_midnight)


class _Relative(NamedTuple):
    """A duration counted from now."""

    length: str
    #: Its column.
    column: int
    #: -1: ago; 1: from now; 0: unspecified.
    sign: int

    def duration(self) -> timedelta:
        """Parse the length. Raises TimespecError."""
        try:
            return parse_duration(self.length)
        except TimespecError as error:
            raise TimespecError(str(error), column=error.column + self.column) from None


def _relative(text: str) -> _Relative | None:
    match = _RELATIVE.fullmatch(text)
    if match is None or (match["ahead"] and match["way"]):
        return None
    sign = -1 if (match["way"] or "").lower() == "ago" else 1 if match["ahead"] or match["way"] else 0
    return _Relative(match["length"].rstrip(_BLANKS), match.start("length"), sign)


def _refuse_past(instant: datetime, spec: Spec | None, now: datetime) -> None:
    """Reject a time in the past; a full minute is past when the next one begins."""
    is_full_minute = not instant.second and not instant.microsecond
    first = now.replace(second=0, microsecond=0) if is_full_minute else now.replace(microsecond=0)
    # In UTC: within one zone, Python compares wall times.
    if instant.astimezone(UTC) >= first.astimezone(UTC):
        return
    column = 0
    if spec is not None:
        column = spec.clock.column if spec.day is None and spec.clock is not None else spec.column
    raise TimespecError(
        f"{_shown(instant)} is in the past: it is now {_shown(first)}{_hint(instant, spec, first)}",
        column=column,
    )


def _hint(instant: datetime, spec: Spec | None, now: datetime) -> str:
    """Suggest what a time in the past could mean: its second pass, tomorrow, or a later year."""
    second_pass = instant.replace(fold=1)
    if second_pass.astimezone(UTC) >= now.astimezone(UTC):
        meant = second_pass.isoformat(timespec="minutes")
        return f'; the clocks show it a second time: did you mean "{meant}"?'
    if spec is not None and (spec.shifts or spec.clock is None):
        return ""
    if instant.date() == now.date():
        return f'; did you mean "{_shown(instant)[11:]} tomorrow"?'
    if spec is not None and not spec.has_year:
        return ""
    for year in (now.year, now.year + 1):
        # Not every year has a 29 February, and there is no year 10000.
        with suppress(ValueError):
            if (later := instant.replace(year=year)).replace(tzinfo=None) > now.replace(tzinfo=None):
                return f'; did you mean "{_shown(later)}"?'
    return ""


def _shown(instant: datetime) -> str:
    """Write a wall time to the minute, or to the second if it has any."""
    return instant.replace(tzinfo=None).isoformat(" ", "seconds" if instant.second else "minutes")
