"""Time zones: finding one by name, and the periods in which its offset from UTC is constant.

Only `ZoneInfo.utcoffset` is used, so everything that zones do (half hours, missing days, offsets with
seconds, rules for the future) is handled in the same way. All times are seconds since 1970 in UTC.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from taskman_cli.core.escapes import quoted_ascii
from taskman_cli.errors import ScheduleError

#: The first and last instants for schedules: a bit less than what `datetime` can hold in every zone.
FIRST_S = int(datetime(1, 1, 3, tzinfo=UTC).timestamp())
LAST_S = int(datetime(9999, 12, 29, tzinfo=UTC).timestamp())

_DAY_S = 86_400
#: Offsets are looked up for this long at a time. No zone has ever changed twice within a day.
_BLOCK_S = 64 * _DAY_S
_MAX_BLOCKS = 1024

_OFFSET = re.compile(r"(?:UTC|GMT|Z)?[ ]?(?P<sign>[+-])(?P<hours>[0-9]{1,2})(?::?(?P<minutes>[0-9]{2}))?")
#: Abbreviations that people use for a zone; each is the offset of one half of the year.
_ABBREVIATIONS = {
    **dict.fromkeys(("CEST", "MESZ", "MEZ"), "Europe/Berlin Europe/Paris"),
    "EEST": "Europe/Helsinki Europe/Athens",
    "WEST": "Europe/Lisbon",
    "BST": "Europe/London",
    "IST": "Asia/Kolkata Europe/Dublin Asia/Jerusalem",
    "MSK": "Europe/Moscow",
    "EDT": "America/New_York",
    "ET": "America/New_York",
    "CST": "America/Chicago Asia/Shanghai",
    "CDT": "America/Chicago",
    "CT": "America/Chicago",
    "MDT": "America/Denver",
    "MT": "America/Denver",
    "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles",
    "PT": "America/Los_Angeles",
    "AKST": "America/Anchorage",
    "AKDT": "America/Anchorage",
    "AST": "America/Halifax",
    "ADT": "America/Halifax",
    "BRT": "America/Sao_Paulo",
    "JST": "Asia/Tokyo",
    "KST": "Asia/Seoul",
    "HKT": "Asia/Hong_Kong",
    "SGT": "Asia/Singapore",
    "AEST": "Australia/Sydney",
    "AEDT": "Australia/Sydney",
    "ACST": "Australia/Adelaide",
    "AWST": "Australia/Perth",
    "NZST": "Pacific/Auckland",
    "NZDT": "Pacific/Auckland",
    "SAST": "Africa/Johannesburg",
}
_CONTINENTS = frozenset(
    ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
)
#: Names this short are too ambiguous for suggestions.
_SHORT = 4

#: Files of the database that load like zones but are not, or differ between machines.
_UTC_NAMES = frozenset({"UTC", "Etc/UTC"})
#: The zone file of UTC (tzfile(5), version 1): one type of local time, with offset 0, named UTC.
_UTC_FILE = b"TZif".ljust(36, b"\0") + b"\0\0\0\1\0\0\0\4" + b"\0" * 6 + b"UTC\0"
_NOT_ZONES = frozenset({"Factory", "localtime", "posixrules"})


def load_zone(name: str) -> ZoneInfo:
    """Return the zone of this name from the system's database."""
    if not name:
        raise ScheduleError('the time zone is empty; it needs a name such as "Europe/Stockholm"')
    is_plain = re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", name) is not None
    if is_plain and name not in _NOT_ZONES and not name.startswith(("posix/", "right/")):
        try:
            return ZoneInfo(name)
        except (KeyError, OSError, ValueError):
            # No such file, a directory, not a zone file, or no database at all.
            if name in _UTC_NAMES:
                return _bare_utc(name)
    if is_plain and not available_timezones():
        raise ScheduleError(
            f"{quoted_ascii(name)} is unknown: no time zone data is installed (apt install tzdata)"
        )
    raise ScheduleError(f"{quoted_ascii(name)} is not a time zone{_hint(name)}")


