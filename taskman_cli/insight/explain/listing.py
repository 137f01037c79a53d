"""Names of days, and lists of numbers and names: "1st, 2nd and 5th", "Monday to Friday"."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
#: Starting with Sunday, as in cron fields.
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
# Not strftime: it would follow the locale.
_SHORT = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NTH = ("", "first", "second", "third", "fourth", "fifth")


def day_name(moment: datetime) -> str:
    """Write a date with its weekday."""
    return f"{_SHORT[moment.weekday()]} {moment.date().isoformat()}"


def joined(words: Sequence[str], *, last: str = "and") -> str:
    """Join words as a sentence does."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def ordinal(number: int) -> str:
    """Write e.g. "1st" or "12th"."""
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def step_of(values: Sequence[int]) -> int | None:
    """Return the distance between evenly spaced values; None if they are uneven or fewer than three."""
    if len(values) < 3:
        return None
    step = values[1] - values[0]
    return step if all(b - a == step for a, b in pairwise(values)) else None


def names_of(values: Sequence[int], names: Sequence[str], *, low: int = 0, last: str = "and") -> str:
    """Name values; three or more consecutive ones become a range."""
    words = [names[value - low] for value in values]
    return f"{words[0]} to {words[-1]}" if step_of(values) == 1 else joined(words, last=last)
