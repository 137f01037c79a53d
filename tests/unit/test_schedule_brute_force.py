"""Schedules against an evaluator that walks the clock tick by tick and shares no code with the product."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskman_cli.core.schedule import CronSchedule, ScheduleError, parse_cron

pytestmark = pytest.mark.no_cover  # what walks tick by tick is slow enough; other tests reach all lines

SECOND_NS = 1_000_000_000
HOUR_S = 3600

#: Clock changes of every kind: whole, half and quarter hours, at midnight, for good, and over three hours.
CHANGES = [
    ("America/New_York", "2024-03-10T07:00"),
    ("America/New_York", "2024-11-03T06:00"),
    ("Europe/Paris", "2023-03-26T01:00"),
    ("Europe/Dublin", "2023-10-29T01:00"),
    ("Australia/Lord_Howe", "2024-10-05T15:30"),
    ("Australia/Lord_Howe", "2024-04-06T15:00"),
    ("Asia/Beirut", "2024-03-30T22:00"),
    ("Asia/Beirut", "2024-10-26T21:00"),
    ("America/Sao_Paulo", "2018-11-04T03:00"),
    ("America/Sao_Paulo", "2018-02-18T02:00"),
    ("America/St_Johns", "2011-03-13T03:31"),
    ("America/St_Johns", "2010-11-07T02:31"),
    ("Antarctica/Troll", "2024-03-31T01:00"),
    ("Antarctica/Troll", "2024-10-27T01:00"),
    ("Antarctica/Casey", "2009-10-17T18:00"),
    ("Antarctica/Casey", "2010-03-04T15:00"),
    ("Antarctica/Vostok", "1994-01-31T17:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("Pacific/Apia", "2012-03-31T14:00"),
    ("Pacific/Chatham", "2024-04-06T14:00"),
    ("Asia/Kathmandu", "1985-12-31T18:30"),
    ("Asia/Pyongyang", "2018-05-04T15:00"),
    ("America/Caracas", "2007-12-09T07:00"),
    ("Europe/Lisbon", "1992-09-27T01:00"),
    ("UTC", "2024-02-29T00:00"),
]

BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7), (1970, 9999))
NAMES = {name: str(n) for n, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])}
#: Day items that are not numbers, each with the days of a month for which it holds.
DAY_RULES: dict[str, Callable[[date], bool]] = {
    "L": lambda d: d.day == month_end(d),
    "L-3": lambda d: d.day == month_end(d) - 3,
    "LW": lambda d: d == max(day for day in month_of(d) if day.isoweekday() <= 5),
    "L-2W": lambda d: is_working_near(d, month_end(d) - 2),
    "1W": lambda d: is_working_near(d, 1),
    "15W": lambda d: is_working_near(d, 15),
    "31W": lambda d: is_working_near(d, 31),
    "?": lambda d: True,
}
WEEKDAY_RULES: dict[str, Callable[[date], bool]] = {
    "FRIL": lambda d: d.isoweekday() == 5 and d.day + 7 > month_end(d),
    "0L": lambda d: d.isoweekday() == 7 and d.day + 7 > month_end(d),
    "FRI#2": lambda d: d.isoweekday() == 5 and 8 <= d.day <= 14,
    "TUESDAY#5": lambda d: d.isoweekday() == 2 and d.day > 28,
    "?": lambda d: True,
}


def month_end(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def month_of(day: date) -> list[date]:
    return [day.replace(day=n + 1) for n in range(month_end(day))]


def is_working_near(day: date, wanted: int) -> bool:
    """Tell whether a day is the working day nearest to a day that its month has."""
    if wanted > month_end(day):
        return False
    working = [other for other in month_of(day) if other.isoweekday() <= 5]
    return day == min(working, key=lambda other: abs(other.day - wanted))


def values_of(field: str, low: int, high: int) -> set[int]:
    """Expand a field by walking from the first value of each item to its last."""
    values: set[int] = set()
    for item in field.split(","):
        if item in DAY_RULES or item in WEEKDAY_RULES:
            continue
        body, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if body == "*" else body).partition("-")
        top = 6 if high == 7 and int(first) > int(last or first) else high
        if step and not last:
            last = str(6 if high == 7 else high)
            first = "0" if (high, first) == (7, "7") else first
        value, count = (0 if top == 6 and first == "7" else int(first)), 0
        while True:
            if count % int(step or 1) == 0:
                values.add(value)
            if value == int(last or first):
                break
            value, count = (value + 1 if value < top else low), count + 1
    return values


class Walker:
    """One expression, matched field by field."""

    def __init__(self, expression: str) -> None:
        fields = expression.split()
        if len(fields) < 6 or len(fields[5]) < 4 or not fields[5][:4].isdigit():
            year = fields[6:] or ["*"]
            fields = fields[:6]
        else:
            year, fields = fields[5:], fields[:5]
        self.tick = 1 if len(fields) == 6 else 60
        self.fixed = not any(field.startswith("*") for field in fields[:-3])
        fields = [*(fields if len(fields) == 6 else ["0", *fields]), *year]
        self.both = fields[3][0] in "*?" or fields[5][0] in "*?"
        self.rules = [rule for item, rule in DAY_RULES.items() if item in fields[3].split(",")]
        self.weekday_rules = [rule for item, rule in WEEKDAY_RULES.items() if item in fields[5].split(",")]
        self.sets = [values_of(field, low, high) for field, (low, high) in zip(fields, BOUNDS, strict=True)]

    def matches(self, wall_s: int) -> bool:
        wall = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=wall_s)
        second, minute, hour, day, month, weekday, year = self.sets
        if wall.hour not in hour or wall.minute not in minute or wall.second not in second:
            return False
        if wall.year not in year:
            return False
        day_ok = wall.day in day or any(rule(wall.date()) for rule in self.rules)
        weekday_ok = bool({wall.isoweekday(), wall.isoweekday() % 7} & weekday)
        weekday_ok = weekday_ok or any(rule(wall.date()) for rule in self.weekday_rules)
        return wall.month in month and (day_ok and weekday_ok if self.both else day_ok or weekday_ok)

    def slots(self, zone: str, begin: int, end: int) -> list[int]:
        """Walk from some hours before `begin`, as Debian's loop does, and give the slots in (begin, end)."""
        found = []
        virtual: int | None = None
        for instant, wall in walk(zone, begin - 4 * HOUR_S, end, self.tick):
            ahead = 0 if virtual is None else wall - virtual - self.tick
            if ahead == 0 or abs(ahead) > 3 * HOUR_S:
                runs = self.matches(wall)
                virtual = wall
            elif ahead > 0:
                missed = range(wall - ahead, wall + 1, self.tick) if self.fixed else [wall]
                runs = any(self.matches(time) for time in missed)
                virtual = wall
            else:
                # Behind what has run already, in a second pass: the virtual time waits.
                runs = not self.fixed and self.matches(wall)
            if runs and instant > begin:
                found.append(instant)
        return found


