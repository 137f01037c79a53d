"""Intervals, one-shots and zones."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.schedule import Interval, Once, Reboot, ScheduleError, load_zone
from taskman_cli.core.schedule import zones as zones_module
from taskman_cli.core.schedule.zones import Offsets

SECOND_NS = 1_000_000_000


@given(
    every_ns=st.integers(1, 10**16),
    anchor_ns=st.integers(-(10**18), 10**18),
    t_ns=st.integers(-(10**19), 10**19),
)
def test_interval_slots_are_whole_steps_after_the_anchor(every_ns: int, anchor_ns: int, t_ns: int) -> None:
    interval = Interval(every_ns)
    later = interval.next_after(t_ns, anchor_ns=anchor_ns)
    earlier = interval.previous(t_ns, anchor_ns=anchor_ns)
    assert later is not None
    assert later > t_ns
    assert (later - anchor_ns) % every_ns == 0
    assert later > anchor_ns
    assert later - every_ns <= max(t_ns, anchor_ns)
    assert earlier == (later - every_ns if later - every_ns > anchor_ns else None)


def test_an_interval_never_fires_at_its_anchor() -> None:
    interval = Interval(10)
    assert interval.next_after(-5, anchor_ns=0) == 10
    assert interval.previous(0, anchor_ns=0) is None
    assert interval.previous(9, anchor_ns=0) is None
    assert interval.previous(10, anchor_ns=0) == 10


@pytest.mark.parametrize("every_ns", [0, -1])
def test_an_empty_interval_is_rejected(every_ns: int) -> None:
    with pytest.raises(ScheduleError, match="longer than 0s"):
        Interval(every_ns)


def test_interval_text_is_what_a_person_writes() -> None:
    assert Interval(15 * SECOND_NS).text == "every 15s"
    assert Interval(5400 * SECOND_NS, from_finish=True).text == "every 1h30m from finish"


def test_once_has_one_slot_and_its_text_is_local() -> None:
    at = datetime(2026, 12, 24, 14, 0, tzinfo=UTC)
    at_ns = int(at.timestamp()) * SECOND_NS
    once = Once(at_ns, ZoneInfo("Europe/Stockholm"))
    assert once.text == "at 2026-12-24T15:00:00+01:00"
    assert Once(at_ns + 412_334_000, ZoneInfo("UTC")).text == "at 2026-12-24T14:00:00+00:00"
    assert once.next_after(at_ns - 1) == at_ns
    assert once.next_after(at_ns) is None
    assert once.previous(at_ns) == at_ns
    assert once.previous(at_ns - 1) is None


@pytest.mark.parametrize("at_ns", [-(10**20), 10**21, 10**40])
def test_once_outside_the_calendar_is_refused(at_ns: int) -> None:
    with pytest.raises(ScheduleError, match="outside the years 1 to 9999"):
        Once(at_ns, ZoneInfo("UTC"))


def test_reboots_of_the_same_zone_are_equal() -> None:
    assert Reboot(timezone="UTC") == Reboot(timezone="UTC")


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Stockholm", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT"]
)
def test_zones_of_the_database_load(name: str) -> None:
    assert load_zone(name).key == name


@pytest.mark.parametrize(
    ("name", "problem"),
    {
        "": "the time zone is empty",
        "Europe/Stokholm": '"Europe/Stokholm" is not a time zone (did you mean "Europe/Stockholm"?)',
        "europe/stockholm": 'did you mean "Europe/Stockholm"?',
        "Stockholm": 'did you mean "Europe/Stockholm"?',
        "Europe/New York": 'did you mean "America/New_York"?',
        "America": '"America" is not a time zone',
        "localtime": '"localtime" is not a time zone',
        "posixrules": '"posixrules" is not a time zone',
        "Factory": '"Factory" is not a time zone',
        "posix/Europe/Paris": 'did you mean "Europe/Paris"?',
        "right/Europe/Paris": 'did you mean "Europe/Paris"?',
        "zone.tab": '"zone.tab" is not a time zone',
        "tzdata": '"tzdata" is not a time zone',
        "/etc/localtime": '"/etc/localtime" is not a time zone',
        "../../../etc/passwd": '"../../../etc/passwd" is not a time zone',
        "Europe/../Europe/Paris": "is not a time zone",
        "Europe/Paris\n": '"Europe/Paris\\n" is not a time zone',
        "Europe\0Paris": '"Europe\\x00Paris" is not a time zone',
        "\udcff": '"\\xff" is not a time zone; names look like "Europe/Stockholm" or "UTC"',
        "qqq" * 1000: "is not a time zone",
        "+02:00": '"+02:00" is not a time zone',
    }.items(),
    ids=lambda value: repr(value[:30]),
)
def test_an_invalid_zone_is_rejected_with_an_explanation(name: str, problem: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        load_zone(name)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 200


def test_pieces_of_a_zone_end_at_its_changes() -> None:
    offsets = Offsets(ZoneInfo("Europe/Paris"))
    change = int(datetime(2024, 3, 31, 1, 0, tzinfo=UTC).timestamp())
    before, after = offsets.piece_at(change - 1), offsets.piece_at(change)
    assert (before.end, before.offset) == (change, 3600)
    assert (after.start, after.offset, after.shift) == (change, 7200, 3600)


def test_the_blocks_of_a_zone_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones_module, "_MAX_BLOCKS", 3)
    offsets = Offsets(ZoneInfo("Europe/Paris"))
    pieces = [offsets.piece_at(year * 31_556_952) for year in range(20)]
    assert len(offsets._blocks) <= 3
    assert [offsets.piece_at(year * 31_556_952) for year in range(20)] == pieces
