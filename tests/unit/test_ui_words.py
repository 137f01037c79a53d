"""Times in words: what a person reads must be right at every boundary and never wider than its column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.ui.amounts import ago, countdown, duration, limit, span, wall_time

MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
MS_NS = SECOND_NS // 1000

EXAMPLES = [
    (-5, "0.0s", "0ms", "0ms"),
    (0, "0.0s", "0ms", "0ms"),
    (999 * MS_NS, "0.9s", "999ms", "999ms"),
    (SECOND_NS, "1.0s", "1s", "1s"),
    (1_500 * MS_NS, "1.5s", "1.5s", "1.5s"),
    (10 * SECOND_NS - 1, "9.9s", "9.9s", "9.9s"),
    (10 * SECOND_NS, "10s", "10s", "10s"),
    (MINUTE_NS - 1, "59s", "59.9s", "59s"),
    (MINUTE_NS, "1m 00s", "1m", "1m"),
    (90 * SECOND_NS, "1m 30s", "1m30s", "1m 30s"),
    (HOUR_NS, "1h 00m", "1h", "1h"),
    (3 * HOUR_NS + 12 * MINUTE_NS, "3h 12m", "3h12m", "3h 12m"),
    (2 * DAY_NS, "2d 00h", "2d", "2d"),
    (99 * DAY_NS + HOUR_NS, "99d 01h", "99d1h", "99d 01h"),
    (100 * DAY_NS, "100d", "100d", "100d"),
    (3650 * DAY_NS, "10y", "3650d", "10y"),
]


@pytest.mark.parametrize(("ns", "as_span", "as_duration", "as_limit"), EXAMPLES, ids=lambda value: str(value))
def test_durations_read_like_a_clock(ns: int, as_span: str, as_duration: str, as_limit: str) -> None:
    assert (as_span, as_duration, as_limit) == (span(ns), duration(ns), limit(ns))


@pytest.mark.parametrize(
    ("ns", "expected"),
    [
        (4_200 * MS_NS, "in 4.2s"),
        (1, "in 0.1s"),
        (0, "due"),
        (-MINUTE_NS, "due"),
        (3 * HOUR_NS + 12 * MINUTE_NS, "in 3h 12m"),
    ],
)
def test_a_countdown_ends_with_due(ns: int, expected: str) -> None:
    assert countdown(ns) == expected


@pytest.mark.parametrize(
    ("ns", "expected"),
    [
        (-SECOND_NS, "just now"),
        (SECOND_NS - 1, "just now"),
        (SECOND_NS, "1s ago"),
        (MINUTE_NS - 1, "59s ago"),
        (MINUTE_NS, "1m ago"),
        (HOUR_NS, "1h ago"),
        (DAY_NS, "1d ago"),
        (4000 * DAY_NS, "10y ago"),
    ],
)
def test_the_past_is_told_in_one_part(ns: int, expected: str) -> None:
    assert ago(ns) == expected


NOW = datetime(2026, 11, 24, 14, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (NOW + timedelta(seconds=4), "14:05:04"),
        (NOW - timedelta(seconds=1), "14:04:59"),
        (datetime(2026, 11, 25, 2, 30, tzinfo=UTC), "Wed 02:30:00"),
        (datetime(2026, 11, 30, 2, 30, tzinfo=UTC), "Mon 02:30:00"),
        (datetime(2026, 12, 1, 2, 30, tzinfo=UTC), " 1 Dec 02:30"),
        (datetime(2028, 2, 29, tzinfo=UTC), "2028-02-29"),
        (datetime(2026, 11, 23, tzinfo=UTC), "2026-11-23"),
    ],
)
def test_a_wall_time_has_as_much_date_as_it_needs(moment: datetime, expected: str) -> None:
    assert wall_time(ns_of(moment), now_ns=ns_of(NOW), timezone=UTC) == expected


def test_a_wall_time_is_in_the_zone_that_was_given() -> None:
    # 23:30 and 00:30 in Stockholm: tomorrow there, today in UTC.
    now, moment = (datetime(2026, 11, 24, hour, 30, tzinfo=UTC) for hour in (22, 23))
    stockholm = ZoneInfo("Europe/Stockholm")
    assert wall_time(ns_of(moment), now_ns=ns_of(now), timezone=stockholm) == "Wed 00:30:00"
    assert wall_time(ns_of(moment), now_ns=ns_of(now), timezone=UTC) == "23:30:00"


def test_an_instant_that_no_calendar_has_is_far_off() -> None:
    assert wall_time(10**22, now_ns=0, timezone=UTC) == "far off"


@given(st.integers(-(10**19), 3 * 10**19))
def test_no_figure_is_wider_than_its_column(ns: int) -> None:
    assert len(countdown(ns)) <= 10
    assert len(ago(ns)) <= 8
    assert len(span(ns)) <= 7
    assert len(duration(ns)) <= 7


@given(st.integers(0, 10**20), st.integers(0, 10**20), st.integers(-14, 14))
def test_no_wall_time_is_wider_than_its_column(ns: int, now_ns: int, offset_h: int) -> None:
    assert len(wall_time(ns, now_ns=now_ns, timezone=timezone(timedelta(hours=offset_h)))) <= 12


def ns_of(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND_NS