@lru_cache(maxsize=32)
def walk(zone: str, begin: int, end: int, tick: int) -> list[tuple[int, int]]:
    """Pair every tick with what the clock on the wall shows, as seconds."""
    info = ZoneInfo(zone)
    pairs = []
    for instant in range(begin, end, tick):
        offset = datetime.fromtimestamp(instant, info).utcoffset()
        assert offset is not None
        pairs.append((instant, instant + int(offset.total_seconds())))
    return pairs


def forward(schedule: CronSchedule, begin: int, end: int) -> list[int]:
    """Collect the slots in (begin, end) by `next_after`."""
    found = []
    slot_ns = schedule.next_after(begin * SECOND_NS)
    while slot_ns is not None and slot_ns < end * SECOND_NS:
        found.append(slot_ns // SECOND_NS)
        slot_ns = schedule.next_after(slot_ns)
    return found


def backward(schedule: CronSchedule, begin: int, end: int) -> list[int]:
    """Collect the slots in (begin, end) by `previous`, in rising order."""
    found = []
    slot_ns = schedule.previous(end * SECOND_NS - 1)
    while slot_ns is not None and slot_ns > begin * SECOND_NS:
        found.append(slot_ns // SECOND_NS)
        slot_ns = schedule.previous(slot_ns - 1)
    return found[::-1]


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, *, stars: int = 3) -> str:
    """Draw a field: `*` or `*/n` in `stars` of five cases, else a list."""
    if draw(st.integers(1, 5)) <= stars:
        return draw(st.sampled_from(["*", "*", "*", "*/2", "*/5", f"*/{high + 10}"]))
    items = []
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(low, high))
        last = draw(st.integers(first, high))
        items.append(
            draw(
                st.sampled_from(
                    [
                        *(f"{first}", f"{first}-{last}", f"{first}-{last}/3", f"{first}-{first}", "*"),
                        *(f"{last}-{first}", f"{last}-{first}/3", f"{first}/7"),
                    ]
                )
            )
        )
    return ",".join(items)


def rules(known: Iterable[str], *plain: str) -> st.SearchStrategy[str]:
    """Draw one or two rules, perhaps beside plain items."""
    items = st.sampled_from([rule for rule in known if rule != "?"])
    return st.just("?") | st.tuples(
        st.sampled_from(("", "", *plain)), st.lists(items, min_size=1, max_size=2)
    ).map(lambda drawn: drawn[0] + ",".join(drawn[1]))


@st.composite
def expressions(draw: st.DrawFn, *, with_seconds: bool = False, years: bool = False) -> str:
    """Draw an expression that is busy in the small hours, where the clocks change."""
    hour = st.sampled_from(["0", "1", "2", "3", "0-3", "1,2", "2-23", "23", "22-23,0-1"]) | fields(0, 23)
    parts = [
        draw(fields(0, 59, stars=1)),
        draw(hour),
        draw(fields(1, 31, stars=4) | rules(DAY_RULES, "7,", "20-2,")),
        draw(st.just("*") | fields(1, 12, stars=4)),
        draw(fields(0, 7, stars=4) | rules(WEEKDAY_RULES, "1,", "6-2,")),
    ]
    if years:
        parts.append(draw(st.sampled_from(["2011", "2024/2", "1980-2030/3", "2009-2012,2018,2023-2024"])))
    if with_seconds:
        parts.insert(0, draw(st.sampled_from(["0", "30", "7,59", "*", "*/20", "0-59/30"])))
    return " ".join(parts)


