"""Cron schedules: wall times that match, mapped to instants as Debian cron does at clock changes.

A job is *wildcard* if its minute or hour field, or its seconds where given, starts with `*`; else it is
*fixed*. If the wall clock jumps forward by up to three hours, fixed jobs whose time was skipped run once, at
the first instant after the gap; in a repeated hour they run in the first pass only. Wildcard jobs follow the
wall clock, and after a jump of more than three hours all jobs do. tests/unit/test_schedule_clock_changes.py
has what the real daemon does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.escapes import quoted_ascii
from taskman_cli.core.schedule.expression import EVERY, REBOOT, clean, has_hash, parse_expression
from taskman_cli.core.schedule.interval import Interval
from taskman_cli.core.schedule.occurrences import DAY_S, Occurrences
from taskman_cli.core.schedule.once import Reboot
from taskman_cli.core.schedule.zones import FIRST_S, LAST_S, Piece, load_zone, offsets_of
from taskman_cli.core.timespec import parse_duration
from taskman_cli.errors import ScheduleError, TimespecError

if TYPE_CHECKING:
    from taskman_cli.core.schedule.expression import Expression

#: The largest jump that counts as a clock change; beyond it, the calendar itself was changed.
MAX_CHANGE_S = 3 * 3600

#: More than the offsets of a zone can differ: a search may skip ahead to this distance of a match.
_LEAP_MARGIN_S = 2 * DAY_S

_NO_PIECE = Piece(start=1, end=0, offset=0, shift=0)

#: The shortest and longest intervals of `@every`, the same as of the key `every`.
_SHORTEST, _LONGEST = timedelta(milliseconds=10), timedelta(days=36525)

_interned: WeakValueDictionary[tuple[str, str, str | None], CronSchedule | Reboot] = WeakValueDictionary()


def parse_cron(expression: str, *, timezone: str, name: str = "") -> CronSchedule | Reboot | Interval:
    """Parse a cron expression; equal ones in a zone (with `H`: of a job) are the same object.

    `name` is the job's, for `H`; `@every 5m` is an interval. Raises ScheduleError for an invalid expression
    or zone, and for an expression that can never fire.
    """
    key = (expression, timezone, name if has_hash(expression) else None)
    schedule = _interned.get(key)
    if schedule is None:
        text = clean(expression)
        if every := EVERY.fullmatch(text):
            return _interval(every["every"] or "", timezone)
        if text == REBOOT:
            schedule = Reboot(timezone=timezone)
        else:
            parsed = parse_expression(text, name=name)
            schedule = CronSchedule(parsed, timezone=timezone, name=key[2] or "")
        _interned[key] = schedule
    return schedule


def _interval(text: str, timezone: str) -> Interval:
    """Return the interval of `@every`; its slots do not depend on the zone, but are shown in it."""
    load_zone(timezone)
    try:
        every = parse_duration(text)
    except TimespecError as error:
        raise ScheduleError(f"@every: {error}") from None
    if not _SHORTEST <= every <= _LONGEST:
        raise ScheduleError(f"@every: {quoted_ascii(text)} is not between 10ms and 36525d")
    return Interval(every // timedelta(microseconds=1) * 1000, timezone=timezone)


class CronSchedule:
    """The slots of a cron expression in a zone; shared by jobs, see `parse_cron`."""

    __slots__ = (
        "__weakref__",
        "_is_fixed",
        "_last_answer",
        "_offsets",
        "_piece",
        "_wall",
        "has_year",
        "name",
        "text",
        "timezone",
    )

    def __init__(self, expression: Expression, *, timezone: str, name: str = "") -> None:
        self.text = expression.text
        self.timezone = timezone
        #: The job's name, if the expression has `H`.
        self.name = name
        #: Its slots end with a year.
        self.has_year = expression.year is not None
        self._is_fixed = not expression.is_wildcard
        self._offsets = offsets_of(timezone)
        self._wall = Occurrences(expression)
        self._piece = _NO_PIECE
        #: (from, slot, slot in ns): the last answer, since jobs that share the schedule ask the same.
        self._last_answer: tuple[int, int | None, int | None] = (1, 0, 0)

    # Compared by value, since a schedule from another process is not the same object.

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CronSchedule):
            return NotImplemented
        return self is other or self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, str, str]:
        return self.text, self.timezone, self.name

    def __repr__(self) -> str:
        return f"CronSchedule({self.text!r}, timezone={self.timezone!r})"

    def next_after(self, t_ns: int, *, anchor_ns: int = 0) -> int | None:
        """Return the first slot strictly after `t_ns`, or None after the last one before the year 10000."""
        begin = max(t_ns // SECOND_NS + 1, FIRST_S)
        asked, slot, slot_ns = self._last_answer
        if asked <= begin and (slot is None or begin <= slot):
            return slot_ns  # one object, for thousands of jobs
        slot = self._search_forward(begin)
        slot_ns = None if slot is None else slot * SECOND_NS
        self._last_answer = (begin, slot, slot_ns)
        return slot_ns

    def previous(self, t_ns: int, *, anchor_ns: int = 0) -> int | None:
        """Return the last slot at or before `t_ns`, or None before the first one after the year 1."""
        slot = self._search_backward(min(t_ns // SECOND_NS, LAST_S))
        return None if slot is None else slot * SECOND_NS

    @property
    def is_fixed(self) -> bool:
        """Tell whether no field of the time of day starts with `*`."""
        return self._is_fixed

    def stands_for_gap(self, slot_ns: int) -> bool:
        """Tell whether a slot exists because a clock change skipped one or more just before it."""
        instant = slot_ns // SECOND_NS
        piece = self._piece_at(instant)
        return instant == piece.start and self._is_caught_up(piece)

    def _search_forward(self, instant: int) -> int | None:
        """Return the first slot at or after `instant`, searching one constant-offset piece at a time."""
        while instant <= LAST_S:
            piece = self._piece_at(instant)
            if instant == piece.start and self._is_caught_up(piece):
                return instant
            wall = self._wall.next_at(max(instant, self._opening(piece)) + piece.offset)
            match = LAST_S + 1 if wall is None else wall - piece.offset
            if match < piece.end:
                return match if match <= LAST_S else None
            # Nothing matches before this, so the pieces in between can be skipped; but an overlap soon
            # after could repeat wall times from before `instant`.
            if piece.end - instant < _LEAP_MARGIN_S:
                instant = piece.end
            else:
                instant = max(piece.end, match - _LEAP_MARGIN_S)
        return None

    def _search_backward(self, instant: int) -> int | None:
        """Return the last slot at or before `instant`; mirrors the forward search."""
        while instant >= FIRST_S:
            piece = self._piece_at(instant)
            wall = self._wall.previous_at(instant + piece.offset)
            match = FIRST_S - 1 if wall is None else wall - piece.offset
            if match >= self._opening(piece):
                return match if match >= FIRST_S else None
            if self._is_caught_up(piece):
                return piece.start
            if instant - piece.start < _LEAP_MARGIN_S:
                instant = piece.start - 1
            else:
                instant = min(piece.start - 1, match + _LEAP_MARGIN_S)
        return None

    def _piece_at(self, instant: int) -> Piece:
        piece = self._piece
        if not piece.start <= instant < piece.end:
            piece = self._piece = self._offsets.piece_at(instant)
        return piece

    def _opening(self, piece: Piece) -> int:
        """Return where a piece's own slots start; the second pass of an overlap has none for fixed jobs."""
        if self._is_fixed and -MAX_CHANGE_S <= piece.shift < 0:
            return piece.start - piece.shift
        return piece.start

    def _is_caught_up(self, piece: Piece) -> bool:
        """Tell whether the gap before the piece skipped a slot, which runs at its first instant instead."""
        if not (self._is_fixed and 0 < piece.shift <= MAX_CHANGE_S):
            return False
        gap_end = piece.start + piece.offset
        missed = self._wall.next_at(gap_end - piece.shift)
        return missed is not None and missed < gap_end
