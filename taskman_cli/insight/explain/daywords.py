"""The days of a cron expression in words, with the two day fields combined as cron combines them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.insight.explain.listing import MONTHS, NTH, WEEKDAYS, joined, names_of, ordinal, step_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.core.schedule.expression import Expression
    from taskman_cli.core.schedule.fields import Field


def is_either_day(expression: Expression) -> bool:
    """Tell whether both day fields are restricted and either may match."""
    return not (is_both_days(expression) or _is_any_day(expression) or _is_any_weekday(expression))


def is_both_days(expression: Expression) -> bool:
    """Tell whether both day fields must match."""
    return expression.day.is_star or expression.weekday.is_star


def _is_any_day(expression: Expression) -> bool:
    return len(expression.day.values) == 31


def _is_any_weekday(expression: Expression) -> bool:
    return len(expression.weekday.values) == 7


def day_words(expression: Expression) -> str:
    """Describe the days; "" for every day of every month."""
    day, weekday, months = expression.day, expression.weekday, expression.month.values
    is_any_day, is_any_weekday = _is_any_day(expression), _is_any_weekday(expression)
    is_both = is_both_days(expression)
    in_months = "" if len(months) == 12 else f", in {names_of(months, MONTHS, low=1)}"
    if (is_any_day and is_any_weekday) or (not is_both and (is_any_day or is_any_weekday)):
        return f"every day{in_months}" if in_months else ""
    if is_any_day:
        return f"{_on_weekdays(weekday)}{in_months}"
    if is_any_weekday:
        return f"on {_days(day)} of {names_of(months, MONTHS, low=1) if in_months else 'every month'}"
    if is_both:
        return f"on {_days(day)} of the month, only if that is {_weekdays(weekday, last='or')}{in_months}"
    return f"on {_days(day)} of the month or {_on_weekdays(weekday)}{in_months}"


def _days(field: Field) -> str:
    if field.special.endswith("w"):
        return f"the weekday (Monday to Friday) nearest the {ordinal(int(field.special[:-1]))}"
    items = field.special.split(",") if field.special else []
    values = [int(item) for item in items if item != "l"] or field.values
    words = [] if field.special == "l" else _numbers(values)
    return joined([*words, "the last day"] if field.special else words)


def _numbers(values: Sequence[int]) -> list[str]:
    """Describe days of the month: as a range, as steps, or one by one."""
    step = step_of(values)
    if step == 1:
        return [f"the {ordinal(values[0])} to the {ordinal(values[-1])}"]
    if step is not None and len(values) > 4:
        return [f"every {ordinal(step)} day from the {ordinal(values[0])} to the {ordinal(values[-1])}"]
    return [f"the {ordinal(value)}" for value in values]


def _on_weekdays(field: Field) -> str:
    words = _weekdays(field)
    return words if " to " in words else f"on {words}"


def _weekdays(field: Field, *, last: str = "and") -> str:
    if field.special:
        return joined([_special(item) for item in sorted(set(field.special.split(",")))], last=last)
    # A week begins on Monday.
    values = sorted((value - 1) % 7 for value in field.values)
    return names_of(values, (*WEEKDAYS[1:], WEEKDAYS[0]), last=last)


def _special(item: str) -> str:
    if item.startswith("l"):
        return f"the last {WEEKDAYS[int(item[1:])]} of the month"
    day, nth = item.split("#")
    return f"the {NTH[int(nth)]} {WEEKDAYS[int(day)]} of the month"
