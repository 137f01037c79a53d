"""Errors in cron expressions on the command line, with a mark below the wrong field."""

from __future__ import annotations

from taskman_cli.core.escapes import printable
from taskman_cli.core.schedule.expression import clean, place_of
from taskman_cli.errors import ScheduleError

#: The longest expression that is shown with a mark.
_SHOWN = 120


def expression_of(text: str, dialect: str | None) -> str:
    """Return a cron expression of a dialect in our own grammar; raises ScheduleError."""
    if dialect is None:
        return text
    from taskman_cli.jobfile.crontab.columns import BadText, read_time
    from taskman_cli.jobfile.crontab.dialect import Dialect

    try:
        # Every line needs a command.
        schedule = read_time(f"{clean(text)} x", 0, Dialect(dialect)).schedule
    except BadText as error:
        raise ScheduleError(str(error)) from None
    if schedule.expression is None:
        raise ScheduleError("; ".join(schedule.notes))
    return schedule.expression


def with_mark(error: ScheduleError, text: str) -> str:
    """Return the error message, and below it the expression with a mark under the error."""
    shown = clean(text)
    if not 0 < len(shown) <= _SHOWN:
        return str(error)
    start, length = place_of(error, shown)
    before, wrong = printable(shown[:start]), printable(shown[start : start + length])
    return f"{error}\n  {printable(shown)}\n  {' ' * len(before)}{'^' * len(wrong)}"
