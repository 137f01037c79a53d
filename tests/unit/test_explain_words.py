"""Schedules in words: what they say, and that they never say the same of two that differ."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.schedule import Interval, Once, Reboot, parse_cron
from taskman_cli.core.schedule.daypattern import day_pattern
from taskman_cli.core.schedule.expression import Expression, parse_expression
from taskman_cli.errors import ScheduleError
from taskman_cli.insight.explain import schedule_words
from taskman_cli.insight.explain.description import expression_words

MIDNIGHT = "At 00:00,"
NEAREST = "the weekday (Monday to Friday) nearest"
ODD = " on every 2nd day from the 1st to the 31st "
ELEVEN = "the 11th, the 12th, the 13th, "


def words(text: str) -> str:
    return expression_words(parse_expression(text, name="job"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", "Every minute"),
        ("0-59 * * * *", "Every minute"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("*/7 * * * *", "Every 7 minutes from minute 0 to 56 of every hour"),
        ("*/90 * * * *", "Every hour, on the hour"),
        ("5,20,35,50 * * * *", "Every 15 minutes from minute 5 to 50 of every hour"),
        ("5-5 * * * *", "At minute 5 of every hour"),
        ("1,*/20 * * * *", "At minutes 0, 1, 20 and 40 of every hour"),
        ("@hourly", "Every hour, on the hour"),
        ("@daily", "At 00:00, every day"),
        ("@weekly", "At 00:00, on Sunday"),
        ("@yearly", "At 00:00, on the 1st of January"),
        ("30 2 * * 1-5", "At 02:30, Monday to Friday"),
        ("0 0 * * 5-7", "At 00:00, Friday to Sunday"),
        ("0 0 * * 0,6", "At 00:00, on Saturday and Sunday"),
        ("0 0 * * 0-7", "At 00:00, every day"),
        ("0 9-17/2 * * 1-5", "At 09:00, 11:00, 13:00, 15:00 and 17:00, Monday to Friday"),
        ("0 9,12-17 * * *", "At 09:00, 12:00, 13:00, 14:00, 15:00, 16:00 and 17:00, every day"),
        ("23 0-20/2 * * *", "Every 2 hours from 00:23 to 20:23, every day"),
        ("15 8-18 * * *", "Every hour from 08:15 to 18:15, every day"),
        ("*/15 9-17 * * *", "Every 15 minutes from 09:00 to 17:45, every day"),
        ("* 9 * * *", "Every minute from 09:00 to 09:59, every day"),
        ("*/7 9 * * *", "Every 7 minutes from minute 0 to 56 of hour 9, every day"),
        ("3,7 9-17 * * *", "At minutes 3 and 7 of hours 9 to 17, every day"),
        ("*/10 3,5 * * *", "Every 10 minutes of hours 3 and 5, every day"),
        ("0 0 1 * 1", "At 00:00, on the 1st of the month or on Monday"),
        ("30 4 1-7 * 1", "At 04:30, on the 1st to the 7th of the month or on Monday"),
        ("0 0 1-31 * 1", "At 00:00, every day"),
        ("0 0 1-31 6 1", "At 00:00, every day, in June"),
        ("0 0 */2 * 1", MIDNIGHT + ODD + "of the month, only if that is Monday"),
        ("0 0 1 * */3", f"{MIDNIGHT} on the 1st of the month, only if that is Wednesday, Saturday or Sunday"),
        ("0 0 11-13,22,23,31 * *", f"{MIDNIGHT} on {ELEVEN}the 22nd, the 23rd and the 31st of every month"),
        ("0 0 1 */3 *", "At 00:00, on the 1st of January, April, July and October"),
        ("0 9 * 1-3,12 *", "At 09:00, every day, in January, February, March and December"),
        ("0 0 * JAN-MAR MON", "At 00:00, on Monday, in January to March"),
        ("* * * 7 *", "Every minute, every day, in July"),
        ("0 0 L * *", "At 00:00, on the last day of every month"),
        ("0 0 5,L * *", "At 00:00, on the 5th and the last day of every month"),
        ("0 0 15W * *", "At 00:00, on the weekday (Monday to Friday) nearest the 15th of every month"),
        ("0 0 * * L5", "At 00:00, on the last Friday of the month"),
        ("0 0 * * 5#2,L1", f"{MIDNIGHT} on the second Friday of the month and the last Monday of the month"),
        ("0 0 L * L5", "At 00:00, on the last day of the month or on the last Friday of the month"),
        ("30 30 2 * * *", "At 02:30:30, every day"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("* * * * * *", "Every second"),
        ("30 * * * * *", "At second 30 of every minute"),
        ("*/7 * * * * *", "Every 7 seconds from second 0 to 56 of every minute"),
        ("0 0 ? * MON", "At 00:00, on Monday"),
        ("0 0 1 * ?", "At 00:00, on the 1st of every month"),
        ("0/20 * * * *", "Every 20 minutes"),
        ("5/20 * * * *", "Every 20 minutes from minute 5 to 45 of every hour"),
        ("0 22-2 * * *", "At 00:00, 01:00, 02:00, 22:00 and 23:00, every day"),
        ("0 0 * * FRI-MON", "At 00:00, on Monday, Friday, Saturday and Sunday"),
        ("0 0 * * FRIL", "At 00:00, on the last Friday of the month"),
        ("0 0 LW * *", "At 00:00, on the weekday (Monday to Friday) nearest the last day of every month"),
        ("0 0 L-3 * *", "At 00:00, on the 4th-to-last day of every month"),
        ("0 0 L-3W 6 *", "At 00:00, on the weekday (Monday to Friday) nearest the 4th-to-last day of June"),
        ("0 0 1W,L,5 * *", f"{MIDNIGHT} on the 5th, {NEAREST} the 1st and the last day of every month"),
        ("0 0 * * MON,WED,FRI#2", "At 00:00, on Monday, Wednesday and the second Friday of the month"),
        ("0 0 * * 1,2,6#2", "At 00:00, on Monday, Tuesday and the second Saturday of the month"),
        ("0 0 1 1 * 2030", "At 00:00, on the 1st of January, in 2030"),
        ("* * * * * 2030-2032", "Every minute, in 2030 to 2032"),
        ("0 0 * * * 2030,2032", "At 00:00, every day, in 2030 and 2032"),
        ("0 0 * * * 2030-2040/2", "At 00:00, every day, every 2nd year from 2030 to 2040"),
        ("0 0 * * * 2030/2", "At 00:00, every day, every 2nd year from 2030 on"),
        ("0 0 * * * 2030/1", "At 00:00, every day, from 2030 on"),
        ("*/5 0 9-17 * * *", "Every 5 seconds of these minutes: every hour from 09:00 to 17:00, every day"),
    ],
)  # fmt: skip
def test_an_expression_is_described_in_words(text: str, expected: str) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Interval(15 * SECOND_NS), "Every 15s"),
        (Interval(5400 * SECOND_NS, from_finish=True), "1h30m after the end of each run"),
        (Once(0, ZoneInfo("Asia/Tokyo")), "Once, at 1970-01-01T09:00:00+09:00"),
        (Reboot("UTC"), "When taskman first starts after a boot of the machine"),
        (parse_cron("@daily", timezone="UTC"), "At 00:00, every day"),
    ],
    ids=["interval", "from finish", "at", "reboot", "cron"],
)
def test_every_schedule_has_words(schedule: Interval, expected: str) -> None:
    assert schedule_words(schedule, name="job") == expected


def fields(low: int, high: int, *special: str) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    rows = st.tuples(numbers, numbers).map(lambda two: f"{min(two)}-{max(two)}")
    steps = st.integers(1, 40)
    plain = st.one_of(numbers.map(str), rows, st.tuples(rows, steps).map(lambda row: f"{row[0]}/{row[1]}"))
    lists = st.lists(plain, min_size=1, max_size=4).map(",".join)
    return st.one_of(
        st.just("*"), steps.map(lambda step: f"*/{step}"), lists, st.sampled_from(special or "*")
    )


EXPRESSIONS = st.tuples(
    st.one_of(st.just("0"), fields(0, 59)),
    fields(0, 59),
    fields(0, 23),
    fields(1, 31, "L", "5,L", "5,6,7,L", "1W", "15W", "1W,15W", "LW", "L-3", "L-3W", "L,3,L-2", "?"),
    fields(1, 12),
    fields(0, 7, "L5", "L0", "FRI#2", "FRI#2,L5", "MON#1,FRI#2", "FRIL", "1-3,FRI#2", "MON,FRIL", "?"),
    st.sampled_from(
        (
            "*",
            "*",
            "2030",
            "2030-2033",
            "2030-2032",
            "2030,2033",
            "2030-2050/2",
            "2040/2",
            "2040/1",
            "2041/2",
            "1970/1",
        )
    ),
).map(" ".join)
SHAPES = [(length, first) for length in (28, 29, 30, 31) for first in range(7)]


def meaning(expression: Expression) -> object:
    """Return what an expression comes to: times of day, months, and days of every kind of month."""
    pattern = day_pattern(expression.day, expression.month, expression.weekday)
    days = tuple(pattern._days(length, first) for length, first in SHAPES)
    times = expression.second.values, expression.minute.values, expression.hour.values
    years = None if expression.year is None else expression.year.values
    return times, expression.month.values, days, years


def read(text: str) -> Expression | None:
    expression = parse_expression(text, name="job")
    try:
        day_pattern(expression.day, expression.month, expression.weekday)
    except ScheduleError:
        return None
    return expression


@given(st.lists(EXPRESSIONS, min_size=2, max_size=8))
def test_two_that_differ_never_have_the_same_words(texts: list[str]) -> None:
    found: dict[str, object] = {}
    for expression in filter(None, map(read, texts)):
        assert meaning(expression) == found.setdefault(expression_words(expression), meaning(expression))


@given(EXPRESSIONS, st.integers(0, 6), st.data())
def test_two_that_differ_in_one_field_never_have_the_same_words(
    text: str, index: int, data: st.DataObject
) -> None:
    parts = text.split()
    parts[index] = data.draw(EXPRESSIONS).split()[index]
    one, other = read(text), read(" ".join(parts))
    if one and other and expression_words(one) == expression_words(other):
        assert meaning(one) == meaning(other)


@given(EXPRESSIONS)
def test_the_same_sets_have_the_same_words_however_they_are_spelt(text: str) -> None:
    expression = read(text)
    if expression is None or expression.day.is_star or expression.weekday.is_star:
        return
    parts = [
        field.text if field.rules else ",".join(map(str, reversed(field.values)))
        for field in (
            expression.second, expression.minute, expression.hour,
            expression.day, expression.month, expression.weekday,
        )
    ]  # fmt: skip
    year = "*" if expression.year is None else ",".join(map(str, expression.year.values))
    assert expression_words(expression) == words(" ".join([*parts, year]))
