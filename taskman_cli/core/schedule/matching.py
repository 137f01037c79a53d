"""Which fields of a cron expression match a wall time, to explain why it is not a slot. No zones here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.schedule.daypattern import is_day_of_month, is_day_of_week
from taskman_cli.core.schedule.fields import DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, YEAR

if TYPE_CHECKING:
    from datetime import datetime

    from taskman_cli.core.schedule.expression import Expression


class Match(NamedTuple):
    """One field compared with a wall time."""

    #: The `FieldKind.title`: "minute", "day of week".
    name: str
    #: The value of the wall time; Sunday is 0.
    value: int
    #: The field as written.
    expression: str
    is_match: bool


class Comparison(NamedTuple):
    """All fields of an expression compared with a wall time, in order."""

    #: Without the second if the expression has none and the wall time is at second 0.
    fields: tuple[Match, ...]
    #: One of the day fields starts with `*`, so both must match, not either.
    is_both_days: bool
    #: The day matches, with both day fields combined.
    is_day_match: bool

    @property
    def is_match(self) -> bool:
        """Tell whether the wall time matches."""
        return self.is_day_match and all(field.is_match for field in self.fields if not is_day_field(field))

    def to_blame(self) -> list[Match]:
        """Return the fields that do not match; of two day fields of which one suffices, both or none."""
        return [
            field
            for field in self.fields
            if not field.is_match and not (is_day_field(field) and self.is_day_match)
        ]


def is_day_field(match: Match) -> bool:
    """Tell whether a field is the day of month or the day of week."""
    return match.name in (DAY.title, WEEKDAY.title)


def compare(expression: Expression, wall: datetime, *, has_second: bool) -> Comparison:
    """Compare a wall time with an expression; without `has_second` ignore the second."""
    weekday = wall.isoweekday() % 7
    fields = [
        Match(MINUTE.title, wall.minute, expression.minute.text, wall.minute in expression.minute.values),
        Match(HOUR.title, wall.hour, expression.hour.text, wall.hour in expression.hour.values),
        Match(DAY.title, wall.day, expression.day.text, is_day_of_month(expression.day, wall.date())),
        Match(MONTH.title, wall.month, expression.month.text, wall.month in expression.month.values),
        Match(
            WEEKDAY.title, weekday, expression.weekday.text, is_day_of_week(expression.weekday, wall.date())
        ),
    ]
    is_both = expression.day.is_star or expression.weekday.is_star
    days = [field.is_match for field in fields if is_day_field(field)]
    if expression.year is not None:
        fields.append(Match(YEAR.title, wall.year, expression.year.text, wall.year in expression.year.values))
    if has_second:
        second = Match(
            SECOND.title, wall.second, expression.second.text, wall.second in expression.second.values
        )
        fields.insert(0, second)
    return Comparison(tuple(fields), is_both, all(days) if is_both else any(days))