def parsed(expression: str, zone: str) -> CronSchedule | None:
    """Parse a drawn expression; None: it says that it can never fire."""
    try:
        schedule = parse_cron(expression, timezone=zone)
    except ScheduleError as error:
        if "can never fire" not in str(error):
            raise
        return None
    assert isinstance(schedule, CronSchedule)
    return schedule


def instant_of(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@settings(max_examples=200, deadline=None)
@given(
    change=st.sampled_from(CHANGES),
    expression=expressions() | expressions(years=True),
    shift=st.integers(-3, 3),
)
def test_slots_by_the_minute_are_those_of_the_walk(
    change: tuple[str, str], expression: str, shift: int
) -> None:
    zone, at = change
    begin = instant_of(at) - 30 * HOUR_S + shift * 20 * 60
    end = instant_of(at) + 40 * HOUR_S
    schedule = parsed(expression, zone)
    expected = Walker(expression).slots(zone, begin, end)
    assert (forward(schedule, begin, end) if schedule else []) == expected
    assert (backward(schedule, begin, end) if schedule else []) == expected


@settings(max_examples=60, deadline=None)
@given(
    change=st.sampled_from(CHANGES[:8]),
    expression=expressions(with_seconds=True) | expressions(with_seconds=True, years=True),
)
def test_slots_by_the_second_are_those_of_the_walk(change: tuple[str, str], expression: str) -> None:
    zone, at = change
    begin, end = instant_of(at) - HOUR_S, instant_of(at) + 2 * HOUR_S
    schedule = parsed(expression, zone)
    expected = Walker(expression).slots(zone, begin, end)
    assert (forward(schedule, begin, end) if schedule else []) == expected
    assert (backward(schedule, begin, end) if schedule else []) == expected


@settings(max_examples=200, deadline=None)
@given(
    zone=st.sampled_from(sorted({zone for zone, _ in CHANGES})),
    expression=expressions() | expressions(with_seconds=True),
    t_ns=st.integers(-(10**18), 4 * 10**18),
)
def test_next_and_previous_agree_with_each_other(zone: str, expression: str, t_ns: int) -> None:
    schedule = parsed(expression, zone)
    if schedule is None:
        return
    later = schedule.next_after(t_ns)
    earlier = schedule.previous(t_ns)
    assert later is not None
    assert earlier is not None
    assert earlier <= t_ns < later
    assert schedule.next_after(earlier) == later
    assert schedule.next_after(earlier - SECOND_NS // 1000) == earlier
    assert schedule.previous(later) == later
    assert schedule.previous(later - 1) == earlier
    assert schedule.next_after(later - 1) == later


@settings(max_examples=100, deadline=None)
@given(expression=expressions(), moments=st.lists(st.integers(0, 2 * 10**18), min_size=2, max_size=8))
def test_next_is_monotone_and_does_not_depend_on_what_was_asked_before(
    expression: str, moments: list[int]
) -> None:
    shared = parsed(expression, "Europe/Paris")
    if shared is None:
        return
    answers = [shared.next_after(moment) for moment in moments]
    again = [shared.next_after(moment) for moment in sorted(moments, reverse=True)]
    assert sorted(again) == again[::-1]
    assert sorted(answers) == again[::-1]


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(sorted({zone for zone, _ in CHANGES})),
    expression=expressions(years=True) | expressions(with_seconds=True, years=True),
    t_ns=st.integers(-(10**18), 4 * 10**18),
)
def test_with_years_next_and_previous_agree_where_there_is_one(zone: str, expression: str, t_ns: int) -> None:
    schedule = parsed(expression, zone)
    if schedule is None:
        return
    later, earlier = schedule.next_after(t_ns), schedule.previous(t_ns)
    assert later is not None or earlier is not None
    if later is not None:
        assert later > t_ns
        assert schedule.previous(later) == later
        assert schedule.previous(later - 1) == earlier
    if earlier is not None:
        assert earlier <= t_ns
        assert schedule.next_after(earlier) == later
        assert schedule.next_after(earlier - 1) == earlier


@settings(max_examples=100, deadline=None)
@given(expression=expressions() | expressions(years=True), begin=st.dates(date(1996, 1, 1), date(2030, 1, 1)))
def test_the_days_of_a_year_are_those_that_match_one_by_one(expression: str, begin: date) -> None:
    _, _, *rest = expression.split()
    daily = " ".join(["0", "12", *rest])
    schedule = parsed(daily, "UTC")
    walker = Walker(daily)
    first = instant_of(begin.isoformat())
    days = [first + n * 24 * HOUR_S + 12 * HOUR_S for n in range(366)]
    expected = [instant for instant in days if walker.matches(instant)]
    assert (forward(schedule, first, first + 366 * 24 * HOUR_S) if schedule else []) == expected
