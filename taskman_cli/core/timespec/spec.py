"""What a time specification says: frozen data, not yet related to any now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Clock(NamedTuple):
    """A time of day."""

    #: 24 is the end of the day, with no minute after it.
    hour: int
    minute: int
    #: None where none was said.
    second: int | None = None
    is_utc: bool = False
    column: int = 0


class RelativeDay(NamedTuple):
    """Today, or a day so many after it."""

    days: int


class Weekday(NamedTuple):
    """The day of that name; 0 is Monday."""

    number: int
    #: Today counts, too ("this friday").
    may_be_today: bool = False


class MonthDay(NamedTuple):
    """A day of a month, without its year."""

    month: int
    day: int


class FullDate(NamedTuple):
    """A day of a month of a year; there is such a day."""

    year: int
    month: int
    day: int


class Shift(NamedTuple):
    """How far to go on from there, or back."""

    minutes: int = 0
    days: int = 0
    months: int = 0

    @property
    def is_of_clock(self) -> bool:
        """Say whether it is elapsed time, rather than days."""
        return not self.days and not self.months

    @property
    def size(self) -> tuple[int, int, int]:
        """Return what periods are ordered by."""
        return self.months, self.days, self.minutes

    def times(self, count: int) -> Shift:
        """Return so many of it."""
        return Shift(*(count * part for part in self))


@dataclass(frozen=True)
class Spec:
    """A time specification, read but not yet related to any now."""

    clock: Clock | None = None
    day: RelativeDay | Weekday | MonthDay | FullDate | None = None
    #: In the order in which they are to be taken.
    shifts: tuple[Shift, ...] = ()
    #: Where the day stands.
    column: int = 0
    #: It says how long, and not which way ("2 months").
    is_length: bool = False
    #: A time of day, perhaps with minutes or hours to go on, and no word of the day.
    is_bare: bool = False

    @property
    def has_year(self) -> bool:
        """Say whether the day is of a year that was said."""
        return isinstance(self.day, FullDate)

    @property
    def is_fixed(self) -> bool:
        """Say whether it means the same whenever it is read."""
        return self.has_year and self.clock is not None
