"""Errors in cron expressions on the command line, with a mark below the wrong field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable
from taskman_cli.core.schedule.expression import clean, place_of

if TYPE_CHECKING:
    from taskman_cli.errors import ScheduleError

#: The longest expression that is shown with a mark.
_SHOWN = 120


def with_mark(error: ScheduleError, text: str) -> str:
    """Return the error message, and below it the expression with a mark under the error."""
    shown = clean(text)
    if not 0 < len(shown) <= _SHOWN:
        return str(error)
    start, length = place_of(error, shown)
    before, wrong = printable(shown[:start]), printable(shown[start : start + length])
    return f"{error}\n  {printable(shown)}\n  {' ' * len(before)}{'^' * len(wrong)}"
