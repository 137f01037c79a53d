"""What becomes of slots at clock changes, zone by zone.

The slots of five-field expressions here were printed by the main loop of Debian's own cron (3.0pl1-162),
compiled on a virtual clock; those with seconds, which Debian has not, follow the same rule by hand.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from taskman_cli.core.schedule import next_slots, parse_cron


class Change(NamedTuple):
    """One clock change: slots after `start` (local time) as day, time and offset."""

    title: str
    zone: str
    start: str
    slots: dict[str, str]


CHANGES = [
    Change(
        "New York, gap of 1 h",
        "America/New_York",
        "2024-03-10T00:30",
        {
            "30 2 * * *": "10T03:00-0400 11T02:30-0400 12T02:30-0400",
            "0,20,40 2 * * *": "10T03:00-0400 11T02:00-0400 11T02:20-0400",
            "0 2,3 * * *": "10T03:00-0400 11T02:00-0400 11T03:00-0400",
            "0-59 2-2 * * *": "10T03:00-0400 11T02:00-0400 11T02:01-0400",
            "30 * * * *": "10T01:30-0500 10T03:30-0400 10T04:30-0400",
            "*/20 2,3 * * *": "10T03:00-0400 10T03:20-0400 10T03:40-0400 11T02:00-0400 11T02:20-0400",
            "@hourly": "10T01:00-0500 10T03:00-0400 10T04:00-0400 10T05:00-0400 10T06:00-0400",
        },
    ),
    Change(
        "New York, overlap of 1 h",
        "America/New_York",
        "2024-11-03T00:30",
        {
            "30 1 * * *": "03T01:30-0400 04T01:30-0500 05T01:30-0500",
            "0 0-23 * * *": "03T01:00-0400 03T02:00-0500 03T03:00-0500",
            "30 * * * *": "03T01:30-0400 03T01:30-0500 03T02:30-0500",
            "*/30 1 * * *": "03T01:00-0400 03T01:30-0400 03T01:00-0500 03T01:30-0500 04T01:00-0500",
            "0 2 * * *": "03T02:00-0500 04T02:00-0500 05T02:00-0500",
        },
    ),
    Change(
        "Paris, gap of 1 h",
        "Europe/Paris",
        "2024-03-31T00:30",
        {
            "15 2 31 * *": "31T03:00+0200 31T02:15+0200 31T02:15+0200",
            "15 2 * * 0": "31T03:00+0200 07T02:15+0200 14T02:15+0200",
            "59 2 * 3 *": "31T03:00+0200 01T02:59+0100 02T02:59+0100",
            "0 3 * * *": "31T03:00+0200 01T03:00+0200 02T03:00+0200",
            "0 */2 * * *": "31T04:00+0200 31T06:00+0200 31T08:00+0200",
        },
    ),
    Change(
        "Paris, overlap of 1 h",
        "Europe/Paris",
        "2024-10-27T00:30",
        {
            "15 2 27 * *": "27T02:15+0200 27T02:15+0100 27T02:15+0100",
            "15 2 * * MON": "28T02:15+0100 04T02:15+0100 11T02:15+0100",
            "*/15 2 * * *": "27T02:00+0200 27T02:15+0200 27T02:30+0200 27T02:45+0200 27T02:00+0100",
            "0 3 * * *": "27T03:00+0100 28T03:00+0100 29T03:00+0100",
        },
    ),
    Change(
        "Lord Howe, gap of 30 min",
        "Australia/Lord_Howe",
        "2024-10-06T00:30",
        {
            "15 2 * * *": "06T02:30+1100 07T02:15+1100 08T02:15+1100",
            "30 2 * * *": "06T02:30+1100 07T02:30+1100 08T02:30+1100",
            "10,45 2 * * *": "06T02:30+1100 06T02:45+1100 07T02:10+1100",
            "*/15 2 * * *": "06T02:30+1100 06T02:45+1100 07T02:00+1100 07T02:15+1100 07T02:30+1100",
            "0 * * * *": "06T01:00+1030 06T03:00+1100 06T04:00+1100 06T05:00+1100 06T06:00+1100",
        },
    ),
    Change(
        "Lord Howe, overlap of 30 min",
        "Australia/Lord_Howe",
        "2024-04-07T00:50",
        {
            "45 1 * * *": "07T01:45+1100 08T01:45+1030 09T01:45+1030",
            "45 * * * *": "07T01:45+1100 07T01:45+1030 07T02:45+1030",
            "*/15 1 * * *": "07T01:00+1100 07T01:15+1100 07T01:30+1100 07T01:45+1100 07T01:30+1030",
            "0 2 * * *": "07T02:00+1030 08T02:00+1030 09T02:00+1030",
        },
    ),
    Change(
        "Beirut, gap at midnight",
        "Asia/Beirut",
        "2024-03-30T22:30",
        {
            "30 0 * * *": "31T01:00+0300 01T00:30+0300 02T00:30+0300",
            "@daily": "31T01:00+0300 01T00:00+0300 02T00:00+0300",
            "30 0 31 * *": "31T01:00+0300 31T00:30+0300 31T00:30+0300",
            "30 0 30 * *": "30T00:30+0300 30T00:30+0300 30T00:30+0300",
            "@hourly": "30T23:00+0200 31T01:00+0300 31T02:00+0300 31T03:00+0300 31T04:00+0300",
            "0 0,1 * * *": "31T01:00+0300 01T00:00+0300 01T01:00+0300",
        },
    ),
    Change(
        "Beirut, overlap before midnight",
        "Asia/Beirut",
        "2024-10-26T22:30",
        {
            "30 23 * * *": "26T23:30+0300 27T23:30+0200 28T23:30+0200",
            "30 * * * *": "26T23:30+0300 26T23:30+0200 27T00:30+0200",
            "@daily": "27T00:00+0200 28T00:00+0200 29T00:00+0200",
            "30 23 26 * *": "26T23:30+0300 26T23:30+0200 26T23:30+0200",
        },
    ),
    Change(
        "Sao Paulo, gap at midnight",
        "America/Sao_Paulo",
        "2018-11-03T22:30",
        {
            "@daily": "04T01:00-0200 05T00:00-0200 06T00:00-0200",
            "15 0 4 11 *": "04T01:00-0200 04T00:15-0300",
            "15 0 * * SUN": "04T01:00-0200 11T00:15-0200 18T00:15-0200",
            "*/30 0 * * *": "05T00:00-0200 05T00:30-0200 06T00:00-0200 06T00:30-0200 07T00:00-0200",
            "@monthly": "01T00:00-0200 01T00:00-0200 01T00:00-0200",
        },
    ),
    Change(
        "Sao Paulo, overlap before midnight",
        "America/Sao_Paulo",
        "2018-02-17T22:30",
        {
            "45 23 * * *": "17T23:45-0200 18T23:45-0300 19T23:45-0300",
            "45 23 * * SAT": "17T23:45-0200 24T23:45-0300 03T23:45-0300",
            "0 * * * *": "17T23:00-0200 17T23:00-0300 18T00:00-0300 18T01:00-0300 18T02:00-0300",
            "@daily": "18T00:00-0300 19T00:00-0300 20T00:00-0300",
        },
    ),
    Change(
        "Apia, missing day",
        "Pacific/Apia",
        "2011-12-29T11:30",
        {
            "0 12 * * *": "29T12:00-1000 31T12:00+1400 01T12:00+1400",
            "0 12 30 * *": "30T12:00+1400 30T12:00+1400 30T12:00+1300",
            "0 12 * * FRI": "06T12:00+1400 13T12:00+1400 20T12:00+1400",
            "0 */6 * * *": "29T12:00-1000 29T18:00-1000 31T00:00+1400",
            "@daily": "31T00:00+1400 01T00:00+1400 02T00:00+1400",
        },
    ),
    Change(
        "Apia, gap of 1 h",
        "Pacific/Apia",
        "2011-09-24T01:30",
        {
            "30 3 * * *": "24T04:00-1000 25T03:30-1000 26T03:30-1000",
            "30 * * * *": "24T02:30-1100 24T04:30-1000 24T05:30-1000",
        },
    ),
    Change(
        "Apia, overlap of 1 h",
        "Pacific/Apia",
        "2012-04-01T01:30",
        {
            "30 3 * * *": "01T03:30+1400 02T03:30+1300 03T03:30+1300",
            "30 * * * *": "01T02:30+1400 01T03:30+1400 01T03:30+1300",
        },
    ),
    Change(
        "St Johns, gap at 00:01",
        "America/St_Johns",
        "2011-03-12T22:30",
        {
            "30 0 * * *": "13T01:01-0230 14T00:30-0230 15T00:30-0230",
            "@daily": "13T00:00-0330 14T00:00-0230 15T00:00-0230",
            "0 0,1 * * *": "13T00:00-0330 13T01:01-0230 14T00:00-0230",
            "0 1 * * *": "13T01:01-0230 14T01:00-0230 15T01:00-0230",
            "1 1 * * *": "13T01:01-0230 14T01:01-0230 15T01:01-0230",
            "0 * * * *": "12T23:00-0330 13T00:00-0330 13T02:00-0230 13T03:00-0230 13T04:00-0230",
        },
    ),
    Change(
        "St Johns, overlap at 00:01",
        "America/St_Johns",
        "2010-11-06T22:30",
        {
            "30 23 * * *": "06T23:30-0230 07T23:30-0330 08T23:30-0330",
            "0 0 * * *": "07T00:00-0230 08T00:00-0330 09T00:00-0330",
            "0 * * * *": "06T23:00-0230 07T00:00-0230 07T00:00-0330 07T01:00-0330 07T02:00-0330",
            "30 23,0 * * *": "06T23:30-0230 07T00:30-0330 07T23:30-0330",
            "1 23 * * *": "06T23:01-0230 07T23:01-0330 08T23:01-0330",
        },
    ),
    Change(
        "Troll, gap of 2 h",
        "Antarctica/Troll",
        "2024-03-31T00:15",
        {
            "0 1,2 * * *": "31T03:00+0200 01T01:00+0200 01T02:00+0200",
            "30 2 * * *": "31T03:00+0200 01T02:30+0200 02T02:30+0200",
            "0 3 * * *": "31T03:00+0200 01T03:00+0200 02T03:00+0200",
            "30 * * * *": "31T00:30+0000 31T03:30+0200 31T04:30+0200",
        },
    ),
    Change(
        "Troll, overlap of 2 h",
        "Antarctica/Troll",
        "2024-10-27T00:15",
        {
            "0 1,2 * * *": "27T01:00+0200 27T02:00+0200 28T01:00+0000",
            "30 * * * *": "27T00:30+0200 27T01:30+0200 27T02:30+0200",
            "30 2 * * *": "27T02:30+0200 28T02:30+0000 29T02:30+0000",
        },
    ),
    Change(
        "Chatham, gap at 02:45",
        "Pacific/Chatham",
        "2024-09-29T01:30",
        {
            "0 3 * * *": "29T03:45+1345 30T03:00+1345 01T03:00+1345",
            "45 2 * * *": "29T03:45+1345 30T02:45+1345 01T02:45+1345",
            "30 * * * *": "29T02:30+1245 29T04:30+1345 29T05:30+1345",
        },
    ),
    Change(
        "Kathmandu, 15 min for good",
        "Asia/Kathmandu",
        "1985-12-31T22:30",
        {
            "5 0 * * *": "01T00:15+0545 02T00:05+0545 03T00:05+0545",
            "*/5 0 * * *": "01T00:15+0545 01T00:20+0545 01T00:25+0545 01T00:30+0545 01T00:35+0545",
            "20 0 * * *": "01T00:20+0545 02T00:20+0545 03T00:20+0545",
        },
    ),
    Change(
        "Pyongyang, back by 30 min for good",
        "Asia/Pyongyang",
        "2015-08-14T22:30",
        {
            "45 23 * * *": "14T23:45+0900 15T23:45+0830 16T23:45+0830",
            "45 * * * *": "14T22:45+0900 14T23:45+0900 14T23:45+0830",
        },
    ),
]

WITH_SECONDS = [
    Change(
        "New York, gap of 1 h",
        "America/New_York",
        "2024-03-10T01:59:50",
        {
            "30 30 2 * * *": "10T03:00:00-0400 11T02:30:30-0400",
            "10,20 15,45 2 * * *": "10T03:00:00-0400 11T02:15:10-0400 11T02:15:20-0400",
            "0 0 2,3 * * *": "10T03:00:00-0400 11T02:00:00-0400",
            "*/30 30 2 * * *": "11T02:30:00-0400 11T02:30:30-0400",
            "5 * * * * *": "10T03:00:05-0400 10T03:01:05-0400",
            "* * * * * *": "10T01:59:51-0500 10T01:59:52-0500",
        },
    ),
    Change(
        "New York, overlap of 1 h",
        "America/New_York",
        "2024-11-03T01:59:50",
        {
            "55 59 1 * * *": "03T01:59:55-0400 04T01:59:55-0500",
            "*/30 0 1 * * *": "03T01:00:00-0500 03T01:00:30-0500 04T01:00:00-0500",
            "55 59 * * * *": "03T01:59:55-0400 03T01:59:55-0500",
            "* * * * * *": "03T01:59:51-0400 03T01:59:52-0400",
        },
    ),
    Change(
        "Lord Howe, gap of 30 min",
        "Australia/Lord_Howe",
        "2024-10-06T01:59:50",
        {
            "59 29 2 * * *": "06T02:30:00+1100 07T02:29:59+1100",
            "1 30 2 * * *": "06T02:30:01+1100 07T02:30:01+1100",
        },
    ),
    Change(
        "Casey, gap of exactly 3 h",
        "Antarctica/Casey",
        "2009-10-18T01:00:00",
        {"0 30 3 * * *": "18T05:00:00+1100 19T03:30:00+1100"},
    ),
]


def _cases(changes: list[Change]) -> list[object]:
    return [
        pytest.param(change.zone, change.start, expression, slots, id=f"{change.title}: {expression}")
        for change in changes
        for expression, slots in change.slots.items()
    ]


def _slots(expression: str, zone: str, start: str, *, count: int, form: str) -> str:
    begin = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
    found = next_slots(expression, timezone=zone, start=begin, count=count)
    assert all(slot.tzinfo == ZoneInfo(zone) for slot in found)
    return " ".join(slot.strftime(form) for slot in found)


@pytest.mark.parametrize(("zone", "start", "expression", "slots"), _cases(CHANGES))
def test_slots_around_a_clock_change_are_those_of_debian_cron(
    zone: str, start: str, expression: str, slots: str
) -> None:
    assert _slots(expression, zone, start, count=len(slots.split()), form="%dT%H:%M%z") == slots


@pytest.mark.parametrize(("zone", "start", "expression", "slots"), _cases(WITH_SECONDS))
def test_seconds_follow_the_same_rule_and_a_gap_ends_at_the_very_change(
    zone: str, start: str, expression: str, slots: str
) -> None:
    assert _slots(expression, zone, start, count=len(slots.split()), form="%dT%H:%M:%S%z") == slots


@pytest.mark.parametrize(("zone", "start", "expression", "slots"), _cases(CHANGES + WITH_SECONDS))
def test_previous_finds_the_same_slots_from_the_other_side(
    zone: str, start: str, expression: str, slots: str
) -> None:
    begin = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
    found = next_slots(expression, timezone=zone, start=begin, count=len(slots.split()))
    times_ns = [int(slot.timestamp()) * 1_000_000_000 for slot in found]
    schedule = parse_cron(expression, timezone=zone)
    assert [schedule.previous(time_ns) for time_ns in times_ns] == times_ns
    assert [schedule.previous(later - 1) for _, later in pairwise(times_ns)] == times_ns[:-1]


def test_a_slot_of_the_second_pass_has_its_fold_set() -> None:
    start = datetime(2024, 11, 3, 0, 45, tzinfo=ZoneInfo("America/New_York"))
    slots = next_slots("30 * * * *", timezone="America/New_York", start=start, count=3)
    assert [(slot.hour, slot.fold) for slot in slots] == [(1, 0), (1, 1), (2, 0)]


def test_a_start_inside_the_second_pass_still_gets_the_wildcard_slots_only() -> None:
    start = datetime(2024, 11, 3, 1, 10, tzinfo=ZoneInfo("America/New_York"), fold=1)
    hourly, fixed = (
        next_slots(expression, timezone="America/New_York", start=start, count=1)[0].isoformat()
        for expression in ("30 * * * *", "30 1 * * *")
    )
    assert (hourly, fixed) == ("2024-11-03T01:30:00-05:00", "2024-11-04T01:30:00-05:00")


def test_a_backward_jump_of_more_than_three_hours_runs_fixed_jobs_again() -> None:
    # Vostok, 1994-02-01: from +07 back to UTC, seven hours; Debian takes that for a new calendar.
    start = datetime(1994, 1, 31, 22, 0, tzinfo=ZoneInfo("Antarctica/Vostok"))
    slots = next_slots("30 23 * * *", timezone="Antarctica/Vostok", start=start, count=2)
    assert [slot.isoformat() for slot in slots] == ["1994-01-31T23:30:00+07:00", "1994-01-31T23:30:00+00:00"]
