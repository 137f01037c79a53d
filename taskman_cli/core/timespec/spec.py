"""A parsed time specification: frozen data, not yet related to any `now`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Clock(NamedTuple):
    """A time of day."""

    #: 24 is the end of the day, without minutes.
    hour: int
    minute: int
    #: None if not given.
    second: int | None = None
    is_utc: bool = False
    column: int = 0


class RelativeDay(NamedTuple):
    """Today plus a number of days."""

    days: int


class Weekday(NamedTuple):
    """A day of the week; 0 is Monday."""

    number: int
    #: Today may match, too ("this friday").
    may_be_today: bool = False


class MonthDay(NamedTuple):
    """A day of a month, without a year."""

    month: int
    day: int


class FullDate(NamedTuple):
    """A full date, which is valid."""

    year: int
    month: int
    day: int


class Shift(NamedTuple):
    """A shift forward or back."""

    minutes: int = 0
    days: int = 0
    months: int = 0

    @property
    def is_of_clock(self) -> bool:
        """Tell whether it is elapsed time, rather than days."""
        return not self.days and not self.months

    @property
    def size(self) -> tuple[int, int, int]:
        """Return the sort key of periods."""
        return self.months, self.days, self.minutes

    def times(self, count: int) -> Shift:
        """Return the shift multiplied by `count`."""
        return Shift(*(count * part for part in self))


@dataclass(frozen=True)
class Spec:
    """A parsed time specification, not yet related to any `now`."""

    clock: Clock | None = None
    day: RelativeDay | Weekday | MonthDay | FullDate | None = None
    #: In the order in which they apply.
    shifts: tuple[Shift, ...] = ()
    #: The column of the day.
    column: int = 0
    #: A length without a direction ("2 months").
    is_length: bool = False
    #: A time of day without a day, perhaps with a shift of minutes or hours.
    is_bare: bool = False

    @property
    def has_year(self) -> bool:
        """Tell whether the year is given."""
        return isinstance(self.day, FullDate)

    @property
    def is_fixed(self) -> bool:
        """Tell whether it does not depend on now."""
        return self.has_year and self.clock is not None
