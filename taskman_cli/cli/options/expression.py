"""Cron expressions on the command line: where one is wrong, with a mark below the field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.escapes import printable
from taskman_cli.core.schedule.expression import clean, place_of

if TYPE_CHECKING:
    from taskman_cli.errors import ScheduleError

#: The place of an error is shown in an expression up to this long.
_SHOWN = 120


def marked(error: ScheduleError, text: str) -> str:
    """Return the words of an error, and below them the expression with a mark under what is wrong."""
    shown = clean(text)
    if not 0 < len(shown) <= _SHOWN:
        return str(error)
    start, length = place_of(error, shown)
    before, wrong = printable(shown[:start]), printable(shown[start : start + length])
    return f"{error}\n  {printable(shown)}\n  {' ' * len(before)}{'^' * len(wrong)}"
