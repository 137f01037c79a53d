"""Clock changes of a zone: which wall times they skip, and which they repeat."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.schedule.zones import FIRST_S, LAST_S, offsets_of

if TYPE_CHECKING:
    from taskman_cli.core.schedule.zones import Piece

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (wall time)
_DAY_S = 86_400


class Change(NamedTuple):
    """A clock change: the clocks jump from `before` to `after`, both naive wall times."""

    at_ns: int
    before: datetime
    after: datetime

    @property
    def is_gap(self) -> bool:
        """Tell whether the clocks jumped forward."""
        return self.after > self.before

    @property
    def shift_ns(self) -> int:
        """Return how far the clocks jumped; negative if back."""
        return (self.after - self.before) // timedelta(seconds=1) * SECOND_NS

    def is_touched(self, wall: datetime) -> bool:
        """Tell whether the change skips or repeats a naive wall time."""
        return min(self.before, self.after) <= wall < max(self.before, self.after)


def instants_of(wall: datetime, timezone: str) -> list[int]:
    """Return the instants (ns) of a naive wall time: one, none in a gap, two in an overlap."""
    second = (wall - _EPOCH) // timedelta(seconds=1)
    found = []
    for piece in _pieces_around(second, timezone):
        instant = second - piece.offset
        if piece.start <= instant < piece.end and instant not in found:
            found.append(instant)
    return [instant * SECOND_NS + wall.microsecond * 1000 for instant in sorted(found)]


def change_touching(wall: datetime, timezone: str) -> Change | None:
    """Return the clock change that skips or repeats a naive wall time, or None."""
    for piece in _pieces_around((wall - _EPOCH) // timedelta(seconds=1), timezone):
        if piece.shift and (change := _change(piece)).is_touched(wall):
            return change
    return None


def change_at(instant_ns: int, timezone: str) -> Change | None:
    """Return the clock change at an instant, or None."""
    piece = offsets_of(timezone).piece_at(instant_ns // SECOND_NS)
    return _change(piece) if piece.shift and piece.start == instant_ns // SECOND_NS else None


def changes_between(first_ns: int, end_ns: int, timezone: str) -> list[Change]:
    """Return the clock changes in [`first_ns`, `end_ns`)."""
    offsets = offsets_of(timezone)
    instant, end = first_ns // SECOND_NS, min(end_ns // SECOND_NS, LAST_S)
    changes = []
    while instant < end:
        piece = offsets.piece_at(instant)
        if piece.shift and piece.start == instant:
            changes.append(_change(piece))
        instant = piece.end
    return changes


def _change(piece: Piece) -> Change:
    after = _EPOCH + timedelta(seconds=piece.start + piece.offset)
    return Change(piece.start * SECOND_NS, after - timedelta(seconds=piece.shift), after)


def _pieces_around(second: int, timezone: str) -> list[Piece]:
    """Return the pieces within a day and a half of a wall time: more than any offset from UTC."""
    offsets = offsets_of(timezone)
    instant, until = max(second - 3 * _DAY_S // 2, FIRST_S), min(second + 3 * _DAY_S // 2, LAST_S)
    pieces = []
    while instant <= until:
        pieces.append(offsets.piece_at(instant))
        instant = pieces[-1].end
    return pieces


def naive_time_at(instant_ns: int, timezone: str) -> datetime:
    """Return the naive wall time at an instant."""
    second = instant_ns // SECOND_NS
    offset = offsets_of(timezone).piece_at(second).offset
    return _EPOCH + timedelta(seconds=second + offset, microseconds=instant_ns % SECOND_NS // 1000)
