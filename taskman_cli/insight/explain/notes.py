"""What may be surprising about a schedule: one named sentence each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.schedule import CronSchedule, Interval, Reboot
from taskman_cli.core.schedule.daypattern import months_without
from taskman_cli.core.schedule.dayrules import LastDay, NearestWorking
from taskman_cli.core.schedule.expression import has_hash, parse_expression
from taskman_cli.core.timespec import format_duration
from taskman_cli.insight.explain.clocknotes import changes_of_year, clock_notes, offset_note
from taskman_cli.insight.explain.daywords import is_both_days, is_either_day, rule_day
from taskman_cli.insight.explain.listing import MONTHS, WEEKDAYS, joined, names_of, ordinal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.schedule import Schedule
    from taskman_cli.core.schedule.dayrules import DayRule
    from taskman_cli.core.schedule.expression import Expression
    from taskman_cli.core.schedule.fields import Field

_DAY_NS = 86_400 * SECOND_NS
_STEP = re.compile(r"(\*|[0-9A-Za-z]+(-[0-9A-Za-z]+)?|H(\(.*\))?)/(?P<step>[0-9]{1,9})", re.IGNORECASE)
#: The first number of an item of the day of week; not the "2" of "FRI#2".
_WEEKDAY_NUMBER = re.compile(r"(?:^|,)L?(?P<number>[0-7])(?P<last>L)?(?![0-9])", re.IGNORECASE)


class Note(NamedTuple):
    """One surprising property of a schedule."""

    name: str
    message: str


def expression_of(schedule: Schedule, *, name: str) -> Expression:
    """Return the fields of a schedule; `name` is the job's, for `H`."""
    return parse_expression(schedule.text, name=name)


def schedule_notes(schedule: Schedule, *, name: str, timezone: str, now_ns: int) -> list[Note]:
    """Return notes on a schedule for the coming year; `timezone` is the job's, for an interval."""
    match schedule:
        case CronSchedule():
            expression = expression_of(schedule, name=name)
            notes = [*expression_notes(expression, name=name)]
            changes = changes_of_year(schedule.timezone, now_ns=now_ns)
            notes += [Note("clock-change", message) for message in clock_notes(schedule, expression, changes)]
            return notes
        case Interval():
            return [*_interval_notes(schedule, timezone=timezone, now_ns=now_ns)]
        case Reboot():
            return [Note("reboot", "It has no times: it runs once after each boot of the machine.")]
    return []


def expression_notes(expression: Expression, *, name: str) -> Iterator[Note]:
    """Yield notes on the fields of an expression, apart from clock changes."""
    if has_hash(expression.text):
        yield Note("hashed", _hashed(expression, name))
    for message in uneven_steps(expression):
        yield Note("uneven-step", message)
    if is_either_day(expression):
        yield Note(
            "either-day",
            (
                "Day of month and day of week are both given, and neither starts with *: it is enough "
                "that one of them matches."
            ),
        )
    elif is_both_days(expression) and not {"*", "?"} & {
        expression.day.text,
        expression.weekday.text,
    }:
        yield Note(
            "both-days",
            "Day of month and day of week are both given, and one of them starts with *: both must match.",
        )
    if working := [rule_day(rule) for rule in expression.day.rules if _is_nearest(rule)]:
        yield Note(
            "nearest-weekday",
            f"If {joined(working, last='or')} is a Saturday or Sunday, it runs on the nearest weekday of the "
            "same month.",
        )
    if message := quartz_weekday(expression):
        yield Note("quartz-weekday", f"{message}.")
    if message := _left_out(expression):
        yield Note("months-left-out", message)


def _is_nearest(rule: DayRule) -> bool:
    return isinstance(rule, NearestWorking) or (isinstance(rule, LastDay) and rule.is_working)


def quartz_weekday(expression: Expression) -> str:
    """Describe a day of week by number in an expression that seems to be Quartz's; else ""."""
    match = _WEEKDAY_NUMBER.search(expression.weekday.text)
    if match is None:
        return ""
    is_quartz = (
        match["last"]
        or "?" in (expression.day.text, expression.weekday.text)
        or (expression.has_second and expression.year is not None)
    )
    if not is_quartz:
        return ""
    number = int(match["number"])
    quartz = f"there, {number} is {WEEKDAYS[number - 1]}" if number else "it has no 0"
    return (
        f'day of week "{expression.weekday.text}": {number} is {WEEKDAYS[number % 7]}, as in cron; '
        f"Quartz counts from 1 (Sunday), so {quartz}"
    )


