"""Cron schedules as objects: shared, bounded, and safe at the ends of time."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest

from taskman_cli.core.schedule import CronSchedule, Reboot, ScheduleError, next_slots, parse_cron
from taskman_cli.core.schedule import cron as cron_module
from taskman_cli.core.schedule.zones import _ABBREVIATIONS, FIRST_S, LAST_S, load_zone

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS


def at_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


def test_equal_expressions_in_the_same_zone_are_one_object() -> None:
    first = parse_cron("30 2 * * *", timezone="Europe/Paris", name="a")
    assert parse_cron("30 2 * * *", timezone="Europe/Paris", name="b") is first
    assert parse_cron("30 2 * * *", timezone="Europe/Berlin") is not first
    assert parse_cron("30 3 * * *", timezone="Europe/Paris") is not first


def test_expressions_with_h_are_one_object_per_name() -> None:
    first = parse_cron("H 2 * * *", timezone="UTC", name="a")
    assert parse_cron("H 2 * * *", timezone="UTC", name="a") is first
    assert parse_cron("H 2 * * *", timezone="UTC", name="b") is not first


def test_an_unused_schedule_is_freed() -> None:
    key = ("17 3 * * *", "UTC", None)
    schedule = parse_cron(key[0], timezone="UTC")
    assert cron_module._interned[key] is schedule
    del schedule
    assert key not in cron_module._interned


def test_text_zone_and_repr_say_what_was_written() -> None:
    schedule = parse_cron(" 30  2 * * * ", timezone="Europe/Paris")
    assert (schedule.text, schedule.timezone) == ("30 2 * * *", "Europe/Paris")
    assert repr(schedule) == "CronSchedule('30 2 * * *', timezone='Europe/Paris')"


def test_reboot_has_no_slots_on_the_clock() -> None:
    schedule = parse_cron(" @reboot ", timezone="UTC")
    assert isinstance(schedule, Reboot)
    assert schedule.text == "@reboot"
    assert schedule.next_after(0) is None
    assert schedule.previous(10**18) is None
    assert parse_cron(" @reboot ", timezone="UTC") is schedule


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Pariss", ' (did you mean "Europe/Paris"?)'),
        ("europe/paris", ' (did you mean "Europe/Paris"?)'),
        ("New York", ' (did you mean "America/New_York"?)'),
        ("Amercia/New_York", ' (did you mean "America/New_York"?)'),
        ("Stokholm", ' (did you mean "Europe/Stockholm"?)'),
        ("UK/London", ' (did you mean "Europe/London"?)'),
        ("Eastern", ' (did you mean "Canada/Eastern"?)'),
        ("utc", ' (did you mean "UTC"?)'),
        ("CEST", ': it is the abbreviation of an offset (did you mean "Europe/Berlin" or "Europe/Paris"?)'),
        ("pst", ': it is the abbreviation of an offset (did you mean "America/Los_Angeles"?)'),
        (
            "+02:00",
            ': an offset has no clock changes; write a zone, such as "Europe/Stockholm", or "Etc/GMT-2"',
        ),
        (
            "UTC-5",
            ': an offset has no clock changes; write a zone, such as "Europe/Stockholm", or "Etc/GMT+5"',
        ),
        ("UTC+05:30", ': an offset has no clock changes; give a zone by its name, such as "Asia/Kolkata"'),
        ("GMT+00:00", ': an offset has no clock changes; write "UTC"'),
        ("Mars/Base", '; names look like "Europe/Stockholm" or "UTC"'),
        ("Mrs", '; names look like "Europe/Stockholm" or "UTC"'),
        ("caf\udce9", '; names look like "Europe/Stockholm" or "UTC"'),
    ],
)
def test_a_wrong_zone_is_refused_with_the_one_that_was_meant(name: str, hint: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_cron("* * * * *", timezone=name)
    assert str(caught.value).removesuffix(hint).endswith('" is not a time zone')


@pytest.mark.parametrize("zones", _ABBREVIATIONS.values())
def test_what_an_abbreviation_leads_to_is_a_zone(zones: str) -> None:
    assert [zone.key for zone in map(load_zone, zones.split())] == zones.split()


def test_jobs_that_share_a_schedule_cost_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = parse_cron("0 4 * * *", timezone="Europe/Paris")
    assert isinstance(schedule, CronSchedule)
    searches = []
    search = CronSchedule._search_forward

    def counted(self: CronSchedule, instant: int) -> int | None:
        searches.append(instant)
        return search(self, instant)

    monkeypatch.setattr(CronSchedule, "_search_forward", counted)
    start = at_ns("2024-05-01T00:00")
    answers = {schedule.next_after(start + n) for n in range(0, SECOND_NS * 3600, SECOND_NS)}
    assert answers == {at_ns("2024-05-01T02:00")}
    assert len(searches) == 1
    assert schedule.next_after(start) is schedule.next_after(start + 1)  # one object in memory, too


def test_slots_are_strictly_after_and_at_or_before_to_the_nanosecond() -> None:
    schedule = parse_cron("* * * * *", timezone="UTC")
    minute = at_ns("2024-05-01T00:01")
    assert schedule.next_after(minute - 1) == minute
    assert schedule.next_after(minute) == minute + 60 * SECOND_NS
    assert schedule.previous(minute) == minute
    assert schedule.previous(minute - 1) == minute - 60 * SECOND_NS


@pytest.mark.parametrize(
    ("before", "expected"),
    {
        "2024-05-06T12:34:56": "2024-05-06T12:34:30",
        "2024-05-06T12:34:15": "2024-05-06T12:34:15",
        "2024-05-06T12:34:14": "2024-05-06T12:10:30",
        "2024-05-06T12:33:59": "2024-05-06T12:10:30",
        "2024-05-06T12:09:00": "2024-05-06T08:34:30",
        "2024-05-06T12:10:14": "2024-05-06T08:34:30",
        "2024-05-06T08:10:14": "2024-05-05T12:34:30",
        "2024-05-06T07:59:59": "2024-05-05T12:34:30",
        "2024-05-06T23:00:00": "2024-05-06T12:34:30",
    }.items(),
)
def test_previous_walks_back_through_seconds_minutes_hours_and_days(before: str, expected: str) -> None:
    schedule = parse_cron("15,30 10,34 8,12 * * *", timezone="UTC")
    assert schedule.previous(at_ns(before)) == at_ns(expected)


@pytest.mark.parametrize("expression", ["* * * * * *", "@daily", "0 0 29 2 *", "30 1 1 1 *", "*/5 * L * *"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati", "Australia/Lord_Howe"])
def test_the_ends_of_time_give_none_and_never_an_error(expression: str, zone: str) -> None:
    schedule = parse_cron(expression, timezone=zone)
    last, first = LAST_S * SECOND_NS, FIRST_S * SECOND_NS
    for beyond in (0, SECOND_NS, DAY_NS, 10**30):
        assert schedule.next_after(last + beyond) is None
        assert schedule.previous(first - 1 - beyond) is None
        assert schedule.next_after(first - 1 - beyond) == schedule.next_after(first - 1)
        assert schedule.previous(last + beyond) == schedule.previous(last)
    edge = schedule.previous(last)
    assert edge is not None
    assert schedule.next_after(edge) is None
    first_slot = schedule.next_after(first - 1)
    assert first_slot is not None
    assert schedule.previous(first_slot - 1) is None
    assert schedule.next_after(last - SECOND_NS) in (None, last)


def test_old_slots_follow_the_offsets_of_their_time() -> None:
    start = datetime(1930, 1, 1, tzinfo=UTC)
    (slot,) = next_slots("0 12 * * *", timezone="America/New_York", start=start, count=1)
    assert slot.isoformat() == "1930-01-01T12:00:00-05:00"
    # Until 1972 Monrovia was 44 min 30 s behind UTC.
    schedule = parse_cron("0 12 * * *", timezone="Africa/Monrovia")
    noon = schedule.next_after(at_ns("1971-06-01T00:00"))
    assert noon == at_ns("1971-06-01T12:44:30")


def test_a_rare_slot_is_found_across_forty_years_and_their_clock_changes() -> None:
    start = datetime(2073, 1, 1, tzinfo=UTC)
    slots = next_slots("30 2 * 2 MON#5", timezone="America/New_York", start=start, count=1)
    assert [slot.isoformat() for slot in slots] == ["2112-02-29T02:30:00-05:00"]
    schedule = parse_cron("30 2 * 2 MON#5", timezone="America/New_York")
    assert schedule.previous(at_ns("2112-01-01T00:00")) == at_ns("2072-02-29T07:30")


def test_a_change_at_the_very_edge_of_a_surveyed_block_is_not_missed() -> None:
    # 2020-10-25T00:00Z, Chisinau falls back, is a multiple of 64 days.
    start = datetime(2020, 10, 24, 23, 0, tzinfo=UTC)
    fixed = next_slots("30 2 * * *", timezone="Europe/Chisinau", start=start, count=2)
    hourly = next_slots("30 * * * *", timezone="Europe/Chisinau", start=start, count=3)
    assert [slot.isoformat() for slot in fixed] == ["2020-10-25T02:30:00+03:00", "2020-10-26T02:30:00+02:00"]
    assert [slot.isoformat() for slot in hourly] == [
        "2020-10-25T02:30:00+03:00",
        "2020-10-25T02:30:00+02:00",
        "2020-10-25T03:30:00+02:00",
    ]


def test_next_slots_takes_any_aware_start_and_answers_in_the_zone() -> None:
    start = datetime(2024, 5, 1, 23, 30, tzinfo=timezone(timedelta(hours=-7)))
    slots = next_slots("@daily", timezone="Asia/Tokyo", start=start, count=1)
    assert [slot.isoformat() for slot in slots] == ["2024-05-03T00:00:00+09:00"]
    assert getattr(slots[0].tzinfo, "key", None) == "Asia/Tokyo"


def test_next_slots_refuses_a_naive_start() -> None:
    with pytest.raises(ScheduleError, match="start has no time zone: 2024-05-01T00:00:00"):
        next_slots("@daily", timezone="UTC", start=datetime(2024, 5, 1), count=1)  # noqa: DTZ001 (the case)


def test_next_slots_gives_fewer_where_no_more_come_and_none_for_reboot() -> None:
    start = datetime(9996, 1, 1, tzinfo=UTC)
    assert len(next_slots("0 0 29 2 *", timezone="UTC", start=start, count=5)) == 1
    assert next_slots("@reboot", timezone="UTC", start=start, count=5) == []
    assert next_slots("@daily", timezone="UTC", start=start, count=0) == []


def test_a_schedule_that_came_from_another_process_is_equal() -> None:
    schedule = parse_cron("30 2 * * *", timezone="UTC")
    other = pickle.loads(pickle.dumps(schedule))
    assert other is not schedule
    assert (other, hash(other)) == (schedule, hash(schedule))
    assert schedule != parse_cron("30 2 * * *", timezone="Asia/Tokyo")
    assert schedule != parse_cron("31 2 * * *", timezone="UTC")
    assert parse_cron("H 2 * * *", timezone="UTC", name="a") != parse_cron(
        "H 2 * * *", timezone="UTC", name="b"
    )
    assert schedule != "30 2 * * *"
