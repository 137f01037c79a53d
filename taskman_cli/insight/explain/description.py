"""A schedule as one plain sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.schedule import Interval, Once, Reboot
from taskman_cli.core.schedule.expression import parse_expression
from taskman_cli.core.timespec import format_duration
from taskman_cli.insight.explain.daywords import day_words, year_words
from taskman_cli.insight.explain.timewords import time_words

if TYPE_CHECKING:
    from taskman_cli.core.schedule import Schedule
    from taskman_cli.core.schedule.expression import Expression


def schedule_words(schedule: Schedule, *, name: str) -> str:
    """Describe when a schedule is due; `name` is the job's, for `H`."""
    match schedule:
        case Interval(every_ns=every_ns, from_finish=True):
            return f"{format_duration(every_ns)} after the end of each run"
        case Interval(every_ns=every_ns):
            return f"Every {format_duration(every_ns)}"
        case Once():
            return f"Once, {schedule.text}"
        case Reboot():
            return "When taskman first starts after a boot of the machine"
    return expression_words(parse_expression(schedule.text, name=name))


def expression_words(expression: Expression) -> str:
    """Describe when a parsed cron expression is due."""
    times, days = time_words(expression), day_words(expression)
    if not days and len(expression.hour.values) < 24:
        days = "every day"
    words = f"{times}, {days}" if days else times
    return words if expression.year is None else f"{words}, {year_words(expression.year.values)}"
