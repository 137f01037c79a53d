"""The days of a cron expression in words, with the two day fields combined as cron combines them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.schedule.dayrules import LAST, LastDay, NearestWorking, NthWeekday
from taskman_cli.core.schedule.fields import YEAR
from taskman_cli.insight.explain.listing import MONTHS, NTH, WEEKDAYS, joined, names_of, ordinal, step_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.core.schedule.dayrules import DayRule
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


def year_words(years: Sequence[int]) -> str:
    """Describe the years of an expression."""
    step, first, last = step_of(years), years[0], years[-1]
    if step is None or (step > 1 and len(years) <= 4):
        return f"in {joined([str(year) for year in years])}"
    span = f"from {first} on" if last + step > YEAR.high else f"{first} to {last}"
    if step == 1:
        return span if last == YEAR.high else f"in {span}"
    return f"every {ordinal(step)} year {span if span.endswith('on') else f'from {span}'}"


def _days(field: Field) -> str:
    words = _numbers(field.values) if field.values else []
    return joined([*words, *_rules(field)])


def _rules(field: Field) -> list[str]:
    return [_rule(rule) for rule in sorted(field.rules, key=_order)]


def _order(rule: DayRule) -> tuple[int, int, int]:
    """Sort by the day of the month or week; what counts from the end comes last."""
    if isinstance(rule, NthWeekday):
        return rule.nth == LAST, rule.weekday, rule.nth
    if isinstance(rule, NearestWorking):
        return 0, rule.wanted, 0
    return 1, -rule.before, rule.is_working


def rule_day(rule: DayRule) -> str:
    """Name the day that a rule counts from: the last day, or the 15th."""
    if isinstance(rule, NearestWorking):
        return f"the {ordinal(rule.wanted)}"
    assert isinstance(rule, LastDay)
    return "the last day" if rule.before == 0 else f"the {ordinal(rule.before + 1)}-to-last day"


def _rule(rule: DayRule) -> str:
    if isinstance(rule, NthWeekday):
        nth = "last" if rule.nth == LAST else NTH[rule.nth]
        return f"the {nth} {WEEKDAYS[rule.weekday]} of the month"
    if isinstance(rule, LastDay) and not rule.is_working:
        return rule_day(rule)
    return f"the weekday (Monday to Friday) nearest {rule_day(rule)}"


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
    # A week begins on Monday.
    values = sorted((value - 1) % 7 for value in field.values)
    names = (*WEEKDAYS[1:], WEEKDAYS[0])
    rules = _rules(field)
    if not rules:
        return names_of(values, names, last=last)
    return joined([*(names[value] for value in values), *rules], last=last)
