"""What is odd about a schedule: each oddity where it is, and silence where it is not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.schedule import Interval, Once, Reboot, load_zone, parse_cron
from taskman_cli.core.schedule.expression import place_of
from taskman_cli.errors import ScheduleError
from taskman_cli.insight.explain import schedule_notes

NEW_YORK = "America/New_York"
HOUR_NS = 3600 * SECOND_NS


BOTH_GIVEN = "Day of month and day of week are both given"


def uneven(field: str, rest: str) -> str:
    return f"uneven-step: {field} is uneven: {rest}"


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


NOW_NS = ns("2026-11-24T12:00")


def notes(expression: str, *, timezone: str = "UTC", name: str = "", now_ns: int = NOW_NS) -> list[str]:
    schedule = parse_cron(expression, timezone=timezone, name=name)
    found = schedule_notes(schedule, name=name, timezone=timezone, now_ns=now_ns)
    return [f"{note.name}: {note.message}" for note in found]


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *", "*/15 * * * *", "30 2 * * *", "0 9-17/2 * * *", "*/7 9 * * *", "*/1 * * * *",
        "0 0 28 * *", "0 0 1-31 * 1", "0 0 * * 1", "0 0 1 * *", "*/10 * * * * *", "0 */6 * * *",
        "0,7,14 * * * *",
        "0 0 L * *", "0 0 1 1-11/2 *", "0 22-2/2 * * *", "0 0 ? * MON", "0 0 L-3 * ?", "0/15 * * * *",
        "10-20/3 * * * *", "0 0 * * FRI#2",
    ],
)  # fmt: skip
def test_an_ordinary_schedule_has_no_notes(expression: str) -> None:
    assert notes(expression) == []


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        pytest.param(
            "*/7 * * * *",
            uneven('minute "*/7"', "from 56 to 0 of the next hour is 4 minutes, not 7."),
            id="minutes",
        ),
        pytest.param(
            "*/59 1,2 * * *",
            uneven('minute "*/59"', "from 59 to 0 of the next hour is 1 minute, not 59."),
            id="one minute",
        ),
        pytest.param(
            "*/7 0,23 * * *",
            uneven('minute "*/7"', "from 56 to 0 of the next hour is 4 minutes, not 7."),
            id="over midnight",
        ),
        pytest.param(
            "*/50 * * * * *",
            uneven('second "*/50"', "from 50 to 0 of the next minute is 10 seconds, not 50."),
            id="seconds",
        ),
        pytest.param(
            "0 1-23/5 * * *",
            uneven('hour "1-23/5"', "from 21 to 1 of the next day is 4 hours, not 5."),
            id="hours",
        ),
        pytest.param(
            "0 0 1 */5 *",
            uneven('month "*/5"', "from 11 to 1 of the next year is 2 months, not 5."),
            id="months",
        ),
        pytest.param(
            "0 0 */2 * *",
            'uneven-step: day of month "*/2" starts over each month: the 31st is followed by the 1st.',
            id="days",
        ),
        pytest.param(
            "*/90 * * * *",
            'uneven-step: minute "*/90" only matches 0: a step of 90 is longer than the hour.',
            id="longer than the field",
        ),
        pytest.param(
            "0 0 1 * 1",
            f"either-day: {BOTH_GIVEN}, and neither starts with *: it is enough that one of them matches.",
            id="or",
        ),
        pytest.param(
            "0 0 1-7 * */6",
            f"both-days: {BOTH_GIVEN}, and one of them starts with *: both must match.",
            id="and",
        ),
        pytest.param(
            "0 0 31 * *",
            "months-left-out: It never has a slot in February, April, June, September and November.",
            id="31",
        ),
        pytest.param(
            "0 0 29 2 *", ("months-left-out: It has a slot in February only in some years."), id="29 February"
        ),
        pytest.param("0 0 29 * *", "months-left-out: It has a slot in February only in some years.", id="29"),
        pytest.param("0 0 * * FRI#5", "months-left-out: It does not have a slot every month.", id="fifth"),
        pytest.param(
            "0 0 * 4,5 FRI#5",
            "months-left-out: It does not have a slot every year in April and May.",
            id="fifth of some months",
        ),
        pytest.param(
            "0/7 * * * *",
            uneven('minute "0/7"', "from 56 to 0 of the next hour is 4 minutes, not 7."),
            id="a step from a value",
        ),
        pytest.param(
            "0 0 1W,LW,L-2W * *",
            (
                "nearest-weekday: If the 1st, the last day or the 3rd-to-last day is a Saturday or Sunday, "
                "it runs on the nearest weekday of the same month."
            ),
            id="nearest weekdays",
        ),
        pytest.param(
            "0 0 15W * *",
            (
                "nearest-weekday: If the 15th is a Saturday or Sunday, it runs on the nearest "
                "weekday of the same month."
            ),
            id="nearest weekday",
        ),
    ],
)
def test_surprising_properties_are_noted(expression: str, expected: str) -> None:
    assert notes(expression) == [expected]


def test_a_nearest_weekday_of_a_shorter_month_is_left_out_as_the_words_say() -> None:
    nearest, left_out = notes("0 0 31W * *")
    assert nearest.endswith(
        "If the 31st is a Saturday or Sunday, it runs on the nearest weekday of the same month."
    )
    assert left_out == (
        "months-left-out: It never has a slot in February, April, June, September and November."
    )
    schedule = parse_cron("0 0 31W * *", timezone="UTC")
    assert schedule.next_after(NOW_NS) == ns("2026-12-31T00:00")


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        (
            "0 0 * * 6L",
            'day of week "6L": 6 is Saturday, as in cron; Quartz counts from 1 (Sunday), so there, 6 is '
            "Friday.",
        ),
        ("0 0 ? * 1-5", "1 is Monday, as in cron; Quartz counts from 1 (Sunday), so there, 1 is Sunday."),
        ("0 0 * * 0L", "0 is Sunday, as in cron; Quartz counts from 1 (Sunday), so it has no 0."),
        (
            "0 0 0 * * 7 2030",
            "7 is Sunday, as in cron; Quartz counts from 1 (Sunday), so there, 7 is Saturday.",
        ),
        ("0 0 ? * FRI,2#1", 'day of week "FRI,2#1": 2 is Tuesday'),
    ],
)
def test_a_day_of_week_that_quartz_would_read_as_another_is_told(expression: str, part: str) -> None:
    [told] = [note for note in notes(expression) if note.startswith("quartz-weekday: ")]
    assert part in told


@pytest.mark.parametrize(
    "expression",
    ["0 0 ? * FRIL", "0 0 * * 5", "0 0 * * L5", "0 0 ? * FRI#2", "0 0 * * 5#2", "0 0 0 * * 5", "0 0 15 * ?"],
)
def test_a_day_of_week_that_nobody_reads_otherwise_is_not_told(expression: str) -> None:
    assert [note for note in notes(expression) if note.startswith("quartz-weekday")] == []


def test_the_values_of_h_are_named_for_the_job() -> None:
    lead = "hashed: H is derived from the name of the job"
    [told] = notes("H 5 * * *", name="backup")
    [example] = notes("0 H 5 H H *")
    schedule = parse_cron("H 5 * * *", timezone="UTC", name="backup")
    minute = schedule.next_after(NOW_NS)
    assert minute is not None
    assert told == f"{lead}: for backup it is minute {minute // SECOND_NS // 60 % 60}."
    assert example.startswith(f"{lead}; without a name, this is only an example: minute ")


SPRING = "clock-change: On Sun 2027-03-14 the clocks go from 02:00 to 03:00: "
AUTUMN = "clock-change: On Sun 2027-11-07 the clocks go from 02:00 to 01:00: "


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        pytest.param(
            "30 2 * * *", [SPRING + "02:30 does not exist; the job runs once at 03:00 instead."], id="fixed"
        ),
        pytest.param(
            "0,30 2 * * *",
            [SPRING + "slots from 02:00 to 02:30 do not exist; the job runs once at 03:00 instead."],
            id="two fixed",
        ),
        pytest.param(
            "*/60 2 * * *", [SPRING + ("02:00 does not exist; the job does not run then.")], id="wildcard"
        ),
        pytest.param(
            "30 1 * * *", [AUTUMN + "01:30 comes twice; the job runs the first time only."], id="fixed, twice"
        ),
        pytest.param(
            "*/30 1 * * *",
            [AUTUMN + "slots from 01:00 to 01:30 come twice; the job runs both times."],
            id="wildcard, twice",
        ),
        pytest.param(
            "7 30 1 * * *", [AUTUMN + "01:30:07 comes twice; the job runs the first time only."], id="seconds"
        ),
        pytest.param("0 3 * * *", [], id="just after"),
        pytest.param("30 2 * 4 *", [], id="other months"),
        pytest.param(
            "30 2 29 2 *",
            [("months-left-out: It has a slot in February only in some years.")],
            id="not in this year",
        ),
    ],
)
def test_clock_changes_of_a_year_are_noted(expression: str, expected: list[str]) -> None:
    found = notes(expression, timezone=NEW_YORK)
    assert [note for note in found if not note.startswith("uneven-step")] == expected


def test_the_slots_are_as_the_words_say() -> None:
    gap, overlap = ns("2027-03-14T07:00"), ns("2027-11-07T05:00")
    fixed = parse_cron("30 2 * * *", timezone=NEW_YORK)
    twice = parse_cron("*/30 1 * * *", timezone=NEW_YORK)
    assert gap == fixed.next_after(gap - HOUR_NS)
    seen, at = [], overlap - 1
    for _ in range(4):
        following = twice.next_after(at)
        assert following is not None
        at = following
        seen.append(at - overlap)
    assert seen == [0, HOUR_NS // 2, HOUR_NS, HOUR_NS + HOUR_NS // 2]


def test_a_missing_day_is_left_out_whatever_the_schedule() -> None:
    [told] = notes("0 12 30 12 *", timezone="Pacific/Apia", now_ns=ns("2011-06-01T00:00"))
    expected = (
        "clock-change: On Fri 2011-12-30 the clocks go from 00:00 to 00:00 on Sat 2011-12-31: "
        "12:00 does not exist; the job does not run then."
    )
    assert told == expected


def test_the_drift_of_an_interval_is_noted() -> None:
    def of(interval: Interval, timezone: str = "UTC") -> list[str]:
        return [
            f"{note.name}: {note.message}"
            for note in schedule_notes(interval, name="job", timezone=timezone, now_ns=NOW_NS)
        ]

    moves = "its times of day shift from day to day."
    assert of(Interval(420 * SECOND_NS)) == [f"drift: A day is not a multiple of 7m: {moves}"]
    assert of(Interval(25 * HOUR_NS)) == [f"drift: A day is not a multiple of 1d1h: {moves}"]
    assert of(Interval(48 * HOUR_NS)) + of(Interval(HOUR_NS)) == []
    assert of(Interval(24 * HOUR_NS), NEW_YORK) == [
        (
            "drift: It counts elapsed time: on Sun 2027-03-14 the clocks go from 02:00 to 03:00, and "
            "it ignores that. Use a cron expression to follow the wall clock."
        )
    ]
    assert of(Interval(HOUR_NS, from_finish=True)) == [
        "drift: It counts from the end of each run, so its times of day depend on how long runs take."
    ]


def test_other_schedules_have_few_notes() -> None:
    [reboot] = schedule_notes(Reboot("UTC"), name="job", timezone="UTC", now_ns=NOW_NS)
    assert (reboot.name, reboot.message.endswith("once after each boot of the machine.")) == ("reboot", True)
    assert schedule_notes(Once(0, load_zone("UTC")), name="job", timezone="UTC", now_ns=NOW_NS) == []


@pytest.mark.parametrize(
    ("expression", "marked"),
    [
        ("61 * * * *", "61"),
        ("* 1,25 * * *", "25"),
        ("0 61 * * * *", "61"),
        ("* 1,,2 * * *", ","),
        ("1 2 3", "1 2 3"),
        ("@dayly", "@dayly"),
        ("0 0 31 2 *", "31"),
        ("0 0 30,31 2 *", "30,31"),
        ("0 0 */31 2 MON#5", "0 0 */31 2 MON#5"),
        ("0 0 * * 1,FRI#6", "FRI#6"),
        ("0 0 1 1 * 2030-2029", "2030-2029"),
        ("0 0 0 1 1 * 1900", "1900"),
        ("0 0 29 2 * 2030", "2030"),
    ],
)
def test_an_error_has_its_place_in_the_expression(expression: str, marked: str) -> None:
    with pytest.raises(ScheduleError) as error:
        parse_cron(expression, timezone="UTC")
    start, length = place_of(error.value, expression)
    assert marked == expression[start : start + length]