def uneven_steps(expression: Expression) -> Iterator[str]:
    """Yield a sentence for each step that is uneven where its field wraps around."""
    if "/" not in expression.text:
        return
    fields = (
        ("second", "minute", expression.second, range(60)),
        ("minute", "hour", expression.minute, range(60)),
        ("hour", "day", expression.hour, range(24)),
        ("day", "month", expression.day, range(1, 32)),
        ("month", "year", expression.month, range(1, 13)),
    )
    for index, (unit, whole, field, span) in enumerate(fields):
        match = _STEP.fullmatch(field.text)
        if match is None or not field.values or (step := int(match["step"])) == 1:
            continue
        if step >= len(span):
            only = f'{unit} "{field.text}" only matches {field.values[0]}'
            yield f"{only}: a step of {step} is longer than the {whole}."
            continue
        larger = fields[index + 1][2] if index < 3 else None
        if not _spans(field, step, span) or (larger is not None and not _has_neighbours(larger, index)):
            continue
        first, last = field.values[0], field.values[-1]
        if unit == "day":
            again = f'day of month "{field.text}" starts over each month'
            yield f"{again}: the {ordinal(last)} is followed by the {ordinal(first)}."
            continue
        rest = first + len(span) - last
        if rest != step:
            yield (
                f'{unit} "{field.text}" is uneven: from {last} to {first} of the next {whole} '
                f"is {rest} {unit}{'' if rest == 1 else 's'}, not {step}."
            )


def _spans(field: Field, step: int, span: range) -> bool:
    """Tell whether the steps cover the whole range of their field."""
    return field.values[0] - step < span[0] and field.values[-1] + step > span[-1]


def _has_neighbours(field: Field, index: int) -> bool:
    """Tell whether a field has consecutive values, so that the next smaller unit wraps around."""
    if index == 2:
        return True  # days: nearly always
    size = 60 if index == 0 else 24
    values = set(field.values)
    return any((value + 1) % size in values for value in values)


def _hashed(expression: Expression, name: str) -> str:
    fields = (
        ("second", expression.second),
        ("minute", expression.minute),
        ("hour", expression.hour),
        ("day of month", expression.day),
        ("month", expression.month),
        ("day of week", expression.weekday),
    )
    found = joined(
        [
            f"{title} {joined([str(value) for value in field.values])}"
            for title, field in fields
            if has_hash(field.text)
        ]
    )
    if name:
        return f"H is derived from the name of the job: for {name} it is {found}."
    return f"H is derived from the name of the job; without a name, this is only an example: {found}."


def _left_out(expression: Expression) -> str:
    never, sometimes = months_without(expression.day, expression.month, expression.weekday)
    words = []
    if never:
        words.append(f"It never has a slot in {names_of(never, MONTHS, low=1)}")
    if sometimes == (2,) and not expression.day.rules and not expression.weekday.rules:
        words.append("It has a slot in February only in some years")
    elif len(sometimes) == 12:
        words.append("It does not have a slot every month")
    elif sometimes:
        words.append(f"It does not have a slot every year in {names_of(sometimes, MONTHS, low=1)}")
    return ". ".join(words) + "." if words else ""


def _interval_notes(schedule: Interval, *, timezone: str, now_ns: int) -> Iterator[Note]:
    every_ns, every = schedule.every_ns, format_duration(schedule.every_ns)
    if schedule.from_finish:
        yield Note(
            "drift", "It counts from the end of each run, so its times of day depend on how long runs take."
        )
        return
    if _DAY_NS % every_ns and every_ns % _DAY_NS:
        yield Note("drift", f"A day is not a multiple of {every}: its times of day shift from day to day.")
    elif message := offset_note(timezone, now_ns=now_ns):
        yield Note(
            "drift", (f"It counts elapsed time: {message} Use a cron expression to follow the wall clock.")
        )