class _Bytes:
    """The part of the file interface that `ZoneInfo.from_file` asks for."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        found = self._data[self._at : self._at + size]
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = 0) -> None:
        """Go on at another place, from the begin, from here, or from the end."""
        self._at = offset + (0, self._at, len(self._data))[whence]


@cache
def _bare_utc(name: str) -> ZoneInfo:
    """Return UTC if the machine has no time zone database."""
    return ZoneInfo.from_file(_Bytes(_UTC_FILE), key=name)


def _hint(name: str) -> str:
    """Suggest the zone that was probably meant, or show what zone names look like."""
    if match := _OFFSET.fullmatch(name):
        return f": an offset has no clock changes; {_fixed_zone(match)}"
    if cities := _ABBREVIATIONS.get(name.upper()):
        zones = " or ".join(f'"{zone}"' for zone in cities.split())
        return f": it is the abbreviation of an offset (did you mean {zones}?)"
    near = _near(name)
    return f' (did you mean "{near}"?)' if near else '; names look like "Europe/Stockholm" or "UTC"'


def _fixed_zone(match: re.Match[str]) -> str:
    """Suggest a zone for a fixed offset."""
    sign, hours, minutes = match["sign"], int(match["hours"]), int(match["minutes"] or 0)
    if minutes or hours > 12:
        return 'give a zone by its name, such as "Asia/Kolkata"'
    if not hours:
        return 'write "UTC"'
    # These names have POSIX signs, which are inverted.
    return f'write a zone, such as "Europe/Stockholm", or "Etc/GMT{"-" if sign == "+" else "+"}{hours}"'


def _near(name: str) -> str | None:
    """Return the zone that was probably meant: with another case or prefix, or a similar spelling."""
    from taskman_cli.core.nearest import nearest  # imported late: only errors need it

    zones = sorted(available_timezones() - _NOT_ZONES)
    wanted = name[:60].lower().replace(" ", "_")
    city = wanted.rpartition("/")[2]
    same_city = [zone for zone in zones if zone.lower().rpartition("/")[2] == city]
    if same_city:
        # E.g. "Europe/London" for "UK/London"; zones of continents are preferred.
        return min(
            same_city, key=lambda zone: (zone.lower() != wanted, zone.split("/")[0] not in _CONTINENTS)
        )
    if near := nearest(wanted, zones):
        return near
    cities = {zone.rpartition("/")[2]: zone for zone in zones if zone.split("/")[0] in _CONTINENTS}
    near = nearest(city, cities) if len(city) > _SHORT else None
    return cities[near] if near else None


class Piece(NamedTuple):
    """A period with a constant offset from UTC."""

    #: Where the offset changed to this one, or a later instant if that was not searched for.
    start: int
    #: The end, exclusive: the offset changes there, or the search ended.
    end: int
    offset: int
    #: How far the wall clock jumped at `start`: forward over a gap, or back (< 0) into an overlap.
    shift: int


class Offsets:
    """The pieces of a zone, computed in blocks on demand and cached."""

    __slots__ = ("_blocks", "_zone")

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._blocks: dict[int, list[Piece]] = {}

    def piece_at(self, instant: int) -> Piece:
        """Return the piece that contains `instant`; a change up to a day before it is always found."""
        number = instant // _BLOCK_S
        pieces = self._blocks.get(number)
        if pieces is None:
            if len(self._blocks) >= _MAX_BLOCKS:
                self._blocks.clear()
            pieces = self._blocks[number] = self._survey(number * _BLOCK_S - _DAY_S, (number + 1) * _BLOCK_S)
        return pieces[bisect_right(pieces, instant, key=attrgetter("start")) - 1]

    def _survey(self, begin: int, end: int) -> list[Piece]:
        """Split a period at its changes, sampling once a day."""
        pieces = []
        start, offset, shift = begin, self._offset(begin), 0
        for seen in range(begin, end, _DAY_S):
            until = min(seen + _DAY_S, end - 1)
            if (later := self._offset(until)) != offset:
                change = self._change(seen, until)
                pieces.append(Piece(start, change, offset, shift))
                start, offset, shift = change, later, later - offset
        pieces.append(Piece(start, end, offset, shift))
        return pieces

    def _change(self, before: int, after: int) -> int:
        """Return the first instant of the new offset, between two instants whose offsets differ."""
        old = self._offset(before)
        while after - before > 1:
            middle = (before + after) // 2
            if self._offset(middle) == old:
                before = middle
            else:
                after = middle
        return after

    def _offset(self, instant: int) -> int:
        at = datetime.fromtimestamp(min(max(instant, FIRST_S), LAST_S), self._zone)
        delta = at.utcoffset()
        assert delta is not None  # never None for a ZoneInfo
        return delta.days * _DAY_S + delta.seconds


@cache
def offsets_of(name: str) -> Offsets:
    """Return the pieces of the named zone, shared by all its schedules."""
    return Offsets(load_zone(name))
